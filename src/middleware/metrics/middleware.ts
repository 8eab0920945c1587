import type { IncomingMessage, ServerResponse } from 'node:http';
import { Registry } from 'prom-client';
import { readFinalStatus } from '../../exchange/completion.js';
import { type Exchange, exchangeOf } from '../../exchange/exchange.js';
import { isInternal } from '../../exchange/internal-mark.js';
import { isLongLived } from '../../exchange/long-lived.js';
import { reportFault } from '../../exchange/run-listeners.js';
import { UNCOUNTED } from '../../exchange/uncounted.js';
import type { RouteMatch, RouteTable } from '../../options/route-table.js';
import { setPrefix } from '../../telemetry/get-or-create.js';
import { HttpMetrics, type LabelledRequest } from '../../telemetry/http-metrics.js';
import { collectProcessMetrics } from '../../telemetry/process-metrics.js';
import { type ScrapeHandler, scrapeHandler } from '../../telemetry/scrape-handler.js';
import type { TraceReference } from '../../telemetry/trace-context.js';
import {
  type MetricsOptions,
  type MetricsRoutePolicies,
  type MetricsSettings,
  resolveMetrics,
} from './options.js';

/** Counts requests for Prometheus. */
export interface MetricsMiddleware {
  (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void): void;
  /** The registry of the metrics; the app can add its own. */
  readonly registry: Registry;
  /** Serves the metrics: `app.get('/metrics', metrics.handler)`. Restrict access to this route. */
  readonly handler: ScrapeHandler;
  /** Stops counting new requests. Requests in progress are still counted, and the registry stays readable. */
  close(): void;
}

/**
 * The metrics middleware, alone. Mount it first. When a response ends, it records
 * `http_requests_total{method,path,status}`, `http_request_duration_seconds{method,path}` and
 * `http_requests_in_progress{method}`.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for invalid options, or if the registry contains other
 * metrics by these names.
 */
export function metrics(options?: MetricsOptions): MetricsMiddleware {
  return createMetrics(resolveMetrics(options));
}

/** @internal Counts a request that is served without Express. */
export interface MetricsEditor {
  /** Counts a request with a complete response. */
  answered(
    method: string,
    path: string | undefined,
    status: number,
    seconds: number,
    request: LabelledRequest,
  ): void;
  /** Counts a request whose response is being sent. @returns a function to call when it is done. */
  begun(
    method: string,
    request: LabelledRequest,
  ): (path: string | undefined, status: number, seconds: number) => void;
}

/** Creates the middleware from resolved settings. */
export function createMetrics(
  settings: MetricsSettings,
  routes?: RouteTable<MetricsRoutePolicies>,
): MetricsMiddleware & MetricsEditor {
  const registry: Registry = settings.registry ?? new Registry();
  setPrefix(registry, settings.prefix);
  const recorder = HttpMetrics.of(registry, { ...settings, bucketsOf: bucketsIn(routes) });
  const uncounted = routes?.policies.some((policy) => policy.metrics === false) ? routes : undefined;
  if (settings.defaultMetrics) collectProcessMetrics(registry);
  const finish = (exchange: Exchange) => finishRequest(recorder, uncounted, exchange);
  let closed = false;
  function metricsMiddleware(req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) {
    try {
      if (!closed) record(recorder, finish, req, res);
    } catch (error) {
      reportFault('metrics', error);
    }
    next();
  }
  return Object.assign(metricsMiddleware, {
    registry,
    handler: scrapeHandler(registry, settings.exemplars),
    answered: recorder.answered.bind(recorder),
    begun(method: string, request: LabelledRequest) {
      const label = recorder.started(method);
      const trace = recorder.traceOf(request.req);
      return (path: string | undefined, status: number, seconds: number) =>
        recorder.finished(label, path, status, seconds, request, trace);
    },
    close() {
      closed = true;
    },
  });
}

/** A template such as `/users/:id` matches the pattern that it was written as. */
function bucketsIn(routes: RouteTable<MetricsRoutePolicies> | undefined) {
  if (!routes?.policies.some(({ metrics }) => metrics !== false && metrics?.buckets)) return undefined;
  return (template: string) => {
    const policy = routes.match(template)?.policy.metrics;
    return policy ? policy.buckets : undefined;
  };
}

function isUncounted(exchange: Exchange, routes: RouteTable<MetricsRoutePolicies> | undefined): boolean {
  if (exchange.dataOf(UNCOUNTED)) return true;
  const match = routes && (exchange.match(routes) as RouteMatch<MetricsRoutePolicies> | undefined);
  return match?.policy.metrics === false;
}

/** A request that is counted, between its start and its end. */
interface CountedRequest {
  /** Its method as a label. */
  readonly method: string;
  readonly trace: TraceReference | undefined;
}

/** @param finish the same for all requests: a closure for each costs more than the counting. */
function record(
  recorder: HttpMetrics,
  finish: (exchange: Exchange) => void,
  req: IncomingMessage,
  res: ServerResponse,
): void {
  const exchange = exchangeOf(req, res);
  if (isInternal(req) || exchange.dataOf(recorder)) return;
  const counted: CountedRequest = { method: recorder.started(req.method), trace: recorder.traceOf(req) };
  exchange.setData(recorder, counted);
  // If the client disconnected while an earlier middleware was waiting, `close` was already emitted.
  if (res.destroyed) finish(exchange);
  else exchange.onClose(finish);
}

/** @param uncounted the routes, if requests of some of them are not counted. */
function finishRequest(
  recorder: HttpMetrics,
  uncounted: RouteTable<MetricsRoutePolicies> | undefined,
  exchange: Exchange,
): void {
  const { method, trace } = exchange.dataOf(recorder) as CountedRequest;
  if (isUncounted(exchange, uncounted)) {
    recorder.left(method);
    return;
  }
  const seconds = isLongLived(exchange.req, exchange.res) ? undefined : exchange.elapsed / 1000;
  recorder.finished(method, exchange.template, readFinalStatus(exchange), seconds, exchange, trace);
}
