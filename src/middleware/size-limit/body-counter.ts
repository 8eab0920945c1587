import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { socketOf } from '../../exchange/connection.js';
import { exchangeOf } from '../../exchange/exchange.js';
import { contentCodings } from '../../http/content-encoding.js';
import { guarded } from '../../runtime/guard.js';
import { type InflatableCoding, InflatedCounter, isInflatable } from './decompressed-size.js';
import { type LingerBounds, linger } from './lingering-close.js';
import {
  codingNotAccepted,
  growsTooLarge,
  notInItsCoding,
  overloaded,
  type Rejection,
  sendProblem,
  tooLarge,
  tooSlow,
  windowTooLarge,
} from './rejection.js';

/** The one guard of a request; two copies of the package, and two mounts, share it. */
const GUARD = Symbol.for('hotpath.size-limit');
type Guarded = IncomingMessage & { [GUARD]?: BodyGuard };

/**
 * After the 413 so much more is read and thrown away. Clients that send their whole body before they read
 * (and there are many) get the answer only if somebody takes it; it costs no memory, and time is bounded too.
 */
const AFTER_ANSWER: LingerBounds = { time: 2_000, bytes: 64 * 1024 * 1024 };

/** The bounds of a body, in bytes. */
export interface Bounds {
  readonly limit: number;
  /** `Infinity`: codings are not looked at. */
  readonly inflated: number;
  /** Largest window of Brotli, as a power of two. */
  readonly brotliWindow: number;
  /** Of the decoders of all bodies together. */
  readonly decoderMemory: number;
}

/** What Node calls when it wants more of a body, and when nobody has read it. */
interface Hooked {
  _read(size: number): void;
  _dump(): void;
  _consumed?: boolean;
}

const UNBOUNDED: Bounds = {
  limit: Number.POSITIVE_INFINITY,
  inflated: Number.POSITIVE_INFINITY,
  brotliWindow: Number.POSITIVE_INFINITY,
  decoderMemory: Number.POSITIVE_INFINITY,
};

/** The guard of a request: made by the first who asks, who is told if that was too late to count the body. */
export function bodyGuardOf(req: IncomingMessage, res: ServerResponse, onLate: () => void): BodyGuard {
  const guarded = req as Guarded;
  if (!guarded[GUARD] && req.readableDidRead) onLate();
  return (guarded[GUARD] ??= new BodyGuard(req, res));
}

/** Whether the client waits to be told to send its body (RFC 9110 §10.1.1). */
export function isUninvited({ headers }: IncomingMessage, res: ServerResponse): boolean {
  if (headers.expect?.toLowerCase() !== '100-continue' || res.headersSent) return false;
  return (res as unknown as { _sent100?: boolean })._sent100 === false;
}

/** Counts the body of one request where Node's parser hands it on: there nobody can read past it. */
export class BodyGuard {
  refused = false;
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  /** Taken when the request arrives: a client library that sends the request on takes `req.socket` away. */
  readonly #socket: Socket | undefined;
  readonly #push: IncomingMessage['push'];
  /** Somebody has read of the body, or is about to: where it starts is not known. */
  readonly #isLate: boolean;
  #bounds = UNBOUNDED;
  #bytes: number;
  #counter: InflatedCounter | undefined;
  /** Somebody has asked for bytes of the coded body, or has let it flow. */
  #isWanted = false;
  /** Nobody reads the coded body: it is neither decoded nor handed on. */
  #isDiscarded = false;
  /** The end of the body has come, behind pieces that are being counted. */
  #isEnding = false;
  /** What the reader's buffer said last: whether it takes more. */
  #takesMore = true;
  #onAdmitted: (() => void)[] | undefined;
  #discard: (bytes: number | undefined) => void = () => {};

