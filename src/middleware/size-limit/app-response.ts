import type { IncomingMessage } from 'node:http';
import { type Exchange, HeadOrder } from '../../exchange/exchange.js';
import { guarded } from '../../runtime/guard.js';
import { requestInternals } from '../../runtime/node-internals.js';
import { isRead, isThrownAway } from './body-readers.js';
import { type Rejection, sendProblem, setProblemHead } from './rejection.js';

/** How long the app has to respond to a refused body. Milliseconds. */
const RESPOND_WITHIN_MS = 1_000;

/**
 * Leaves the response to a refused body to the app (`respond: 'next'`). Its error handler runs after what it has
 * mounted before, such as `cors`. A response below 400, or none within a second, is replaced by the problem.
 */
export class AppResponse {
  readonly #exchange: Exchange;
  #rejection: Rejection | undefined;
  #path: string | undefined;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
    // Before the cache and the compression look at the response.
    exchange.onHead(() => this.#check(), HeadOrder.capture);
  }

  /**
   * A body is refused, and its response has not begun.
   *
   * @param path names the route in metrics where the app has not come to one.
   */
  expect(rejection: Rejection, path: string | undefined): void {
    const exchange = this.#exchange;
    this.#rejection = rejection;
    this.#path = path;
    const late = guarded('size-limit', () => {
      if (exchange.headed || exchange.closed) return;
      exchange.lock();
      exchange.respond(() => sendProblem(exchange.req, exchange.res, rejection.problem));
    });
    const timer = setTimeout(late, RESPOND_WITHIN_MS).unref();
    exchange.onClose(() => clearTimeout(timer));
  }

  /** Within `head`. */
  #check(): void {
    const exchange = this.#exchange;
    const rejection = this.#rejection;
    if (!rejection) return;
    exchange.template ??= this.#path;
    const { req, res } = exchange;
    if (res.statusCode >= 400) {
      // HTTP/2 has no such field; there only the stream ends.
      if (req.httpVersionMajor < 2) res.setHeader('Connection', 'close');
      return;
    }
    exchange.setStatus(rejection.problem.status);
    exchange.replaceBody(Buffer.from(setProblemHead(req, res, rejection.problem)));
    // The client has its response, but the app may write for long.
    const end = guarded('size-limit', () => {
      if (exchange.ended) return;
      exchange.lock();
      exchange.respond(() => void res.end());
    });
    setImmediate(end);
  }
}

/**
 * Fails a refused body for its readers, from the first read on. If it only flows and has no reader, it ends
 * instead, as if it were empty: Express lets it flow before it sends a 404.
 *
 * @param end ends the body.
 */
export function failReads(req: IncomingMessage, error: Error, end: () => void): void {
  let isDone = false;
  const { read } = req;
  const onRead = () => {
    if (isDone) return;
    isDone = true;
    req.read = read;
    if (isThrownAway(req)) end();
    else failNow(req, error);
  };
  req.read = () => {
    onRead();
    return null;
  };
  if (isRead(req) || req.readableFlowing === true) onRead();
}

/** Fails the body for its readers. The socket still has the response to carry. */
function failNow(req: IncomingMessage, error: Error): void {
  const pipes = requestInternals(req)._readableState?.pipes ?? [];
  failBody(req, error);
  // Body parsers and error handlers wait for the end of a request that is not complete, and none comes any more.
  Object.defineProperty(req, 'complete', { value: true, writable: true, configurable: true });
  for (const target of [...pipes]) {
    // `pipe` has a listener of its own. Without this, a decoder that a body parser listens to never fails.
    if (target.listenerCount('error') > 1) target.destroy(error);
  }
}

/** Fails the body for those who listen to its errors, and for nobody else. */
export function failBody(req: IncomingMessage, error: Error): void {
  req._destroy = (reason, callback) => {
    process.nextTick(guarded('size-limit', () => callback(req.listenerCount('error') > 0 ? reason : null)));
  };
  req.destroy(error);
}

/** The same where the end of the request's stream would end the response too, as in Bun and Deno. */
export function failWithoutEnd(req: IncomingMessage, error: Error): void {
  const fail = guarded('size-limit', () => {
    if (req.listenerCount('error') > 0) req.emit('error', error);
  });
  process.nextTick(fail);
}
