import { type IncomingMessage, Server, type ServerResponse } from 'node:http';
import { isIPv6 } from 'node:net';
import { Duplex } from 'node:stream';
import { type Exchange, exchangeOf, HeadOrder } from '../../exchange/exchange.js';
import { type HeaderField, readHeaders } from '../../exchange/headers.js';
import { guarded } from '../../runtime/guard.js';

/** An Express app, or any listener of `node:http`. */
export type RequestListener = (req: IncomingMessage, res: ServerResponse) => void;

/** What `req.hotpath` holds on a request that hotpath made itself. */
export interface InternalMark {
  internal: true;
}

/** A request of hotpath's own. */
export interface InternalRequest {
  /** The request target: path and query. */
  target: string;
  /** Default `GET`. */
  method?: string;
  /** Header fields, `host` among them. */
  headers: Readonly<Record<string, string>>;
  /** What `req.protocol` says. Default `http`. */
  scheme?: 'http' | 'https';
  /** What `req.ip` says. Default `127.0.0.1`. */
  remoteAddress?: string;
  /** A longer body is cut off, and the promise rejects with `BodyTooLongError`. Default 1 MiB. */
  maxBytes?: number;
  /** The body is counted and not kept: the answer's `body` is empty. */
  discardsBody?: boolean;
  /** Told of the exchange before the app is. */
  onExchange?: (exchange: Exchange) => void;
  /** Ends the request when aborted; the promise then rejects with its reason. */
  signal?: AbortSignal;
}

/** The answer to an internal request, as the app wrote it: before compression and before any edit of ours. */
export interface InternalResponse {
  status: number;
  headers: HeaderField[];
  body: Buffer;
}

/** The body of an answer is longer than the request allows. */
export class BodyTooLongError extends Error {}

interface Job {
  request: InternalRequest;
  listener: RequestListener;
  resolve: (response: InternalResponse) => void;
  reject: (error: unknown) => void;
}

/** A socket that goes nowhere: it takes what is written at the pace of the event loop, and drops it. */
class NowhereSocket extends Duplex {
  readonly encrypted: boolean;
  readonly remoteAddress: string;
  readonly remoteFamily: string;
  readonly remotePort = 0;
  readonly job: Job;

  constructor(job: Job) {
    super();
    this.job = job;
    this.encrypted = job.request.scheme === 'https';
    this.remoteAddress = job.request.remoteAddress ?? '127.0.0.1';
    this.remoteFamily = isIPv6(this.remoteAddress) ? 'IPv6' : 'IPv4';
  }
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: BufferEncoding, callback: () => void): void {
    // Not at once: a handler that writes until `false` and waits for `drain` must find both here.
    setImmediate(guarded('internal request', callback));
  }
  setTimeout(): this {
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
  address(): { address: string; family: string; port: number } {
    return { address: this.remoteAddress, family: this.remoteFamily, port: 0 };
  }
  destroySoon(): void {
    this.destroy();
  }
}

/**
 * Runs requests of our own through an app: a real `IncomingMessage` and `ServerResponse`, made by Node's own
 * server from a socket that goes nowhere. Nothing listens on a port, and nothing of Express is changed.
 */
export class Dispatcher {
  // The app's own server may allow more than Node does by default, and has let the client's request through.
  readonly #server = new Server({ maxHeaderSize: 1024 * 1024 }, (req, res) => this.#serve(req, res));

  /**
   * @returns the whole answer, whatever its status.
   * @throws (rejects) when the answer breaks off, is not as long as it declares, grows over `maxBytes`, or the signal
   * aborts.
   */
  dispatch(listener: RequestListener, request: InternalRequest): Promise<InternalResponse> {
    return new Promise((resolve, reject) => {
      request.signal?.throwIfAborted();
      const socket = new NowhereSocket({ request, listener, resolve, reject });
      socket.on('error', reject);
      const onClose = guarded('internal request', () =>
        reject(new Error('the internal request was aborted before its response was complete')),
      );
      socket.once('close', onClose);
      const onAbort = guarded('internal request', () => {
        reject(request.signal?.reason);
        socket.destroy();
      });
      request.signal?.addEventListener('abort', onAbort, { once: true });
      this.#server.emit('connection', socket);
      socket.push(Buffer.from(serialise(request), 'latin1'));
    });
  }

  #serve(req: IncomingMessage, res: ServerResponse): void {
    const socket = req.socket as unknown as NowhereSocket;
    const { request, listener, resolve, reject } = socket.job;
    const mark: InternalMark = { internal: true };
    (req as IncomingMessage & { hotpath?: InternalMark }).hotpath = mark;
    const exchange = exchangeOf(req, res);
    request.onExchange?.(exchange);
    const limit = request.maxBytes ?? 1024 * 1024;
    const chunks: Buffer[] = [];
    let headers: HeaderField[] = [];
    let status = 0;
    let declared: number | undefined;
    exchange.onHead(() => {
      headers = readHeaders(res);
      status = res.statusCode;
      const hasBody =
        status !== 204 && status !== 304 && req.method !== 'HEAD' && res.hasHeader('content-length');
      declared = hasBody ? Number(res.getHeader('content-length')) : undefined;
    }, HeadOrder.capture);
    exchange.onChunk((chunk) => {
      if (!request.discardsBody) chunks.push(chunk);
      if (exchange.bodyBytes <= limit) return;
      chunks.length = 0;
      reject(new BodyTooLongError(`the internal request's answer is longer than ${limit} bytes`));
      socket.destroy();
    });
    exchange.onEnd(() => {
      const { bodyBytes } = exchange;
      if (declared === undefined || declared === bodyBytes) {
        resolve({ status, headers, body: Buffer.concat(chunks) });
      } else {
        reject(
          new Error(`the internal request's answer has ${bodyBytes} of the ${declared} bytes it declares`),
        );
      }
    });
    const onClose = guarded('internal request', () => socket.destroy());
    res.once('close', onClose);
    try {
      listener(req, res);
    } catch (error) {
      reject(error);
      socket.destroy();
    }
  }
}

/** @throws TypeError for what would not be one header field on one line, in the bytes of Latin-1 that headers are. */
function serialise({ method = 'GET', target, headers }: InternalRequest): string {
  const lines = [`${method} ${target} HTTP/1.1`];
  for (const name of Object.keys(headers)) lines.push(`${name}: ${headers[name]}`);
  for (const line of lines) {
    if (/[\r\n\0]|[^\0-\xff]/.test(line))
      throw new TypeError(`an internal request cannot have ${JSON.stringify(line)}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}
