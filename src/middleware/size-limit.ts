import type { IncomingMessage, ServerResponse } from 'node:http';
import { HotpathError } from '../config/errors.js';
import type { RouteTable } from '../config/routes.js';
import {
  resolveSizeLimitStandalone,
  type SizeLimitRoutePolicies,
  type SizeLimitSettings,
  type StandaloneSizeLimitOptions,
} from '../config/size-limit.js';
import { exchangeOf } from '../exchange/exchange.js';
import { reportFault } from '../exchange/fault.js';
import { type LingerBounds, linger } from '../exchange/linger.js';
import { PROBLEM_TYPE, type Problem } from '../http/problem.js';

/** Refuses request bodies that are too large. */
export type SizeLimitMiddleware = (
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/** The one guard of a request; two copies of the package, and two mounts, share it. */
const GUARD = Symbol.for('hotpath.size-limit');
type Guarded = IncomingMessage & { [GUARD]?: BodyGuard };

/**
 * After the 413 so much more is read and thrown away. Clients that send their whole body before they read
 * (and there are many) get the answer only if somebody takes it; it costs no memory, and time is bounded too.
 */
const AFTER_ANSWER: LingerBounds = { time: 2_000, bytes: 64 * 1024 * 1024 };

/** What readers of the body receive when it grows too large: what Express and body parsers make a 413 of. */
export interface BodyTooLargeError extends HotpathError {
  readonly code: 'HOTPATH_BODY_TOO_LARGE';
  readonly status: 413;
  readonly statusCode: 413;
  readonly type: 'entity.too.large';
  /** Bytes that were accepted. */
  readonly limit: number;
}

/**
 * The request-size limit, alone. Mount it before whatever reads bodies.
 *
 * A body that declares more than the limit is refused before anything runs. Any other is counted as it
 * arrives, whoever reads it, and nothing of it is kept here. When it grows over the limit, the client receives
 * `413` as `application/problem+json` (RFC 9457) and the connection is closed; whoever reads the body gets
 * an error with `code` `HOTPATH_BODY_TOO_LARGE`; and what the handler sends from then on is ignored. If its
 * answer had begun already, the connection is cut. Several limits on one request: the smallest holds.
 *
 * The bytes are counted as they come over the wire, before any `Content-Encoding` is taken off.
 *
 * `Expect: 100-continue`: Node invites the body before any middleware is asked. After
 * `server.on('checkContinue', app)` it is for this middleware to decide, and a body that declares too much
 * is refused without being invited.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for options that make no sense.
 */
export function sizeLimit(options?: StandaloneSizeLimitOptions): SizeLimitMiddleware {
  const { settings, routes } = resolveSizeLimitStandalone(options);
  return createSizeLimit(settings, routes);
}

/** The same from resolved settings and a table of routes that others may share. */
export function createSizeLimit(
  settings: SizeLimitSettings,
  routes: RouteTable<SizeLimitRoutePolicies>,
): SizeLimitMiddleware {
  return function sizeLimitMiddleware(req, res, next) {
    try {
      if (mayHaveBody(req)) {
        const exchange = exchangeOf(req, res);
        const limit = exchange.match(routes)?.policy.sizeLimit ?? settings.limit;
        if (limit !== false && !admit(req, res, limit)) return;
      }
      invite(req, res);
    } catch (error) {
      reportFault('size-limit', error);
    }
    next();
  };
}

/** RFC 9112 §6.3: over HTTP/1 a request without either field has no body. */
function mayHaveBody({ headers, httpVersionMajor }: IncomingMessage): boolean {
  const length = headers['content-length'];
  return (
    (length !== undefined && length !== '0') ||
    headers['transfer-encoding'] !== undefined ||
    httpVersionMajor > 1
  );
}

/** @returns whether the request may go on. */
function admit(req: IncomingMessage, res: ServerResponse, limit: number): boolean {
  const guarded = req as Guarded;
  const guard = (guarded[GUARD] ??= new BodyGuard(req, res));
  guard.restrict(limit);
  return !guard.refused;
}

/** With a `checkContinue` listener it is for the app to say `100 Continue`. */
function invite(req: IncomingMessage, res: ServerResponse): void {
  if (isUninvited(req, res)) res.writeContinue();
}

function isUninvited({ headers }: IncomingMessage, res: ServerResponse): boolean {
  if (headers.expect?.toLowerCase() !== '100-continue' || res.headersSent) return false;
  return (res as unknown as { _sent100?: boolean })._sent100 === false;
}

/** Counts the body of one request where Node's parser hands it on: there nobody can read past it. */
class BodyGuard {
  refused = false;
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #push: IncomingMessage['push'];
  #limit = Number.POSITIVE_INFINITY;
  #bytes: number;
  #discard: (bytes: number | undefined) => void = () => {};

  constructor(req: IncomingMessage, res: ServerResponse) {
    this.#req = req;
    this.#res = res;
    // What an earlier middleware made wait is there already.
    this.#bytes = req.readableLength;
    this.#push = req.push;
    req.push = (chunk: unknown, encoding?: BufferEncoding) => this.#pushed(chunk, encoding);
    // Node lets go of a body that nobody read when the answer is out. It is read on, so that it is counted.
    (req as unknown as { _dump: () => void })._dump = () => req.resume();
  }

  restrict(limit: number): void {
    this.#limit = Math.min(this.#limit, limit);
    const declared = Number(this.#req.headers['content-length'] ?? 0);
    if (Math.max(declared, this.#bytes) > this.#limit) this.#refuse();
  }

  #pushed(chunk: unknown, encoding: BufferEncoding | undefined): boolean {
    const length =
      chunk === null || chunk === undefined
        ? undefined
        : typeof chunk === 'string'
          ? Buffer.byteLength(chunk, encoding)
          : (chunk as Uint8Array).byteLength;
    if (!this.refused) {
      this.#bytes += length ?? 0;
      if (this.#bytes <= this.#limit) return this.#push.call(this.#req, chunk, encoding);
      this.#refuse();
    }
    this.#discard(length);
    return true;
  }

  #refuse(): void {
    if (this.refused) return;
    this.refused = true;
    const req = this.#req;
    const res = this.#res;
    const isUnread = isUninvited(req, res);
    if (res.headersSent) {
      req.socket.destroy();
      return;
    }
    // The handler may run on; it reaches nobody any more.
    const exchange = exchangeOf(req, res);
    exchange.lock();
    if (req.httpVersionMajor < 2 && !isUnread) this.#discard = linger(req, AFTER_ANSWER);
    exchange.respond(() => answer(req, res, this.#limit));
    failBody(req, tooLarge(this.#limit));
    // Read to its end already, by a body parser before us.
    if (req.complete) this.#discard(undefined);
  }
}

function answer(req: IncomingMessage, res: ServerResponse, limit: number): void {
  const problem: Problem = {
    type: 'about:blank',
    title: 'Content Too Large',
    status: 413,
    detail: `The request body is larger than the ${limit} bytes that are accepted here.`,
    limit,
  };
  const body = JSON.stringify(problem);
  // What the handler had begun to describe is not this answer.
  for (const name of res.getHeaderNames()) {
    if (
      /^(?:content-(?:type|length|encoding|range|disposition|language|location)|etag|expires|last-modified|set-cookie|trailer|transfer-encoding)$/i.test(
        name,
      )
    ) {
      res.removeHeader(name);
    }
  }
  res.statusCode = problem.status;
  res.statusMessage = problem.title;
  res.setHeader('Content-Type', PROBLEM_TYPE);
  res.setHeader('Content-Length', Buffer.byteLength(body));
  res.setHeader('Cache-Control', 'no-store');
  // HTTP/2 has no such field; there only the stream ends.
  if (req.httpVersionMajor < 2) res.setHeader('Connection', 'close');
  res.end(body);
}

function tooLarge(limit: number): BodyTooLargeError {
  const error = new HotpathError('HOTPATH_BODY_TOO_LARGE', `the request body is larger than ${limit} bytes`);
  return Object.assign(error, {
    status: 413,
    statusCode: 413,
    type: 'entity.too.large',
    limit,
  }) as BodyTooLargeError;
}

/** Fails the body for whoever reads it, and for nobody else: the socket still has the answer to carry. */
function failBody(req: IncomingMessage, error: Error): void {
  req._destroy = (reason, callback) => {
    process.nextTick(() => callback(req.listenerCount('error') > 0 ? reason : null));
  };
  req.destroy(error);
}
