import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { unawaited } from '../runtime/guard.js';
import { callLater, chunkLength, copyChunk, isChunk, writeAfterEnd } from './body-chunk.js';
import type { BodyEncoder, MakeBodyEncoder } from './body-encoder.js';
import { isComplete } from './completion.js';
import { onConnectionClose, socketOf, withSocket } from './connection.js';
import type { EncodedBody } from './encoded-body.js';
import { type EndBarrier, waitForBarriers } from './end-barrier.js';
import { type DataOwner, type ExchangeData, findData } from './exchange-data.js';
import { applyHeaders, declareLength, type HeadersArgument } from './headers.js';
import { EXCHANGE, isOnTop, listenForEnd, type Methods, patch } from './patch.js';
import { routedPath } from './request-path.js';
import type { PathTable } from './response-head.js';
import { lockResponse } from './response-lock.js';
import {
  expectedTemplate,
  isRoutedRequest,
  leftRouter,
  mountOfRequest,
  templateOfRequest,
  trackRoute,
} from './route-template.js';
import { runGuarded as run, runAll, withListener } from './run-listeners.js';

type Callback = (error?: Error | null) => void;
type Patched = ServerResponse & { [EXCHANGE]?: Exchange };

/** When, within `head`, a listener runs: the cache first looks at the headers as the app left them. */
export const HeadOrder = { capture: 0, edit: 1, seal: 2 } as const;
type HeadOrder = (typeof HeadOrder)[keyof typeof HeadOrder];

type Listener = (exchange: Exchange) => void;

/**
 * One request and its response, and the moments that the middlewares share:
 *
 * - `head`: just before the headers go, when they can still be changed;
 * - `sent`: after the real `writeHead` has returned; read-only, what others add at flush is visible;
 * - `chunk`: a piece of the body as the app wrote it, before any compression;
 * - `end`: the app has ended the response and every chunk was seen;
 * - `close`: nothing more will happen; `aborted` tells whether the response went out whole.
 *
 * It patches `writeHead`, `write` and `end` once, whatever the number of middlewares. A listener that throws
 * is reported and passed over: it never breaks the response.
 */
