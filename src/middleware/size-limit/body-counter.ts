import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { isHttp2, socketOf } from '../../exchange/connection.js';
import { exchangeOf } from '../../exchange/exchange.js';
import { reportFault } from '../../exchange/run-listeners.js';
import { contentCodings } from '../../http/content-encoding.js';
import type { HotpathRequest } from '../../options/request-types.js';
import { requireSync } from '../../options/user-function.js';
import { guarded } from '../../runtime/guard.js';
import { requestInternals, responseInternals } from '../../runtime/node-internals.js';
import { isNodeSocket } from '../../runtime/node-response.js';
import { AppResponse, failBody, failReads, failWithoutEnd } from './app-response.js';
import { isRead, isThrownAway } from './body-readers.js';
import type { InflatableCoding } from './decoder-window.js';
import { InflatedCounter, isInflatable } from './decompressed-size.js';
import { closeAfter, type LingerBounds, linger, lingerStream } from './lingering-close.js';
import type { BodyRefusal } from './options.js';
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

/** One guard per request, even with two copies of the package or two mounts. */
const GUARD = Symbol.for('hotpath.size-limit');
type Guarded = IncomingMessage & { [GUARD]?: BodyGuard };

/**
 * How much of the body is read and discarded after the 413. Many clients send their whole body before they
 * read the response, so without this they would not get it. It costs no memory, and its time is limited.
 */
const AFTER_ANSWER: LingerBounds = { time: 2_000, bytes: 64 * 1024 * 1024 };

/** The limits of a body, in bytes. */
export interface Bounds {
  readonly limit: number;
  /** `Infinity`: codings are ignored. */
  readonly inflated: number;
  /** Largest Brotli window, as a power of two. */
  readonly brotliWindow: number;
  /** Largest window of zstd, as a power of two. */
  readonly zstdWindow: number;
  /** Memory of the decoders of all bodies. */
  readonly decoderMemory: number;
}

/** The reaction to a refused body. */
export interface RefusalPolicy {
  /** Whether the problem is sent at once, or the app's error handler responds. */
  readonly respond: 'problem' | 'next';
  /** The pattern of the route's policy. */
  readonly path: string | undefined;
  /** Called for each refused body. */
  readonly onRefused?: ((refusal: BodyRefusal) => void) | undefined;
}

const UNBOUNDED: Bounds = {
  limit: Number.POSITIVE_INFINITY,
  inflated: Number.POSITIVE_INFINITY,
  brotliWindow: Number.POSITIVE_INFINITY,
  zstdWindow: Number.POSITIVE_INFINITY,
  decoderMemory: Number.POSITIVE_INFINITY,
};

/** The guard of a request; created on first use. `onLate` is called if it is too late to count the body. */
export function bodyGuardOf(req: IncomingMessage, res: ServerResponse, onLate: () => void): BodyGuard {
  const guarded = req as Guarded;
  if (!guarded[GUARD] && req.readableDidRead) onLate();
  return (guarded[GUARD] ??= new BodyGuard(req, res));
}

/** Whether the client waits for `100 Continue` (RFC 9110 §10.1.1). */
export function isUninvited({ headers }: IncomingMessage, res: ServerResponse): boolean {
  if (headers.expect?.toLowerCase() !== '100-continue' || res.headersSent) return false;
  return responseInternals(res)._sent100 === false;
}

/** Counts the body of one request as Node's parser delivers it, so that no reader can bypass the count. */
export class BodyGuard {
  refused = false;
  #refusalPolicy: RefusalPolicy = { respond: 'problem', path: undefined };
  #appResponse: AppResponse | undefined;
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  /**
   * Kept from the start, because an HTTP client library may remove `req.socket` when it forwards the request.
   */
  readonly #socket: Socket | undefined;
  readonly #push: IncomingMessage['push'];
  /** Whether reading has already started, so that the beginning of the body is unknown. */
  readonly #isLate: boolean;
  #bounds = UNBOUNDED;
  #bytes: number;
  #counter: InflatedCounter | undefined;
  /** Whether a reader has requested bytes of the coded body, or made it flow. */
  #isWanted = false;
  /** Whether nobody reads the coded body, so that it is neither decoded nor delivered. */
  #isDiscarded = false;
  /** Whether the body has ended, behind pieces that are still being counted. */
  #isEnding = false;
  /** The last result of the reader's buffer: whether it accepts more. */
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
    // The buffer already contains bytes if an earlier middleware waited.
    this.#bytes = req.readableLength ?? 0; // test doubles of requests have none
    this.#push = req.push;
    req.push = (chunk: unknown, encoding?: BufferEncoding) => this.#pushed(chunk, encoding);
    // Node discards an unread body when the response has been sent. Reading continues, so that it is counted.
    requestInternals(req)._dump = () => {
      if (this.#counter && !isRead(req)) this.#discardCoded();
      req.resume();
    };
  }

