import type { IncomingMessage, ServerResponse } from 'node:http';
import { shedEvents } from '../../events/channels.js';
import { isHttp2 } from '../../exchange/connection.js';
import { type Exchange, exchangeOf } from '../../exchange/exchange.js';
import { isInternal } from '../../exchange/internal-mark.js';
import { reportFault } from '../../exchange/run-listeners.js';
import { UNCOUNTED } from '../../exchange/uncounted.js';
import { PROBLEM_TYPE, type ProblemDetails } from '../../http/problem-details.js';
import type { RouteMatch, RouteTable } from '../../options/route-table.js';
import type { LoadSheddingRoutePolicies, LoadSheddingSettings } from './options.js';
import { Overload } from './overload.js';

/** Why requests were shed. Each count only grows. */
export type ShedCounts = Record<'event-loop' | 'pool', number>;

/** Sheds requests while the process is overloaded. */
export interface LoadSheddingMiddleware {
  (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void): void;
  readonly counts: Readonly<ShedCounts>;
  /** Sheds nothing any more. Idempotent. */
  close(): void;
}

/** Paths of operators, spared before their handlers have marked the first response. */
const SPARED = ['/healthz', '/readyz', '/api/healthz', '/api/readyz', '/metrics'];

/** More paths of operators than an app has; a mount with a parameter could make any number. */
const MOST_SPARED = 100;

const PROBLEM: ProblemDetails = Object.freeze({
  type: 'about:blank',
  title: 'Service Unavailable',
  status: 503,
  detail: 'The server is overloaded. Try again later.',
});

/** Creates the middleware from resolved settings. @param overload decides; a test may replace it. */
export function createLoadShedding(
  settings: LoadSheddingSettings,
  routes: RouteTable<LoadSheddingRoutePolicies>,
  overload = new Overload(settings),
): LoadSheddingMiddleware {
  const counts: ShedCounts = { 'event-loop': 0, pool: 0 };
  const spared = new Set(SPARED);
  const hasExceptions = routes.policies.some(({ loadShedding }) => loadShedding === false);
  const isSpared = (exchange: Exchange): boolean => {
    if (spared.has(exchange.path)) return true;
    const match = hasExceptions ? exchange.match(routes) : undefined;
    return (match as RouteMatch<LoadSheddingRoutePolicies> | undefined)?.policy.loadShedding === false;
  };
  // Health endpoints and scrapes may be anywhere; their responses tell. A refusal does not: clients may invent any number
  // of paths below a mount of the operators.
  const learn = (exchange: Exchange): void => {
    const { statusCode } = exchange.res;
    const isRefusal = statusCode >= 400 && statusCode < 500;
    if (!isRefusal && exchange.dataOf(UNCOUNTED) && spared.size < MOST_SPARED) spared.add(exchange.path);
  };
  /** @returns whether the request has its response. */
  const shed = (req: IncomingMessage, res: ServerResponse): boolean => {
    if (isInternal(req) || res.headersSent) return false;
    const exchange = exchangeOf(req, res);
    const reason = isSpared(exchange) ? undefined : overload.next();
    if (!reason) {
      exchange.onClose(learn);
      return false;
    }
    counts[reason]++;
    exchange.template = exchange.expectedTemplate;
    if (shedEvents.hasSubscribers) shedEvents.publish({ req, res, reason, route: exchange.template });
    refuse(req, res, settings.retryAfter);
    return true;
  };
  function loadSheddingMiddleware(req: IncomingMessage, res: ServerResponse, next: (e?: unknown) => void) {
    let isShed = false;
    try {
      isShed = shed(req, res);
    } catch (error) {
      reportFault('load shedding', error);
      isShed = res.headersSent;
    }
    if (!isShed) next();
  }
  return Object.assign(loadSheddingMiddleware, { counts, close: () => overload.close() });
}

function refuse(req: IncomingMessage, res: ServerResponse, retryAfterSeconds: number): void {
  const body = JSON.stringify(PROBLEM);
  res.statusCode = PROBLEM.status;
  if (!isHttp2(req)) res.statusMessage = '';
  res.setHeader('Content-Type', PROBLEM_TYPE);
  res.setHeader('Content-Length', Buffer.byteLength(body));
  res.setHeader('Cache-Control', 'no-store');
  // Clients that are sent away together must not return together.
  res.setHeader('Retry-After', Math.max(1, Math.round(retryAfterSeconds * (0.5 + Math.random()))));
  res.end(req.method === 'HEAD' ? undefined : body);
}
