import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Registry } from 'prom-client';
import { exchangeOf } from '../exchange/exchange.js';
import { unawaited } from '../runtime/guard.js';
import { gaugeIn } from './get-or-create.js';

/** Noted on the exchange of a request that appears in no series; two copies of the package share it. */
export const UNCOUNTED = Symbol.for('hotpath.uncounted');

/** Serves the metrics of a registry. */
export type ScrapeHandler = (
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/**
 * A handler for Express that serves the metrics of a registry, in its own format.
 *
 * Concurrent scrapes share one output: writing many series blocks the event loop, and many scrapers
 * must not repeat it. The handler has no access control; that belongs to the route.
 */
export function scrapeHandler(registry: Registry): ScrapeHandler {
  const duration = gaugeIn(registry, {
    name: 'hotpath_metrics_scrape_duration_seconds',
    help: 'Time that the scrape before this one took to write.',
  });
  let running: Promise<string> | undefined;
  async function scrape(): Promise<string> {
    const startedAt = performance.now();
    try {
      return await registry.metrics();
    } finally {
      running = undefined;
      duration.set((performance.now() - startedAt) / 1000);
    }
  }
  return function metricsHandler(req, res, next) {
    exchangeOf(req, res).setData(UNCOUNTED, true);
    running ??= scrape();
    const answered = running
      .then((text) => {
        if (res.headersSent || res.destroyed) return;
        res.statusCode = 200;
        res.setHeader('Content-Type', registry.contentType);
        res.setHeader('Cache-Control', 'no-store');
        res.end(text);
      })
      .catch(next);
    void unawaited(answered, 'metrics');
  };
}
