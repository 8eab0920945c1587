import type { ServerResponse } from 'node:http';
import type { BodyEncoder, EncoderOutput } from '../../exchange/body-encoder.js';
import type { Exchange } from '../../exchange/exchange.js';
import { reportFault } from '../../exchange/run-listeners.js';
import type { ContentEncoding } from '../../http/content-encoding.js';
import { guarded } from '../../runtime/guard.js';
import { createEncoder, type EncoderStream, FLUSH_OPERATIONS } from './codings.js';
import type { CompressionPolicySettings } from './options.js';
import { PauseFlusher } from './pause-flusher.js';

/**
 * Makes the stream that compresses a response.
 *
 * @param declared bytes of the plain body, where the app has said how many there will be.
 * @returns `undefined` where it could not be made, such as without memory: the response was destroyed, since its
 * head has gone.
 */
export function createResponseEncoder(
  exchange: Exchange,
  output: EncoderOutput,
  coding: ContentEncoding,
  policy: CompressionPolicySettings,
  declared: number | undefined,
): BodyEncoder | undefined {
  try {
    const stream = createEncoder(coding, policy);
    return new ResponseEncoder(
      exchange,
      output,
      stream,
      FLUSH_OPERATIONS[coding],
      policy.flushAfter,
      declared,
    );
  } catch (error) {
    reportFault('compression', error);
    exchange.res.destroy();
    return undefined;
  }
}

/** A stream of `node:zlib` between what the app writes and what the client gets. */
class ResponseEncoder implements BodyEncoder {
  readonly #exchange: Exchange;
  readonly #output: EncoderOutput;
  readonly #stream: EncoderStream;
  readonly #flushOperation: number;
  readonly #flusher: PauseFlusher | undefined;
  readonly #declared: number;

  /** @param flushAfter seconds; `false`: only the app flushes. */
  constructor(
    exchange: Exchange,
    output: EncoderOutput,
    stream: EncoderStream,
    flushOperation: number,
    flushAfter: number | false,
    declared = Number.POSITIVE_INFINITY,
  ) {
    this.#exchange = exchange;
    this.#output = output;
    this.#stream = stream;
    this.#flushOperation = flushOperation;
    this.#declared = declared;
    if (flushAfter !== false) this.#flusher = new PauseFlusher(flushAfter * 1000, () => this.#flushNow());
    this.#connect();
  }

  write(chunk: string | Uint8Array, encoding: unknown, callback: unknown): boolean {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding as BufferEncoding) : chunk;
    const takesMore = this.#stream.write(bytes, callback as () => void);
    // After the last byte that was declared, the end follows, and brings everything.
    if (this.#exchange.bodyBytes < this.#declared) this.#flusher?.wrote();
    else this.#flusher?.stop();
    return takesMore;
  }

  end(chunk: string | Uint8Array | undefined, encoding: unknown): void {
    this.#flusher?.stop();
    if (chunk === undefined) this.#stream.end();
    else this.#stream.end(typeof chunk === 'string' ? Buffer.from(chunk, encoding as BufferEncoding) : chunk);
  }

  flush(): void {
    if (this.#exchange.ended) return;
    this.#flusher?.flushed();
    this.#flushNow();
  }

  #flushNow(): void {
    this.#stream.flush(this.#flushOperation);
  }

  #connect(): void {
    const stream = this.#stream;
    const { res } = this.#exchange;
    const emitDrain = interceptDrain(res, () => {
      this.#flusher?.release();
      stream.resume();
      return stream.writableNeedDrain;
    });
    stream.on(
      'data',
      guarded('compression', (bytes: Buffer) => {
        // As `pipe` does: the sockets of some adapters return nothing, and never drain.
        if (this.#output.write(bytes) !== false) return;
        this.#flusher?.hold();
        stream.pause();
      }),
    );
    stream.on('drain', guarded('compression', emitDrain));
    stream.once(
      'end',
      guarded('compression', () => this.#output.end()),
    );
    // Without a listener, an error, such as without memory, would end the process.
    stream.on(
      'error',
      guarded('compression', (error: Error) => {
        reportFault('compression', error);
        res.destroy();
      }),
    );
    this.#exchange.onClose(() => {
      this.#flusher?.stop();
      stream.destroy();
    });
  }
}

/**
 * Keeps `drain` of the connection from the app, which writes to the encoder and has to wait for that.
 *
 * @param isKept called at each `drain` of the connection; returns whether the app still has to wait.
 * @returns emits `drain` to the app.
 */
function interceptDrain(res: ServerResponse, isKept: () => boolean): () => void {
  const { emit } = res;
  res.emit = function (this: ServerResponse, ...args: unknown[]): boolean {
    if (args[0] === 'drain' && isKept()) return true;
    return Reflect.apply(emit, this, args) as boolean;
  } as typeof res.emit;
  return () => void emit.call(res, 'drain');
}
