import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { requestEvents } from '../events/channels.js';
import { CLIENT_CLOSED_REQUEST, readFinalStatus, wasAborted } from '../exchange/completion.js';
import { type Exchange, exchangeOf } from '../exchange/exchange.js';
import { isInternal } from '../exchange/internal-mark.js';
import { reportFault } from '../exchange/run-listeners.js';
import { UNCOUNTED } from '../exchange/uncounted.js';
import type { FinishedRequest } from './requests/request-recorder.js';
import type { Telemetry } from './telemetry.js';

/** A stored response that was sent without an exchange. */
export interface FastServed {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly entry: {
    readonly template?: string | undefined;
    readonly handlerMicros: number;
    readonly url: string;
    readonly body: { readonly length: number };
  };
  /** `performance.now()` when the request came. */
  readonly startedAt: number;
  /** Body bytes that were sent. */
  readonly sentBytes: number;
  /** The body was sent: a 304 and a response to HEAD save nothing by compression. */
  readonly hasBody: boolean;
}

/** Follows each request to its end: for telemetry, and for those who listen to `hotpath:request`. */
export class RequestWatch {
  readonly #telemetry: Telemetry | undefined;
  #isClosed = false;

  /** @param telemetry `undefined`: requests are followed for the event alone. */
  constructor(telemetry: Telemetry | undefined) {
    this.#telemetry = telemetry;
  }

  /** The middleware; it comes first, so that the time of all others is counted. */
  readonly middleware = (
    req: IncomingMessage,
    res: ServerResponse,
    next: (error?: unknown) => void,
  ): void => {
    const exchange = this.#follow(req, res);
    next();
    // Handlers that compute before they wait for anything keep the event loop until `next` returns.
    if (exchange && this.#telemetry) exchange.blockedMs = performance.now() - exchange.startedAt;
  };

  /** A stored response is being sent without an exchange; `servedFast` follows. */
  startedFast(): void {
    if (!this.#isClosed) this.#telemetry?.started();
  }

  /**
   * A stored response was sent without an exchange.
   *
   * @param sentAt `performance.now()` when it was sent.
   * @param endedAt the same when all of it was taken.
   */
  servedFast(served: FastServed, sentAt: number, endedAt: number, aborted: boolean): void {
    const telemetry = this.#isClosed ? undefined : this.#telemetry;
    if (!telemetry && !requestEvents.hasSubscribers) return;
    const { req, res, entry, startedAt, sentBytes } = served;
    const status = aborted ? CLIENT_CLOSED_REQUEST : res.statusCode;
    const { length } = entry.body;
    const ended = {
      method: req.method,
      route: entry.template,
      status,
      aborted,
      total: endedAt - startedAt,
      toHeaders: sentAt - startedAt,
      requestBytes: 0,
      responseBytes: sentBytes,
      savedBytes: served.hasBody && !aborted ? Math.max(0, length - sentBytes) : 0,
      cache: 'HIT',
      cacheReason: undefined,
      savedMs: entry.handlerMicros / 1000,
      servedBytes: length,
      servedUrl: entry.url,
      blockedMs: 0,
      queries: 0,
      queryMs: 0,
    };
    telemetry?.finished(req, req.socket, ended);
    if (requestEvents.hasSubscribers) publishEnded(req, res, ended);
  }

  /** Follows no further request. Idempotent. */
  close(): void {
    this.#isClosed = true;
  }

  /** @returns nothing for a request that is followed already, or that is ours. */
  #follow(req: IncomingMessage, res: ServerResponse): Exchange | undefined {
    try {
      if (this.#isClosed || isInternal(req)) return undefined;
      const exchange = exchangeOf(req, res);
      if (exchange.dataOf(this)) return undefined;
      exchange.setData(this, true);
      this.#telemetry?.started();
      // A client that left while a middleware before this one was waiting: `close` won't come again.
      if (res.destroyed) this.#finished(exchange);
      else exchange.onClose(this.#onClose);
      return exchange;
    } catch (error) {
      reportFault('telemetry', error);
      return undefined;
    }
  }

  /** One for all requests. */
  readonly #onClose = (exchange: Exchange): void => this.#finished(exchange);

  #finished(exchange: Exchange): void {
    const telemetry = this.#telemetry;
    if (!telemetry && !requestEvents.hasSubscribers) return;
    const ended = describeEnded(exchange);
    if (exchange.dataOf(UNCOUNTED)) telemetry?.endedUncounted();
    else telemetry?.finished(exchange.req, exchange.socket, ended);
    if (requestEvents.hasSubscribers) publishEnded(exchange.req, exchange.res, ended);
  }
}

/** Field by field, and always the same ones, so that V8 knows the form of the object. */
function describeEnded(exchange: Exchange): FinishedRequest {
  const { req, startedAt, headedAt, bodyBytes, sentBytes, served, elapsed } = exchange;
  const status = readFinalStatus(exchange);
  const aborted = status === CLIENT_CLOSED_REQUEST && wasAborted(exchange);
  const isCoded = sentBytes < bodyBytes && !aborted && isEncoded(exchange);
  // A request that has not arrived whole may declare any length.
  const declared = req.complete ? req.headers['content-length'] : undefined;
  return {
    method: req.method,
    route: exchange.template,
    status,
    aborted,
    total: elapsed,
    toHeaders: headedAt ? headedAt - startedAt : elapsed,
    requestBytes: declared === undefined ? 0 : Number(declared) || 0,
    responseBytes: sentBytes,
    savedBytes: isCoded ? bodyBytes - sentBytes : 0,
    cache: exchange.cacheResult,
    cacheReason: exchange.cacheReason,
    savedMs: served && served.handlerMicros / 1000,
    servedBytes: served ? bodyBytes : 0,
    servedUrl: served?.url,
    blockedMs: exchange.blockedMs,
    queries: exchange.queryCount,
    queryMs: exchange.queryMs,
  };
}

/** A body that went out in some coding; a 304 and a response to HEAD have none. */
function isEncoded({ req, res }: Exchange): boolean {
  return req.method !== 'HEAD' && res.statusCode !== 304 && res.hasHeader('content-encoding');
}

function publishEnded(req: IncomingMessage, res: ServerResponse, ended: FinishedRequest): void {
  requestEvents.publish({
    req,
    res,
    method: req.method ?? '',
    route: ended.route,
    status: ended.status,
    seconds: ended.total / 1000,
    secondsToHeaders: ended.toHeaders / 1000,
    responseBytes: ended.responseBytes,
    cache: ended.cache,
    aborted: ended.aborted,
  });
}