  restrict(bounds: Bounds, refusalPolicy: RefusalPolicy): void {
    if (this.refused) return;
    this.#refusalPolicy = refusalPolicy;
    if (refusalPolicy.respond === 'next') {
      this.#appResponse ??= new AppResponse(exchangeOf(this.#req, this.#res));
    }
    const before = this.#bounds;
    this.#bounds = {
      limit: Math.min(before.limit, bounds.limit),
      inflated: Math.min(before.inflated, bounds.inflated),
      brotliWindow: Math.min(before.brotliWindow, bounds.brotliWindow),
      zstdWindow: Math.min(before.zstdWindow, bounds.zstdWindow),
      decoderMemory: Math.min(before.decoderMemory, bounds.decoderMemory),
    };
    const declared = Number(this.#req.headers['content-length'] ?? 0);
    if (Math.max(declared, this.#bytes) > this.#bounds.limit) this.#refuse(tooLarge(this.#bounds.limit));
    else if (!this.#counter && this.#bounds.inflated < Number.POSITIVE_INFINITY) this.#countInflated();
  }

  /**
   * Calls back when the request may go on: at once, unless bytes of a coded body wait already; never if it was refused
   * and answered.
   */
  whenAdmitted(callback: () => void): void {
    if (this.refused && this.#refusalPolicy.respond === 'problem') return;
    if (this.#onAdmitted && !this.refused) this.#onAdmitted.push(callback);
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
    // With its length, because on Node 26 `read()` alone returns only the first piece.
    const { readableLength } = this.#req;
    const waiting: Buffer | null = readableLength > 0 ? this.#req.read(readableLength) : null;
    this.#watchReads();
    if (!waiting) return;
    // The body was only inspected, so it still counts as unread.
    requestInternals(this.#req)._consumed = false;
    this.#req.unshift(waiting);
    this.#onAdmitted = [];
    this.#counter.write(waiting, () => {
      this.#admit();
      this.#goOn();
    });
    this.#counter.start();
  }

  #admit(): void {
    const callbacks = this.#onAdmitted ?? [];
    this.#onAdmitted = undefined;
    for (const callback of callbacks) callback();
  }

  /** Starts to decode at the first read. A body that is only discarded is never decoded. */
  #watchReads(): void {
    const req = this.#req;
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
    const { decoderMemory, brotliWindow, zstdWindow } = this.#bounds;
    const most = coding === 'br' ? brotliWindow : coding === 'zstd' ? zstdWindow : Number.POSITIVE_INFINITY;
    return new InflatedCounter(coding, decoderMemory, most, {
      grown: (bytes) => {
        if (bytes > this.#bounds.inflated) this.#refuse(growsTooLarge(this.#bounds.inflated));
      },
      failed: () => this.#refuse(notInItsCoding()),
      acceptsWindow: (bits) => {
        if (bits > most) this.#refuse(windowTooLarge(coding, bits, most));
        return bits <= most;
      },
      // A 408 blames the client, which is right only while hotpath waits for the client.
      evicted: () => this.#refuse(this.#counter?.isBusy || !this.#takesMore ? overloaded() : tooSlow()),
    });
  }

  /** From now on, the bytes are counted as received, and discarded. */
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

  /** Passes a piece, or the end, to the reader. A piece of a coded body is passed on once it was counted. */
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
    // Small pieces do not pause the socket, because Node detects a disconnect only while it reads.
    return this.#takesMore && counter.heldBytes < this.#req.readableHighWaterMark;
  }

  /** Continues after counted pieces: passes on the end, or resumes the socket. */
  #goOn(): void {
    if (this.#counter?.isBusy) return;
    if (this.#isEnding) {
      this.#counter?.stop();
      this.#push.call(this.#req, null);
      return;
    }
    const socket = this.#socket;
    if (!this.#takesMore || !isNodeSocket(socket) || isHttp2(this.#req)) return;
    // Node paused the socket itself because of pipelined responses, and will resume it.
    if (!(socket as { _paused?: boolean })._paused) socket.resume();
  }

  #refuse(rejection: Rejection): void {
    if (this.refused) return;
    this.refused = true;
    this.#counter?.stop();
    const req = this.#req;
    const res = this.#res;
    const { respond } = this.#refusalPolicy;
    const isUnread = isUninvited(req, res);
    const exchange = exchangeOf(req, res);
    const path = exchange.expectedTemplate ?? this.#refusalPolicy.path;
    this.#tell(rejection, path);
    if (res.headersSent) {
      this.#refuseLate(rejection);
      return;
    }
    if (!isUnread) this.#linger();
    const isReceived = req.complete;
    if (respond === 'next') {
      this.#appResponse!.expect(rejection, path);
      failReads(req, rejection.error, () => void this.#push.call(req, null));
      this.#admit();
    } else {
      exchange.template ??= path;
      // The handler may continue, but its output is ignored.
      exchange.lock();
      exchange.respond(() => sendProblem(req, res, rejection.problem));
      failBody(req, rejection.error);
    }
    // Read to its end already: by a body parser before us, or while it was being counted.
    if (isReceived) this.#discard(undefined);
  }

  /**
   * The response has begun. If the app still writes it, `respond: 'problem'` cuts it, because the app may compute it from
   * the body. Otherwise the client gets it whole, and the connection closes after it.
   */
  #refuseLate({ error }: Rejection): void {
    const req = this.#req;
    const res = this.#res;
    const socket = this.#socket;
    if (this.#refusalPolicy.respond === 'problem' && !res.writableEnded) {
      if (isNodeSocket(socket)) socket.destroy();
      else res.destroy();
      return;
    }
    const isReceived = req.complete;
    this.#linger();
    if (isHttp2(req) || isNodeSocket(socket)) failReads(req, error, () => void this.#push.call(req, null));
    else failWithoutEnd(req, error);
    if (!isHttp2(req)) closeAfter(res, socket, AFTER_ANSWER.time);
    this.#admit();
    if (isReceived) this.#discard(undefined);
  }

  /** Discards the rest of the body, up to some bounds. */
  #linger(): void {
    this.#discard = isHttp2(this.#req)
      ? lingerStream(this.#res, AFTER_ANSWER)
      : linger(this.#req, this.#socket, AFTER_ANSWER);
  }

  #tell({ error, problem }: Rejection, path: string | undefined): void {
    const { onRefused } = this.#refusalPolicy;
    if (!onRefused) return;
    try {
      requireSync(
        onRefused({ req: this.#req as HotpathRequest, status: problem.status, error, path }),
        'onRefused',
      );
    } catch (fault) {
      reportFault('sizeLimit.onRefused', fault);
    }
  }
}
