import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { Registry } from 'prom-client';
import { CLIENT_CLOSED_REQUEST } from '../../exchange/completion.js';
import { type Exchange, exchangeOf } from '../../exchange/exchange.js';
import { reportFault } from '../../exchange/run-listeners.js';
import { HttpMetrics } from '../../telemetry/http-metrics.js';
import { collectProcessMetrics } from '../../telemetry/process-metrics.js';
import { type ScrapeHandler, scrapeHandler } from '../../telemetry/scrape-handler.js';
import { type MetricsOptions, type MetricsSettings, resolveMetrics } from './options.js';

const SWITCHING_PROTOCOLS = 101;

/** Counts requests for Prometheus. */
export interface MetricsMiddleware {
  (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void): void;
  /** Where the metrics are; put the app's own beside them. */
  readonly registry: Registry;
  /** Answers with the metrics: `app.get('/metrics', metrics.handler)`. Keep the route from strangers. */
  readonly handler: ScrapeHandler;
  /** Takes on no further request; those in progress are still counted, and the registry stays readable. */
  close(): void;
}

/**
 * The metrics middleware, alone. Mount it first. It records, once the response is done,
 * `http_requests_total{method,path,status}`, `http_request_duration_seconds{method,path}` and
 * `http_requests_in_progress{method}`.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for options that make no sense, or a registry that holds other
 *   metrics by these names.
 */
export function metrics(options?: MetricsOptions): MetricsMiddleware {
  return createMetrics(resolveMetrics(options));
}

/** @internal What the middleware does for an answer that is given before it is asked. */
export interface MetricsEditor {
  /** Counts a request that was answered at once. */
  answered(method: string, path: string | undefined, status: number, seconds: number): void;
  /** A request's answer is on its way. @returns what to call when it is done. */
  begun(method: string): (path: string | undefined, status: number, seconds: number) => void;
}

/** The same from resolved settings. */
export function createMetrics(settings: MetricsSettings): MetricsMiddleware & MetricsEditor {
  const registry: Registry = settings.registry ?? new Registry();
  const recorder = HttpMetrics.of(registry, settings);
  if (settings.defaultMetrics) collectProcessMetrics(registry);
  let closed = false;
  function metricsMiddleware(req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) {
    try {
      if (!closed) record(recorder, req, res);
    } catch (error) {
      reportFault('metrics', error);
    }
    next();
  }
  return Object.assign(metricsMiddleware, {
    registry,
    handler: scrapeHandler(registry),
    answered: (method: string, path: string | undefined, status: number, seconds: number) =>
      recorder.answered(method, path, status, seconds),
    begun(method: string) {
      const label = recorder.started(method);
      return (path: string | undefined, status: number, seconds: number) =>
        recorder.finished(label, path, status, seconds);
    },
    close() {
      closed = true;
    },
  });
}

function record(recorder: HttpMetrics, req: IncomingMessage, res: ServerResponse): void {
  const exchange = exchangeOf(req, res);
  if ((req as { hotpath?: { internal?: boolean } }).hotpath?.internal || exchange.dataOf(recorder)) return;
  exchange.setData(recorder, true);
  const method = recorder.started(req.method);
  const isUpgrade = isUpgradeOf(req, res);
  const finish = () => {
    const seconds = (performance.now() - exchange.startedAt) / 1000;
    recorder.finished(method, exchange.template, readFinalStatus(exchange, isUpgrade), seconds);
  };
  // A client that left while a middleware before this one was waiting: `close` won't come again.
  if (res.destroyed) {
    finish();
    return;
  }
  exchange.onClose(finish);
}

/** Whether Node has handed the connection over, and the app routes the request with a response of its own making. */
function isUpgradeOf(req: IncomingMessage, res: ServerResponse): boolean {
  return (req as { upgrade?: boolean | null }).upgrade === true && res.socket === null;
}

function readFinalStatus({ res, closed, aborted }: Exchange, isUpgrade: boolean): number {
  if (closed ? !aborted : res.writableFinished) return res.statusCode;
  return isUpgrade && !res.headersSent && !res.destroyed ? SWITCHING_PROTOCOLS : CLIENT_CLOSED_REQUEST;
}
