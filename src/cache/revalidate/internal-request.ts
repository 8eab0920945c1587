import { randomInt } from 'node:crypto';
import { type IncomingMessage, Server, type ServerResponse } from 'node:http';
import { Duplex } from 'node:stream';
import { type Exchange, exchangeOf, HeadOrder } from '../../exchange/exchange.js';
import { type HeaderField, readHeaders } from '../../exchange/headers.js';
import type { RequestMark } from '../../options/request-types.js';
import { guarded } from '../../runtime/guard.js';

/** An Express app, or any request listener of `node:http`. */
export type RequestListener = (req: IncomingMessage, res: ServerResponse) => void;

/** An internal request, made by hotpath itself. */
export interface InternalRequest {
  /** The request target: path and query. */
  target: string;
  /** Default: `GET`. */
  method?: string;
  /** The header fields, including `host`. */
  headers: Readonly<Record<string, string>>;
  /** The value of `req.protocol`. Default: `http`. */
  scheme?: 'http' | 'https';
  /** The value of `req.ip`. Default: `127.0.0.1`. */
  remoteAddress?: string;
  /**
   * The limit of the response body. A longer one is aborted, and the promise rejects with `BodyTooLongError`. Default:
   * 1 MiB.
   */
  maxBytes?: number;
  /** Keeps neither header fields nor body: `headers` and `body` of the response are empty. Default: `false`. */
  discardsResponse?: boolean;
  /** Called with the exchange before the app runs. */
  onExchange?: (exchange: Exchange) => void;
  /** Aborts the request; the promise then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/**
 * The response to an internal request, as the app wrote it: without compression and other changes by the middlewares.
 */
export interface InternalResponse {
  status: number;
  headers: HeaderField[];
  body: Buffer;
}

/** The body of a response is longer than the request allows. */
export class BodyTooLongError extends Error {}

interface Job {
  request: InternalRequest;
  listener: RequestListener;
  resolve: (response: InternalResponse) => void;
  reject: (error: unknown) => void;
}

/** A socket without a connection: it discards all writes, one chunk per turn of the event loop. */
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
    this.remoteFamily = this.remoteAddress.includes(':') ? 'IPv6' : 'IPv4';
  }
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: BufferEncoding, callback: () => void): void {
    // Not synchronous: a handler that writes until `false` and waits for `drain` must get both.
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
 * Sends internal requests through an app, with a real `IncomingMessage` and `ServerResponse`: Node's own server
 * creates them from a socket without a connection. No port is opened, and Express is not patched.
 */
export class Dispatcher {
  // The app's own server may allow more than Node's default, and has accepted the client's request.
  readonly #server = new Server({ maxHeaderSize: 1024 * 1024 }, (req, res) => this.#serve(req, res));

  /**
   * Sends one request.
   *
   * @returns the complete response, whatever its status.
   * @throws (rejects) if the response is interrupted, has another length than it declares, is longer than `maxBytes`,
   * or the signal aborts.
   */
  dispatch(listener: RequestListener, request: InternalRequest): Promise<InternalResponse> {
    return new Promise((resolve, reject) => {
      request.signal?.throwIfAborted();
      const socket = new NowhereSocket({ request, listener, resolve, reject });
      socket.on('error', reject);
      const onAbort = guarded('internal request', () => {
        reject(request.signal?.reason);
        socket.destroy();
      });
      const onClose = guarded('internal request', () => {
        // One signal may serve thousands of requests.
        request.signal?.removeEventListener('abort', onAbort);
        reject(new Error('the internal request was aborted before its response was complete'));
      });
      socket.once('close', onClose);
      request.signal?.addEventListener('abort', onAbort, { once: true });
      this.#server.emit('connection', socket);
      socket.push(Buffer.from(serialise(request), 'latin1'));
    });
  }

  #serve(req: IncomingMessage, res: ServerResponse): void {
    const socket = req.socket as unknown as NowhereSocket;
    const { request, listener, resolve, reject } = socket.job;
    const mark: RequestMark = { internal: true };
    (req as IncomingMessage & { hotpath?: RequestMark }).hotpath = mark;
    const exchange = exchangeOf(req, res);
    request.onExchange?.(exchange);
    const limit = request.maxBytes ?? 1024 * 1024;
    const chunks: Buffer[] = [];
    let headers: HeaderField[] = [];
    let status = 0;
    let declared: number | undefined;
    exchange.onHead(() => {
      if (!request.discardsResponse) headers = readHeaders(res);
      status = res.statusCode;
      const hasBody =
        status !== 204 && status !== 304 && req.method !== 'HEAD' && res.hasHeader('content-length');
      declared = hasBody ? Number(res.getHeader('content-length')) : undefined;
    }, HeadOrder.capture);
    exchange.onChunk((chunk) => {
      if (!request.discardsResponse) chunks.push(chunk);
      if (exchange.bodyBytes <= limit) return;
      chunks.length = 0;
      reject(new BodyTooLongError(`the response to the internal request is longer than ${limit} bytes`));
      socket.destroy();
    });
    exchange.onEnd(() => {
      const { bodyBytes } = exchange;
      if (declared === undefined || declared === bodyBytes) {
        resolve({ status, headers, body: Buffer.concat(chunks) });
      } else {
        reject(
          new Error(
            `the response to the internal request has ${bodyBytes} of the ${declared} bytes it declares`,
          ),
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

/** @throws TypeError if a line contains a line break, a null byte, or characters outside Latin-1. */
function serialise({ method = 'GET', target, headers }: InternalRequest): string {
  const lines = [`${method} ${target} HTTP/1.1`];
  for (const name of Object.keys(headers)) lines.push(`${name}: ${headers[name]}`);
  for (const line of lines) {
    if (/[\r\n\0]|[^\0-\xff]/.test(line))
      throw new TypeError(`an internal request cannot have ${JSON.stringify(line)}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/**
 * Returns a documentation address (RFC 3849) with random bits 33 to 56. Rate limiters count IPv6 clients by a network
 * of 56 bits or more, so none of them limits refreshes or counts them as a client. The address is in no private range.
 */
export function documentationAddress(): string {
  const random = randomInt(2 ** 24); // Node draws these from a reserve; each `randomBytes` is a call of its own
  const [third, fourth] = [random >>> 8, (random & 0xff) << 8];
  const network = fourth === 0 ? third.toString(16) : `${third.toString(16)}:${fourth.toString(16)}`;
  return `2001:db8:${network}::1`;
}
