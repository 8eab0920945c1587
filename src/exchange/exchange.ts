import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { unawaited } from '../runtime/guard.js';
import { noteSession } from '../runtime/server-connections.js';
import { callLater, chunkLength, copyChunk, isChunk, writeAfterEnd } from './body-chunk.js';
import type { BodyEncoder, MakeBodyEncoder } from './body-encoder.js';
import { isComplete } from './completion.js';
import { isHttp2, onConnectionClose, socketOf, withSocket } from './connection.js';
import type { EncodedBody } from './encoded-body.js';
import { type EndBarrier, waitForBarriers } from './end-barrier.js';
import { type DataOwner, type ExchangeData, findData } from './exchange-data.js';
import { applyHeaders, declareLength, type HeadersArgument } from './headers.js';
import { EXCHANGE, isOnTop, listenForEnd, type Methods, patch } from './patch.js';
import { routedPath } from './request-path.js';
import type { PathTable } from './response-head.js';
import { lockResponse } from './response-lock.js';
import {
  cutTemplate,
  expectedTemplate,
  isRoutedRequest,
  leftRouter,
  mountOfRequest,
  respondingMount,
  templateOfRequest,
  trackRoute,
} from './route-template.js';
import { runGuarded as run, runAll, withListener } from './run-listeners.js';

type Callback = (error?: Error | null) => void;
type Patched = ServerResponse & { [EXCHANGE]?: Exchange };

/** The order of `head` listeners. The cache reads the headers first, as the app set them. */
export const HeadOrder = { capture: 0, edit: 1, seal: 2 } as const;
type HeadOrder = (typeof HeadOrder)[keyof typeof HeadOrder];

type Listener = (exchange: Exchange) => void;

/** A stored response that was served. */
export interface ServedResponse {
  /** The time that the handler took. Microseconds. */
  readonly handlerMicros: number;
  /** Path and query; `undefined` for a response that is not for every client. */
  readonly url: string | undefined;
}

/**
 * One request and its response, with the events that the middlewares share:
 *
 * - `head`: just before the headers are sent, while they can be changed;
 * - `sent`: after the real `writeHead`; read-only; includes headers that other middlewares added while it ran;
 * - `chunk`: a chunk of the body as the app wrote it, before compression;
 * - `end`: the app has ended the response, and all chunks were emitted;
 * - `close`: the last event; `aborted` is true if the response is incomplete.
 *
 * It patches `writeHead`, `write` and `end` once, however many middlewares there are. If a listener throws, the error
 * is reported and the other listeners run: it never breaks the response.
 */
