import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Registry } from 'prom-client';
import { exchangeOf } from '../exchange/exchange.js';
import { UNCOUNTED } from '../exchange/uncounted.js';
import { HotpathError } from '../options/errors.js';
import { unawaited } from '../runtime/guard.js';
import { runInOwnContext } from '../runtime/module-context.js';
import { type Family, readFamilies } from './exposition/families.js';
import { chooseFormat } from './exposition/negotiate.js';
import { CONTENT_TYPES, type ExpositionFormat, writeFamilies } from './exposition/write.js';
import { gaugeIn } from './get-or-create.js';

/** Serves the metrics of a registry. */
export type ScrapeHandler = (
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/**
 * A handler for Express that serves the metrics of a registry.
 *
 * @param negotiates whether scrapers that ask for OpenMetrics get it; else all get the format of the registry.
 */
export function scrapeHandler(registry: Registry, negotiates: boolean): ScrapeHandler {
  const duration = gaugeIn(registry, {
    name: 'hotpath_metrics_scrape_duration_seconds',
    help: 'Time that the scrape before this one took to write.',
    aggregator: 'max',
  });
  return expositionHandler({
    formatFor(req) {
      if (registry.contentType === CONTENT_TYPES.openmetrics) return 'openmetrics';
      return negotiates ? chooseFormat(req.headers.accept) : 'text';
    },
    negotiates,
    read: () => readFamilies(registry),
    done: (seconds) => duration.set(seconds),
  });
}

/** The parts of a handler that serves metrics. */
export interface Exposition {
  formatFor(req: IncomingMessage): ExpositionFormat;
  /** Whether the format depends on `Accept`. */
  readonly negotiates: boolean;
  read(): Promise<readonly Family[]>;
  /** Called with the time that a scrape took. */
  done?(seconds: number): void;
}

/**
 * A handler that serves metrics.
 *
 * Concurrent scrapes in one format share one output: writing many series takes time, and many scrapers must not repeat
 * it. The handler has no access control; that belongs to the route.
 */
export function expositionHandler(exposition: Exposition): ScrapeHandler {
  const running = new Map<ExpositionFormat, Promise<string>>();
  async function scrape(chosen: ExpositionFormat): Promise<string> {
    const startedAt = performance.now();
    try {
      return await writeFamilies(await exposition.read(), chosen);
    } finally {
      running.delete(chosen);
      exposition.done?.((performance.now() - startedAt) / 1000);
    }
  }
  return function metricsHandler(req, res, next) {
    if ((res as ServerResponse | undefined) === undefined) {
      throw new HotpathError(
        'HOTPATH_CONFIG_INVALID',
        "handler is a middleware: write app.get('/metrics', perf.metrics.handler), not handler()",
      );
    }
    exchangeOf(req, res).setData(UNCOUNTED, true);
    const chosen = exposition.formatFor(req);
    let written = running.get(chosen);
    // Scrapes of several clients share it, and one of them happens to be the first.
    if (!written) running.set(chosen, (written = runInOwnContext(() => scrape(chosen))));
    const answered = written
      .then((text) => {
        if (res.headersSent || res.destroyed) return;
        res.statusCode = 200;
        res.setHeader('Content-Type', CONTENT_TYPES[chosen]);
        res.setHeader('Cache-Control', 'no-store');
        if (exposition.negotiates) res.appendHeader('Vary', 'Accept');
        res.end(text);
      })
      .catch(next);
    void unawaited(answered, 'metrics');
  };
}