export class Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** The socket that the request arrived on; others may take `req.socket` away. */
  readonly socket: Socket | undefined;
  /** `performance.now()` at the front door, or else at the first middleware. */
  readonly startedAt: number;
  /** The request target as the client sent it, whatever routers make of `req.url` meanwhile. */
  readonly target: string;
  /** The path that Express routes the request by, at the first middleware: whatever the target looks like. */
  path = '';
  /** The `head` listeners have run and the real `writeHead` has returned. */
  headed = false;
  /** The app has called `end`. */
  ended = false;
  /** Bytes of body that the app wrote, before any compression. */
  bodyBytes = 0;
  /** The response was closed. */
  closed = false;
  /** It was closed before it had gone out whole. */
  aborted = false;
  /** The body in other codings, while the response is ended by whoever keeps them. */
  encoded: EncodedBody | undefined;

  #capture: Listener[] | undefined;
  #edit: Listener[] | undefined;
  #seal: Listener[] | undefined;
  #sent: Listener[] | undefined;
  #chunk: ((chunk: Buffer) => void)[] | undefined;
  #end: Listener[] | undefined;
  #close: Listener[] | undefined;
  #holds: EndBarrier<Exchange>[] | undefined;
  #notes: ExchangeData | undefined;
  readonly #beneath: Methods;
  #makeEncoder: MakeBodyEncoder | undefined;
  #encoder: BodyEncoder | undefined;
  #tracked = false;
  readonly #native: boolean;
  #inHead = false;
  #held = false;
  #dropsBody = false;
  #replacement: Buffer | undefined;
  #locked = false;
  /** Node has passed the last byte on. A client that leaves makes it say `finish` and `writableFinished` too. */
  #whole = false;
  #hasLock = false;
  #endLength = -1;
  #table: PathTable<unknown> | undefined;
  #match: unknown;
  #template: string | undefined;
  #forget: (() => void) | undefined;

  constructor(req: IncomingMessage, res: ServerResponse, startedAt = performance.now()) {
    this.req = req;
    this.startedAt = startedAt;
    this.res = res;
    this.socket = socketOf(req, res);
    this.target = (req as { originalUrl?: string }).originalUrl ?? req.url ?? '/';
    this.headed = res.headersSent;
    this.#native = !Object.hasOwn(res, 'end') && !Object.hasOwn(res, 'write');
    this.#beneath = patch(res);
    listenForEnd(res);
    if (res.socket === null && this.socket) this.#watchConnection(this.socket);
    this.track();
  }

  /** The request as Express's getters (`protocol`, `ip`) can read it, when `req.socket` has been taken away too. */
  get arrived(): IncomingMessage {
    return withSocket(this.req, this.socket);
  }

  /** Follows the request's route; before Express has seen the request there is nothing to follow. */
  track(): void {
    if (this.#tracked) return;
    this.#tracked = trackRoute(this.req);
    // Since the front door, others may have rewritten it.
    if (this.#table === undefined) this.path = routedPath(this.req);
  }

  /** Runs `listener` when the headers are about to go; again if sending them failed and the app tries anew. */
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
    this.#chunk = this.#chunk?.filter((each) => each !== listener);
  }
  onEnd(listener: Listener): void {
    this.#end = withListener(this.#end, listener);
  }
  /** Runs `listener` once, at once when the exchange is closed already. */
  onClose(listener: Listener): void {
    if (this.closed) run(listener, this, 'close');
    else this.#close = withListener(this.#close, listener);
  }
  /** Lets the last bytes of the answer wait for what `hold` returns; a rejection lets them go. */
  holdEnd(hold: EndBarrier<Exchange>): void {
    this.#holds = withListener(this.#holds, hold);
  }

  /** Within `head`: the body is encoded on its way to the client. What the app writes is still seen as `chunk`. */
  encodeBody(make: MakeBodyEncoder): void {
    this.#makeEncoder = make;
  }

  /** Sends what was written so far, where an encoder holds some of it. */
  flush(): void {
    this.#encoder?.flush();
  }

  /** True when nobody but us and Node sees what is written: they only read it. */
  get isUnpatched(): boolean {
    return this.#native && isOnTop(this.res);
  }

  /** Sets another status than the app did, without the phrase that went with that. */
  setStatus(status: number): void {
    this.res.statusCode = status;
    if (this.req.httpVersionMajor < 2) this.res.statusMessage = '';
  }

  /** Within `head`: the answer goes without its body (a 304). What the app writes is still seen as `chunk`. */
  dropBody(): void {
    this.#dropsBody = true;
    this.#replacement = undefined;
    this.#makeEncoder = undefined;
  }

  /** Within `head`: the answer goes with this body instead of what the app writes. */
  replaceBody(body: Buffer): void {
    this.#dropsBody = true;
    this.#replacement = body;
    this.#makeEncoder = undefined;
  }

  /** From now on what the app does to the response is ignored; only `respond` reaches the client. */
  lock(): void {
    this.#locked = true;
    if (this.#hasLock) return;
    this.#hasLock = true;
    lockResponse(this.res, () => this.#locked);
  }

  /**
   * Within `head`: the bytes of a body that the app gave in one piece, or declared; `undefined` when it is
   * not known yet how many there will be.
   */
  get length(): number | undefined {
    const declared = this.res.getHeader('content-length');
    if (declared !== undefined) return Number(declared);
    return this.#endLength < 0 ? undefined : this.#endLength;
  }

  /** While the head goes: the body goes with it, in one piece. */
  get isWhole(): boolean {
    return this.#endLength >= 0;
  }

  /** Runs `answer` with the lock lifted. */
  respond(answer: () => void): void {
    this.#locked = false;
    try {
      answer();
    } finally {
      this.#locked = true;
    }
  }

  /** What `owner` has noted of this exchange; a `WeakMap` would cost the garbage collector a multiple. */
  dataOf(owner: DataOwner): unknown {
    return findData(this.#notes, owner)?.value;
  }
  setData(owner: DataOwner, note: unknown): void {
    const found = findData(this.#notes, owner);
    if (found) found.value = note;
    else this.#notes = { owner, value: note, next: this.#notes };
  }

  /** The first rule of the table that matches the path; asked once per table. */
  match<Match>(table: PathTable<Match>): Match | undefined {
    if (this.#table !== table) {
      this.#match = table.match(this.path);
      this.#table = table;
    }
    return this.#match as Match | undefined;
  }

  /**
   * The template of the route that answers, such as `/users/:id`; `undefined` when no route matched. A hit
   * sets it, since it is answered before the app's routes are asked.
   */
  get template(): string | undefined {
    if (this.#template !== undefined) return this.#template;
    const template = templateOfRequest(this.req);
    // The route that matched called next(), and nobody else answered: it is not its 404.
    if (template !== undefined && this.res.statusCode === 404 && leftRouter(this.req)) return undefined;
    return template;
  }
  set template(template: string | undefined) {
    this.#template = template;
  }

  /** The template, or that of the route that the request would lead to if it were not answered now. */
  get expectedTemplate(): string | undefined {
    return this.template ?? expectedTemplate(this.req, this.path);
  }

  /** Whether the route of the template is what answers; else a middleware does. */
  get isRouted(): boolean {
    return this.template !== undefined && isRoutedRequest(this.req);
  }

  /** The template of the path at which whoever answers is mounted; `undefined` at the root. */
  get mount(): string | undefined {
    return mountOfRequest(this.req);
  }

  /** @internal */
  writeHead(status: number, reason: unknown, argument: unknown): ServerResponse {
    const { req, res } = this;
    if (this.#locked) return res;
    const headers = typeof reason === 'string' ? argument : (argument ?? reason);
    // Node has a good error for each of these, and 101 belongs to whoever upgrades.
    const code = status | 0;
    if (res.headersSent || this.#inHead || code < 200 || code > 999) {
      return this.#beneath.writeHead.call(res, status, reason, argument);
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
      runAll(this.#seal, this, 'head');
      if (this.#makeEncoder) res.removeHeader('Content-Length');
      else if (!this.#dropsBody) declareLength(req, res, this.#endLength);
      // HTTP/2 has no reason phrase and warns when asked for one.
      const phrase = req.httpVersionMajor < 2 ? res.statusMessage : undefined;
      if (phrase) this.#beneath.writeHead.call(res, res.statusCode, phrase);
      else this.#beneath.writeHead.call(res, res.statusCode);
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
    if (this.#locked) {
      callLater(callback);
      return true;
    }
    if (this.ended || !isChunk(chunk)) {
      if (this.#isEnding) {
        callLater(callback, writeAfterEnd());
        return false;
      }
      return this.#beneath.write.call(res, chunk, encoding, callback);
    }
    if (!res.headersSent) res.writeHead(res.statusCode);
    this.#see(chunk, encoding, chunkLength(chunk, encoding), false);
    if (this.#dropsBody) {
      callLater(callback);
      return true;
    }
    const encoder = this.#encoderForBody();
    if (encoder) return encoder.write(chunk, encoding, callback);
    return this.#beneath.write.call(res, chunk, encoding, callback);
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
    if (this.#locked) {
      callLater(callback);
      return res;
    }
    if (this.ended || !(chunk === undefined || chunk === null || isChunk(chunk))) {
      if (this.#isEnding) callLater(callback, writeAfterEnd());
      else this.#beneath.end.call(res, chunk, encoding, callback);
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
      this.#see(chunk as string | Uint8Array, encoding, length, this.bodyBytes === 0);
    this.ended = true;
    runAll(this.#end, this, 'end');
    if (typeof callback === 'function') {
      if (res.writableFinished) callLater(callback);
      else res.once('finish', callback as Callback);
    }
    const body = this.#dropsBody ? this.#replacement : chunk;
    const held = this.#holds && waitForBarriers(this.#holds, this);
    if (held) {
      this.#held = true;
      void unawaited(
        held.then(() => this.#finishLate(body, encoding)),
        'hold',
      );
    } else {
      this.#finish(body, encoding);
    }
    return res;
  }

  /** Nobody is left to whom it could throw. */
  #finishLate(body: unknown, encoding: unknown): void {
    this.#held = false;
    try {
      this.#finish(body, encoding);
    } catch (error) {
      this.res.destroy(); // half a response is none
      throw error;
    }
  }

  #finish(body: unknown, encoding: unknown): void {
    const bytes = (body ?? undefined) as string | Uint8Array | undefined;
    const encoder = this.#encoderForBody();
    if (encoder) encoder.end(bytes, encoding);
    else if (bytes === undefined) this.#beneath.end.call(this.res);
    else this.#beneath.end.call(this.res, bytes, encoding);
  }

  /** The app has ended the response, and the last bytes are still on their way to Node. */
  get #isEnding(): boolean {
    return this.#held || (this.#encoder !== undefined && this.ended);
  }

  /** @returns `undefined` where the body goes as it is. After `close`, nobody would let go of an encoder. */
  #encoderForBody(): BodyEncoder | undefined {
    const make = this.#makeEncoder;
    if (!make || this.closed) return this.#encoder;
    this.#makeEncoder = undefined;
    const { res } = this;
    const { write, end } = this.#beneath;
    this.#encoder = make({
      write: (bytes) => write.call(res, bytes),
      end: () => void end.call(res),
    });
    return this.#encoder;
  }

  #see(chunk: string | Uint8Array, encoding: unknown, length: number, isWhole: boolean): void {
    this.bodyBytes += length;
    if (!this.#chunk) return;
    const bytes = copyChunk(chunk, encoding, length, isWhole);
    runAll(this.#chunk, bytes, 'chunk');
  }

  /** @internal */
  finished(): void {
    this.#whole = isComplete(this.req, this.res, this.socket);
  }

  /** Nobody will tell a response that has no socket yet that its client has left. */
  #watchConnection(socket: Socket): void {
    if (socket.closed) this.closed = this.aborted = true;
    else this.#forget = onConnectionClose(socket, () => this.gone());
  }

  /** @internal */
  gone(): void {
    if (this.closed) return;
    this.closed = true;
    this.aborted = !this.#whole;
    this.#forget?.();
    runAll(this.#close, this, 'close');
  }
}

/** The exchange of this response: made, and `res` patched, by the first who asks. */
export function exchangeOf(req: IncomingMessage, res: ServerResponse, startedAt?: number): Exchange {
  const patched = res as Patched;
  const found = patched[EXCHANGE];
  if (!found) return (patched[EXCHANGE] = new Exchange(req, res, startedAt));
  found.track();
  return found;
}