export class Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** The socket on which the request arrived; `req.socket` may be removed later. */
  readonly socket: Socket | undefined;
  /** `performance.now()` at the front door, or else at the first middleware. */
  readonly startedAt: number;
  /** Whether Node has handed the connection over, and the app routes the request with a response that it made. */
  readonly isUpgrade: boolean;
  /** The request target as the client sent it, even after routers have changed `req.url`. */
  readonly target: string;
  /** The path by which Express routes the request, at the first middleware. */
  path = '';
  /** Whether the `head` listeners have run and the real `writeHead` has returned. */
  headed = false;
  /** Whether the app has called `end`. */
  ended = false;
  /** Bytes of body that the app wrote, before compression. */
  bodyBytes = 0;
  /** Whether the response is closed. */
  closed = false;
  /** Whether it was closed before it was sent completely. */
  aborted = false;
  /** The time of the response head, on the clock of `startedAt`; 0 before. Milliseconds. */
  headedAt = 0;
  /** The time of `close`, on the clock of `startedAt`; 0 before. All listeners share it. Milliseconds. */
  endedAt = 0;
  /** How long the handlers blocked the event loop when the request arrived. Milliseconds. */
  blockedMs = 0;
  /** Queries of the database that have ended; only while a pool is monitored. */
  queryCount = 0;
  /** Their time together. Milliseconds. */
  queryMs = 0;
  /** The result in `X-Cache`; `undefined` without a lookup. */
  cacheResult: string | undefined;
  /** The reason why the request bypassed the cache, or why the response was not stored. */
  cacheReason: string | undefined;
  /** The stored response that was served. */
  served: ServedResponse | undefined;
  /** Encoded forms of the body, while the cache ends the response with a stored body. */
  encoded: EncodedBody | undefined;
  lifetime: number | undefined;

  #capture: Listener[] | undefined;
  #edit: Listener[] | undefined;
  #seal: Listener[] | undefined;
  #sent: Listener[] | undefined;
  #chunk: ((chunk: Buffer) => void)[] | undefined;
  #end: Listener[] | undefined;
  #close: Listener[] | undefined;
  #barriers: EndBarrier<Exchange>[] | undefined;
  #data: ExchangeData | undefined;
  readonly #methodsBelow: Methods;
  #makeEncoder: MakeBodyEncoder | undefined;
  #encoder: BodyEncoder | undefined;
  #encodedBytes = 0;
  #isTracked = false;
  readonly #isNative: boolean;
  #inHead = false;
  #isHeld = false;
  #dropsBody = false;
  #replacement: Buffer | undefined;
  #isLocked = false;
  /** Whether Node sent the last byte. `writableFinished` is also true if the client disconnected. */
  #isComplete = false;
  #hasLock = false;
  #endLength = -1;
  #table: PathTable<unknown> | undefined;
  #match: unknown;
  #template: string | undefined;
  #stopWatching: (() => void) | undefined;

  constructor(req: IncomingMessage, res: ServerResponse, startedAt = performance.now()) {
    this.req = req;
    this.startedAt = startedAt;
    this.res = res;
    this.socket = socketOf(req, res);
    this.target = (req as { originalUrl?: string }).originalUrl ?? req.url ?? '/';
    this.headed = res.headersSent;
    this.isUpgrade = (req as { upgrade?: boolean | null }).upgrade === true && res.socket === null;
    this.#isNative = !Object.hasOwn(res, 'end') && !Object.hasOwn(res, 'write');
    if (res.socket === null && this.socket) this.#watchConnection(this.socket);
    if (isHttp2(req)) noteSession(req);
    this.track();
    // Last: patched methods need the exchange, so nothing may fail after this.
    this.#methodsBelow = patch(req, res);
    listenForEnd(res);
  }

  /** The request with its original socket, which Express's getters (`protocol`, `ip`) need. */
  get arrived(): IncomingMessage {
    return withSocket(this.req, this.socket);
  }

  /** Starts to follow the route of the request. Has no effect before Express receives it. */
  track(): void {
    if (this.#isTracked) return;
    this.#isTracked = trackRoute(this.req);
    // Middlewares may have rewritten it since the front door.
    if (this.#table === undefined) this.path = routedPath(this.req);
  }

  /** Adds a listener for `head`. It runs again if sending the headers failed and the app tries again. */
  onHead(listener: Listener, order: HeadOrder = HeadOrder.edit): void {
    if (order === HeadOrder.capture) this.#capture = withListener(this.#capture, listener);
    else if (order === HeadOrder.edit) this.#edit = withListener(this.#edit, listener);
    else this.#seal = withListener(this.#seal, listener);
  }
  onSent(listener: Listener): void {
    this.#sent = withListener(this.#sent, listener);
  }
  onChunk(listener: (chunk: Buffer) => void): void {
    this.#chunk = withListener(this.#chunk, listener);
  }
  offChunk(listener: (chunk: Buffer) => void): void {
    const left = this.#chunk?.filter((each) => each !== listener);
    // Without a listener, no chunk is copied.
    this.#chunk = left?.length ? left : undefined;
  }
  onEnd(listener: Listener): void {
    this.#end = withListener(this.#end, listener);
  }
  /** Adds a listener for `close`. It runs once; immediately if the exchange is already closed. */
  onClose(listener: Listener): void {
    if (this.closed) run(listener, this, 'close');
    else this.#close = withListener(this.#close, listener);
  }
  /** The time since the arrival; after `close`, until then. Milliseconds. */
  get elapsed(): number {
    return (this.endedAt || performance.now()) - this.startedAt;
  }

  /** Bytes of body that were sent: those that the app wrote, unless they were compressed or replaced. */
  get sentBytes(): number {
    if (this.req.method === 'HEAD') return 0;
    if (this.#dropsBody) return this.#replacement?.length ?? 0;
    return this.#encoder ? this.#encodedBytes : this.bodyBytes;
  }

  /** Holds the last bytes of the response until the returned promise settles. */
  holdEnd(hold: EndBarrier<Exchange>): void {
    this.#barriers = withListener(this.#barriers, hold);
  }

  /** Encodes the body before Node sends it. To be called within `head`. `chunk` still emits what the app writes. */
  encodeBody(make: MakeBodyEncoder): void {
    this.#makeEncoder = make;
  }

  /** Sends the chunks written so far, if an encoder buffers some of them. */
  flush(): void {
    this.#encoder?.flush();
  }

  /** Whether only the exchange and Node see the chunks. They do not modify them. */
  get isUnpatched(): boolean {
    return this.#isNative && isOnTop(this.res);
  }

  /** Changes the status that the app set, and removes its reason phrase. */
  setStatus(status: number): void {
    this.res.statusCode = status;
    if (!isHttp2(this.req)) this.res.statusMessage = '';
  }

  /**
   * Sends the response without a body (a 304). To be called within `head`. `chunk` still emits what the app writes.
   */
  dropBody(): void {
    this.#dropsBody = true;
    this.#replacement = undefined;
    this.#makeEncoder = undefined;
  }

  /** Sends this body instead of the app's. To be called within `head`. */
  replaceBody(body: Buffer): void {
    this.#dropsBody = true;
    this.#replacement = body;
    this.#makeEncoder = undefined;
  }

  /** Ignores what the app does to the response from now on; only `respond` reaches the client. */
  lock(): void {
    this.#isLocked = true;
    if (this.#hasLock) return;
    this.#hasLock = true;
    lockResponse(this.res, () => this.#isLocked);
  }

  /**
   * The length of a body that the app declared or wrote in one chunk; `undefined` if it is not known yet. To be called
   * within `head`. Bytes.
   */
  get length(): number | undefined {
    const declared = this.res.getHeader('content-length');
    if (declared !== undefined) return Number(declared);
    return this.#endLength < 0 ? undefined : this.#endLength;
  }

  /** Whether the whole body is sent in one chunk. Only valid while the headers are sent. */
  get isWhole(): boolean {
    return this.#endLength >= 0;
  }

  /** Runs `send` with the lock released. */
  respond(send: () => void): void {
    this.#isLocked = false;
    try {
      send();
    } finally {
      this.#isLocked = true;
    }
  }

  /** Reads the value of `owner`. A `WeakMap` would cost the garbage collector several times as much. */
  dataOf(owner: DataOwner): unknown {
    return findData(this.#data, owner)?.value;
  }
  setData(owner: DataOwner, note: unknown): void {
    const found = findData(this.#data, owner);
    if (found) found.value = note;
    else this.#data = { owner, value: note, next: this.#data };
  }

  /** The first rule of the table that matches the path. Computed once per table. */
  match<Match>(table: PathTable<Match>): Match | undefined {
    if (this.#table !== table) {
      this.#match = table.match(this.path);
      this.#table = table;
    }
    return this.#match as Match | undefined;
  }

  /**
   * The template of the matching route, such as `/users/:id`; `undefined` if no route matched. A hit sets it, because
   * the app's routes do not run.
   */
  get template(): string | undefined {
    if (this.#template !== undefined) return this.#template;
    const mount = respondingMount(this.req);
    if (mount !== undefined) return cutTemplate(mount);
    const template = templateOfRequest(this.req);
    // The matching route called `next()`, and no other route responded, so the 404 is not its own.
    if (template !== undefined && this.res.statusCode === 404 && leftRouter(this.req)) return undefined;
    return template;
  }
  set template(template: string | undefined) {
    this.#template = template;
  }

  /** The template of the matching route, or of the route that would match if the request were not answered now. */
  get expectedTemplate(): string | undefined {
    return this.template ?? expectedTemplate(this.req, this.path);
  }

  /** Whether the route of the template responds, and not a middleware. */
  get isRouted(): boolean {
    return this.template !== undefined && isRoutedRequest(this.req);
  }

  /** The template of the mount path of the router or middleware that responds; `undefined` at the root. */
  get mount(): string | undefined {
    return mountOfRequest(this.req);
  }

  /** @internal */
  writeHead(status: number, reason: unknown, argument: unknown): ServerResponse {
    const { req, res } = this;
    if (this.#isLocked) return res;
    const headers = typeof reason === 'string' ? argument : (argument ?? reason);
    // Node throws a useful error for each of these. A 101 belongs to the upgrade handler.
    const code = status | 0;
    if (res.headersSent || this.#inHead || code < 200 || code > 999) {
      return this.#methodsBelow.writeHead.call(res, status, reason, argument);
    }
    if (headers) applyHeaders(res, headers as HeadersArgument);
    res.statusCode = code;
    if (typeof reason === 'string') res.statusMessage = reason;
    this.#dropsBody = false;
    this.#replacement = undefined;
    this.#makeEncoder = undefined;
    this.#inHead = true;
    try {
      runAll(this.#capture, this, 'head');
      runAll(this.#edit, this, 'head');
      this.headedAt = performance.now();
      runAll(this.#seal, this, 'head');
      if (this.#makeEncoder) res.removeHeader('Content-Length');
      else if (!this.#dropsBody) declareLength(req, res, this.#endLength, this.#isNative);
      // HTTP/2 has no reason phrase, and Node warns if it is read.
      const phrase = isHttp2(req) ? undefined : res.statusMessage;
      // Node replaces an empty phrase, unless `writeHead` received it.
      if (phrase || (phrase === '' && reason === '' && res.statusCode === code))
        this.#methodsBelow.writeHead.call(res, res.statusCode, phrase);
      else this.#methodsBelow.writeHead.call(res, res.statusCode);
    } finally {
      this.#inHead = false;
    }
    this.headed = true;
    runAll(this.#sent, this, 'sent');
    return res;
  }

  /** @internal */
  write(chunk: unknown, encoding: unknown, callback: unknown): boolean {
    const { res } = this;
    if (typeof encoding === 'function') {
      callback = encoding;
      encoding = undefined;
    }
    if (this.#isLocked) {
      callLater(callback);
      return true;
    }
    if (this.ended || !isChunk(chunk)) {
      if (this.#isEnding) {
        callLater(callback, writeAfterEnd());
        return false;
      }
      return this.#methodsBelow.write.call(res, chunk, encoding, callback);
    }
    if (!res.headersSent) res.writeHead(res.statusCode);
    this.#emitChunk(chunk, encoding, chunkLength(chunk, encoding), false);
    if (this.#dropsBody) {
      callLater(callback);
      return true;
    }
    const encoder = this.#encoderForBody();
    if (encoder) return encoder.write(chunk, encoding, callback);
    return this.#methodsBelow.write.call(res, chunk, encoding, callback);
  }

  /** @internal */
  end(chunk: unknown, encoding: unknown, callback: unknown): ServerResponse {
    const { res } = this;
    if (typeof chunk === 'function') {
      callback = chunk;
      chunk = undefined;
      encoding = undefined;
    } else if (typeof encoding === 'function') {
      callback = encoding;
      encoding = undefined;
    }
    if (this.#isLocked) {
      callLater(callback);
      return res;
    }
    if (this.ended || !(chunk === undefined || chunk === null || isChunk(chunk))) {
      if (this.#isEnding) callLater(callback, writeAfterEnd());
      else this.#methodsBelow.end.call(res, chunk, encoding, callback);
      return res;
    }
    const length = chunkLength(chunk, encoding);
    if (!res.headersSent) {
      this.#endLength = length;
      try {
        res.writeHead(res.statusCode);
      } finally {
        this.#endLength = -1;
      }
    }
    if (chunk !== undefined && chunk !== null)
      this.#emitChunk(chunk as string | Uint8Array, encoding, length, this.bodyBytes === 0);
    this.ended = true;
    runAll(this.#end, this, 'end');
    if (typeof callback === 'function') {
      if (res.writableFinished) callLater(callback);
      else res.once('finish', callback as Callback);
    }
    const body = this.#dropsBody ? this.#replacement : chunk;
    const barrier = this.#barriers && waitForBarriers(this.#barriers, this);
    if (barrier) {
      this.#isHeld = true;
      void unawaited(
        barrier.then(() => this.#finishLate(body, encoding)),
        'hold',
      );
    } else {
      this.#finish(body, encoding);
    }
    return res;
  }

  /** There is no caller that could catch an error. */
  #finishLate(body: unknown, encoding: unknown): void {
    this.#isHeld = false;
    try {
      this.#finish(body, encoding);
    } catch (error) {
      this.res.destroy(); // an incomplete response must not look complete
      throw error;
    }
  }

  #finish(body: unknown, encoding: unknown): void {
    const bytes = (body ?? undefined) as string | Uint8Array | undefined;
    const encoder = this.#encoderForBody();
    if (encoder) encoder.end(bytes, encoding);
    else if (bytes === undefined) this.#methodsBelow.end.call(this.res);
    else this.#methodsBelow.end.call(this.res, bytes, encoding);
  }

  /** The app has ended the response, and an encoder still has its last bytes. */
  get #isEnding(): boolean {
    return this.#isHeld || (this.#encoder !== undefined && this.ended);
  }

  /**
   * @returns `undefined` if the body is sent unencoded. No encoder is created after `close`, because nothing would
   * free it.
   */
  #encoderForBody(): BodyEncoder | undefined {
    const make = this.#makeEncoder;
    if (!make || this.closed) return this.#encoder;
    this.#makeEncoder = undefined;
    const { res } = this;
    const { write, end } = this.#methodsBelow;
    this.#encoder = make({
      write: (bytes) => {
        this.#encodedBytes += bytes.length;
        return write.call(res, bytes);
      },
      end: () => void end.call(res),
    });
    return this.#encoder;
  }

  #emitChunk(chunk: string | Uint8Array, encoding: unknown, length: number, isWhole: boolean): void {
    this.bodyBytes += length;
    if (!this.#chunk) return;
    const bytes = copyChunk(chunk, encoding, length, isWhole);
    runAll(this.#chunk, bytes, 'chunk');
  }

  /** @internal */
  finished(): void {
    this.#isComplete = isComplete(this.req, this.res, this.socket);
  }

  /** A response without a socket emits no event when its client disconnects. */
  #watchConnection(socket: Socket): void {
    if (socket.closed) {
      this.closed = this.aborted = true;
      this.endedAt = performance.now();
    } else this.#stopWatching = onConnectionClose(socket, () => this.gone());
  }

  /** @internal */
  gone(): void {
    if (this.closed) return;
    this.closed = true;
    this.aborted = !this.#isComplete;
    this.endedAt = performance.now();
    this.#stopWatching?.();
    runAll(this.#close, this, 'close');
  }
}

/** Returns the exchange of this response. The first call creates it and patches `res`. */
export function exchangeOf(req: IncomingMessage, res: ServerResponse, startedAt?: number): Exchange {
  const patched = res as Patched;
  const found = patched[EXCHANGE];
  if (!found) return (patched[EXCHANGE] = new Exchange(req, res, startedAt));
  found.track();
  return found;
}
