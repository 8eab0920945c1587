import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { Registry } from 'prom-client';
import { readFinalStatus } from '../../exchange/completion.js';
import { exchangeOf } from '../../exchange/exchange.js';
import { reportFault } from '../../exchange/run-listeners.js';
import { HttpMetrics } from '../../telemetry/http-metrics.js';
import { collectProcessMetrics } from '../../telemetry/process-metrics.js';
import { type ScrapeHandler, scrapeHandler } from '../../telemetry/scrape-handler.js';
import { type MetricsOptions, type MetricsSettings, resolveMetrics } from './options.js';

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
  answered(method: string, path: string | undefined, status: number, seconds: number): void;
  /** Counts a request whose response is being sent. @returns a function to call when it is done. */
  begun(method: string): (path: string | undefined, status: number, seconds: number) => void;
}

/** Creates the middleware from resolved settings. */
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
  const finish = () => {
    const seconds = (performance.now() - exchange.startedAt) / 1000;
    recorder.finished(method, exchange.template, readFinalStatus(exchange), seconds);
  };
  // The client disconnected while an earlier middleware was waiting, so `close` was already emitted.
  if (res.destroyed) {
    finish();
    return;
  }
  exchange.onClose(finish);
}