  constructor(req: IncomingMessage, res: ServerResponse) {
    this.#req = req;
    this.#res = res;
    this.#socket = socketOf(req, res);
    this.#isLate =
      req.readableDidRead ||
      (req.readableLength > 0 && (req.readableFlowing === true || req.listenerCount('data') > 0));
    // What an earlier middleware made wait is there already.
    this.#bytes = req.readableLength;
    this.#push = req.push;
    req.push = (chunk: unknown, encoding?: BufferEncoding) => this.#pushed(chunk, encoding);
    // Node lets go of a body that nobody read when the answer is out. It is read on, so that it is counted.
    (req as unknown as Hooked)._dump = () => {
      if (this.#counter && !isRead(req)) this.#discardCoded();
      req.resume();
    };
  }

  restrict(bounds: Bounds): void {
    const before = this.#bounds;
    this.#bounds = {
      limit: Math.min(before.limit, bounds.limit),
      inflated: Math.min(before.inflated, bounds.inflated),
      brotliWindow: Math.min(before.brotliWindow, bounds.brotliWindow),
      decoderMemory: Math.min(before.decoderMemory, bounds.decoderMemory),
    };
    const declared = Number(this.#req.headers['content-length'] ?? 0);
    if (Math.max(declared, this.#bytes) > this.#bounds.limit) this.#refuse(tooLarge(this.#bounds.limit));
    else if (!this.#counter && this.#bounds.inflated < Number.POSITIVE_INFINITY) this.#countInflated();
  }

  /** Calls back when the request may go on: at once, unless bytes of a coded body wait already; never if refused. */
  whenAdmitted(callback: () => void): void {
    if (this.refused) return;
    if (this.#onAdmitted) this.#onAdmitted.push(callback);
    else callback();
  }

  #countInflated(): void {
    const [coding, ...further] = contentCodings(this.#req.headers['content-encoding']);
    if (coding === undefined) return;
    if (further.length > 0 || !isInflatable(coding)) {
      this.#refuse(codingNotAccepted());
      return;
    }
    if (this.#isLate) return;
    this.#counter = this.#makeCounter(coding);
    this.#req.once(
      'close',
      guarded('size-limit', () => this.#counter?.stop()),
    );
    // By its length: without, Node 26 gives the first piece of it alone.
    const { readableLength } = this.#req;
    const waiting: Buffer | null = readableLength > 0 ? this.#req.read(readableLength) : null;
    this.#watchReads();
    if (!waiting) return;
    // Nobody has read it yet; it was only looked at.
    (this.#req as unknown as Hooked)._consumed = false;
    this.#req.unshift(waiting);
    this.#onAdmitted = [];
    this.#counter.write(waiting, () => {
      const callbacks = this.#onAdmitted ?? [];
      this.#onAdmitted = undefined;
      for (const callback of callbacks) callback();
      this.#goOn();
    });
    this.#counter.start();
  }

  /** Decodes from the first time that somebody reads; not at all where the body is only to be gone. */
  #watchReads(): void {
    const req = this.#req as IncomingMessage & Hooked;
    const read = req._read;
    req._read = (size) => {
      this.#isWanted = true;
      this.#takesMore = true;
      if (!isThrownAway(req)) this.#counter?.start();
      else if (this.#counter?.isWaiting) this.#discardCoded();
      read.call(req, size);
    };
  }

  #makeCounter(coding: InflatableCoding): InflatedCounter {
    return new InflatedCounter(coding, this.#bounds.decoderMemory, {
      grown: (bytes) => {
        if (bytes > this.#bounds.inflated) this.#refuse(growsTooLarge(this.#bounds.inflated));
      },
      failed: () => this.#refuse(notInItsCoding()),
      acceptsWindow: (bits) => {
        const isAccepted = coding !== 'br' || bits <= this.#bounds.brotliWindow;
        if (!isAccepted) this.#refuse(windowTooLarge(bits, this.#bounds.brotliWindow));
        return isAccepted;
      },
      // It is the client's fault only where the client is waited for.
      evicted: () => this.#refuse(this.#counter?.isBusy || !this.#takesMore ? overloaded() : tooSlow()),
    });
  }

  /** From now on the bytes of the body are counted as they come over the wire, and thrown away. */
  #discardCoded(): void {
    if (this.#isDiscarded || this.refused) return;
    this.#isDiscarded = true;
    this.#counter?.stop();
    this.#takesMore = true;
    this.#goOn();
  }

  #pushed(chunk: unknown, encoding: BufferEncoding | undefined): boolean {
    const bytes =
      typeof chunk === 'string' ? Buffer.from(chunk, encoding) : (chunk as Uint8Array | null | undefined);
    const length = bytes?.byteLength;
    if (!this.refused) {
      this.#bytes += length ?? 0;
      if (this.#bytes <= this.#bounds.limit) return this.#hand(bytes);
      this.#refuse(tooLarge(this.#bounds.limit));
    }
    this.#discard(length);
    return true;
  }

  /** Hands a piece, or the end, to the reader; that of a coded body when it was counted. */
  #hand(bytes: Uint8Array | null | undefined): boolean {
    const counter = this.#counter;
    if (!counter) return this.#push.call(this.#req, bytes);
    if (isThrownAway(this.#req)) this.#discardCoded();
    if (this.#isDiscarded) return bytes ? true : this.#push.call(this.#req, null);
    if (this.#isWanted) counter.start();
    if (bytes) {
      counter.write(bytes, () => {
        this.#takesMore = this.#push.call(this.#req, bytes);
        this.#goOn();
      });
    } else {
      this.#isEnding = true;
      this.#goOn();
    }
    // Small pieces do not stop the socket: only from one that is read does Node hear that the client has left.
    return this.#takesMore && counter.heldBytes < this.#req.readableHighWaterMark;
  }

  /** After pieces that were held: the end, or more from the socket, which Node had stopped. */
  #goOn(): void {
    if (this.#counter?.isBusy) return;
    if (this.#isEnding) {
      this.#counter?.stop();
      this.#push.call(this.#req, null);
      return;
    }
    const socket = this.#socket;
    if (!this.#takesMore || !socket || this.#req.httpVersionMajor > 1) return;
    // Paused by Node itself, as too many answers wait to be sent on it: it will go on by itself.
    if (!(socket as { _paused?: boolean })._paused) socket.resume();
  }

  #refuse({ problem, error }: Rejection): void {
    if (this.refused) return;
    this.refused = true;
    this.#counter?.stop();
    const req = this.#req;
    const res = this.#res;
    const isUnread = isUninvited(req, res);
    if (res.headersSent) {
      this.#socket?.destroy();
      return;
    }
    // The handler may run on; it reaches nobody any more.
    const exchange = exchangeOf(req, res);
    exchange.lock();
    if (req.httpVersionMajor < 2 && !isUnread) this.#discard = linger(req, this.#socket, AFTER_ANSWER);
    exchange.respond(() => sendProblem(req, res, problem));
    failBody(req, error);
    // Read to its end already: by a body parser before us, or while it was being counted.
    if (req.complete) this.#discard(undefined);
  }
}

/** Whether somebody takes the bytes of the body. */
function isRead(req: IncomingMessage): boolean {
  return req.listenerCount('data') > 0 || req.listenerCount('readable') > 0;
}

/** The body flows and nobody takes it, as after `req.resume()`: Express does so before it answers with 404. */
function isThrownAway(req: IncomingMessage): boolean {
  return req.readableFlowing === true && !isRead(req);
}

/** Fails the body for whoever reads it, and for nobody else: the socket still has the answer to carry. */
function failBody(req: IncomingMessage, error: Error): void {
  req._destroy = (reason, callback) => {
    process.nextTick(guarded('size-limit', () => callback(req.listenerCount('error') > 0 ? reason : null)));
  };
  req.destroy(error);
}
