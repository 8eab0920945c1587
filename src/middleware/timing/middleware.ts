import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Exchange, exchangeOf, HeadOrder } from '../../exchange/exchange.js';
import { isInternal } from '../../exchange/internal-mark.js';
import { reportFault } from '../../exchange/run-listeners.js';
import type { RouteMatch, RouteTable } from '../../options/route-table.js';
import { requestIdOf, TIMING } from '../request-id.js';
import { formatElapsed, roundElapsed } from './elapsed.js';
import { responseTime } from './header-values.js';
import {
  resolveTiming,
  type TimingOptions,
  type TimingRoutePolicies,
  type TimingSettings,
} from './options.js';
import { isTimed, type RequestTiming, startTiming, Timing, timingOf } from './request-timing.js';
import { type EndedRequest, SlowRequestReporter } from './slow-requests.js';

export { type RequestTiming, timingOf };

/** Times requests and gives them ids. */
export interface TimingMiddleware {
  (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void): void;
  /** The timing of a response's request; the same as `timingOf`. */
  of(res: ServerResponse): RequestTiming;
}

/**
 * The timing middleware, alone: a request id, the time until the response began (`X-Response-Time`,
 * `Server-Timing`), and a report of slow requests. Mount it first. The headers are set just before they are
 * sent, so the app never sees them.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for invalid options.
 */
export function timing(options?: TimingOptions): TimingMiddleware {
  return createTiming(resolveTiming(options));
}

/** @internal Applies the middleware to a response that is sent without Express. */
export interface TimingEditor {
  readonly settings: TimingSettings;
  /** The request's id; `undefined` if ids are off. */
  idOf(req: IncomingMessage): string | undefined;
  /** The duration from which a request is reported. Seconds; `Infinity` if none is. */
  readonly slowFrom: number;
  /** Reports a request that has ended. */
  slow(request: EndedRequest, seconds: number, requestId: string | undefined): void;
}

/** Creates the middleware from resolved settings. */
export function createTiming(
  settings: TimingSettings,
  routes?: RouteTable<TimingRoutePolicies>,
): TimingMiddleware & TimingEditor {
  const untimed = routes?.policies.some((policy) => policy.timing === false) ? routes : undefined;
  const slowFrom = settings.slow === false ? Number.POSITIVE_INFINITY : settings.slow;
  const slow =
    settings.slow === false && !settings.onRequest ? undefined : new SlowRequestReporter(slowFrom, settings);
  const { requestId } = settings;
  const field = requestId ? requestId.header.toLowerCase() : '';
  const idOf = (req: IncomingMessage) =>
    requestId ? requestIdOf(req, field, requestId.trustInbound) : undefined;
  const write = headerWriter(settings);
  function timingMiddleware(req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) {
    try {
      if (!isTimed(res) && !isUntimed(req, res, untimed)) start(write, slow, idOf(req), req, res);
    } catch (error) {
      reportFault('timing', error);
    }
    next();
  }
  return Object.assign(timingMiddleware, {
    of: timingOf,
    settings,
    idOf,
    // Every request is reported to `onRequest`.
    slowFrom: settings.onRequest ? 0 : slowFrom,
    slow: (request: EndedRequest, seconds: number, id: string | undefined) =>
      slow?.ended(request, seconds, id),
  });
}

function isUntimed(
  req: IncomingMessage,
  res: ServerResponse,
  routes: RouteTable<TimingRoutePolicies> | undefined,
): boolean {
  const match = routes && (exchangeOf(req, res).match(routes) as RouteMatch<TimingRoutePolicies> | undefined);
  return match?.policy.timing === false;
}

function start(
  write: (exchange: Exchange) => void,
  slow: SlowRequestReporter | undefined,
  requestId: string | undefined,
  req: IncomingMessage,
  res: ServerResponse,
): void {
  const exchange = exchangeOf(req, res);
  const timing = new Timing(requestId);
  startTiming(exchange, timing);
  // Last, so that the cache has set its result.
  exchange.onHead(write, HeadOrder.seal);
  // No client waits for an internal request.
  if (!isInternal(exchange.req)) slow?.watch(exchange);
}

/** Creates the listener that sets the headers; one for all requests. */
function headerWriter(settings: TimingSettings): (exchange: Exchange) => void {
  const { header, requestId, serverTiming, digits } = settings;
  return (exchange) => {
    const { res, startedAt, headedAt } = exchange;
    const timing = exchange.dataOf(TIMING) as Timing;
    const elapsed = roundElapsed(formatElapsed(headedAt - startedAt), digits);
    if (requestId && timing.requestId && !res.hasHeader(requestId.header)) {
      res.setHeader(requestId.header, timing.requestId);
    }
    // If sending the headers failed before, our own header of that attempt is replaced.
    if (header && (!res.hasHeader(header) || res.getHeader(header) === timing.written)) {
      timing.written = responseTime(elapsed);
      res.setHeader(header, timing.written);
    }
    if (serverTiming) timing.writeTo(res, elapsed);
  };
}
