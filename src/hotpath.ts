import { IncomingMessage, type ServerResponse } from 'node:http';
import { createResponseCache, type Middleware, type ResponseCache } from './cache/response-cache.js';
import { type HotpathConfig, type ResolvedConfig, resolveConfig } from './config/config.js';
import { HotpathError } from './config/errors.js';
import { createCacheControl } from './middleware/cache-control.js';
import { createCompression, startCompression } from './middleware/compression.js';
import { createMetrics, type MetricsMiddleware } from './middleware/metrics.js';
import { createSizeLimit } from './middleware/size-limit.js';
import { createTiming, type RequestTiming, timingOf } from './middleware/timing.js';
import { showCache } from './telemetry/cache-metrics.js';

type Next = (error?: unknown) => void;

/** The metrics of an instance; without `registry` when metrics are off. */
export interface HotpathMetrics {
  /** Answers a scrape: `app.get('/metrics', perf.metrics.handler)`. Passes on to the next handler when metrics are off. */
  readonly handler: (req: IncomingMessage, res: ServerResponse, next: Next) => void;
  /** The `prom-client` registry, to register metrics of your own in. */
  readonly registry?: MetricsMiddleware['registry'];
}

/** The six middlewares as one, and what belongs to them. Mount it first. */
export interface Hotpath extends Middleware {
  /** The response cache: `route()`, `purges()`, `purge()`, `expire()`, `stats()`. Lets everything pass when it is off. */
  readonly cache: ResponseCache;
  readonly metrics: HotpathMetrics;
  /** `of(res)`: request id and `Server-Timing` entries of a request. */
  readonly timing: { of(res: ServerResponse): RequestTiming };
  /** The config with every default filled in, frozen. */
  readonly config: ResolvedConfig;
  /** Lets go of everything that was opened. Idempotent; afterwards requests pass through. */
  close(): Promise<void>;
}

/**
 * Makes the middlewares of one config, in the right order: timing, metrics, size limit, Cache-Control,
 * compression, cache.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` listing every problem of the config.
 */
export function hotpath(config?: HotpathConfig): Hotpath {
  if ((config as unknown) instanceof IncomingMessage) {
    throw new HotpathError(
      'HOTPATH_CONFIG_INVALID',
      'hotpath is a factory: write app.use(hotpath()), not app.use(hotpath)',
    );
  }
  const resolved = resolveConfig(config);
  const { routes } = resolved;
  const cache = createResponseCache(resolved.cache, routes);
  const metrics = resolved.metrics ? createMetrics(resolved.metrics) : undefined;
  const hideCache = metrics && resolved.cache && showCache(metrics.registry, () => cache.stats());

  const chain: Middleware[] = [];
  if (resolved.timing) chain.push(createTiming(resolved.timing));
  if (metrics) chain.push(metrics);
  if (resolved.sizeLimit) chain.push(createSizeLimit(resolved.sizeLimit, routes));
  if (resolved.cacheControl) chain.push(createCacheControl(resolved.cacheControl, routes));
  if (resolved.compression) chain.push(createCompression(resolved.compression, routes, true));
  if (resolved.cache) chain.push(cache);
  if (resolved.compression) chain.push(startCompression);

  function hotpathMiddleware(req: IncomingMessage, res: ServerResponse, next: Next): void {
    let at = 0;
    const step: Next = (error) => {
      const middleware = error === undefined ? chain[at++] : undefined;
      if (middleware) middleware(req, res, step);
      else next(error);
    };
    step();
  }

  return Object.assign(hotpathMiddleware, {
    cache,
    metrics: { handler: metrics?.handler ?? passOn, registry: metrics?.registry },
    timing: { of: timingOf },
    config: resolved,
    close: async () => {
      metrics?.close();
      await cache.close();
      if (hideCache) hideCache();
    },
  });
}

function passOn(_req: IncomingMessage, _res: ServerResponse, next: Next): void {
  next();
}
