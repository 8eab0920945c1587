import { IncomingMessage, type ServerResponse } from 'node:http';
import { createState } from './cache/create-state.js';
import { createResponseCache, type Middleware, type ResponseCache } from './cache/response-cache.js';
import type { CacheState } from './cache/state.js';
import { SetupCheck } from './checks/setup-check.js';
import { type HotpathConfig, type ResolvedConfig, resolveConfig } from './config.js';
import { REQUEST_SCOPE, RequestScope } from './exchange/request-scope.js';
import { FastLookup } from './front-door/fast-lookup.js';
import { FastPath } from './front-door/fast-path.js';
import { attachError, FrontDoor } from './front-door/front-door.js';
import { createCacheControl } from './middleware/cache-control/middleware.js';
import { createCompression, startCompression } from './middleware/compression/middleware.js';
import { createLoadShedding } from './middleware/load-shedding/middleware.js';
import { createMetrics, type MetricsMiddleware } from './middleware/metrics/middleware.js';
import { createRequestLog } from './middleware/request-log/middleware.js';
import { createSizeLimit } from './middleware/size-limit/middleware.js';
import { createTiming, type RequestTiming, timingOf } from './middleware/timing/middleware.js';
import { HotpathError } from './options/errors.js';
import { shareHiddenClass } from './runtime/hidden-class.js';
import { showCache } from './telemetry/cache-metrics.js';
import { RequestWatch } from './telemetry/request-watch.js';
import { showShedding } from './telemetry/shed-metrics.js';
import { Telemetry } from './telemetry/telemetry.js';
import { showTelemetry } from './telemetry/telemetry-metrics.js';
import { showWarming } from './warming/metrics.js';
import { type Warming, WarmingScheduler } from './warming/warming.js';

type NextFunction = (error?: unknown) => void;

/** An app made by `express()`, of either major. */
export interface AttachableApp {
  (req: IncomingMessage, res: ServerResponse): unknown;
  enabled(setting: string): boolean;
}

/** The metrics of an instance; without `registry` if metrics are off. */
export interface HotpathMetrics {
  /** Serves the metrics: `app.get('/metrics', perf.metrics.handler)`. Calls the next handler if metrics are off. */
  readonly handler: (req: IncomingMessage, res: ServerResponse, next: NextFunction) => void;
  /** The `prom-client` registry; the app can register its own metrics there. */
  readonly registry?: MetricsMiddleware['registry'] | undefined;
}

/** The six middlewares as one, with their methods. Mount it first. */
export interface Hotpath extends Middleware {
  /**
   * The response cache: `route()`, `purgeAfter()`, `purge()`, `expire()`, `stats()`. If the cache is off, its
   * middlewares only call `next`.
   */
  readonly cache: ResponseCache;
  readonly metrics: HotpathMetrics;
  /** Figures of routes, cache, process, machine and all instances; absent if `telemetry` is off. */
  readonly telemetry?: Telemetry | undefined;
  /** `of(res)` returns the request id and the `Server-Timing` entries of a request. */
  readonly timing: { of(res: ServerResponse): RequestTiming };
  /** Warms the cache at the start and periodically: `register()`, `start()`, `stop()`, `run()`. */
  readonly warming: Warming;
  /** The config with every default filled in, frozen. */
  readonly config: ResolvedConfig;
  /**
   * Opens the front door of an app: hits that are the same for everyone are served before Express runs. For
   * these hits, nothing of the app runs: no authentication, rate limits or logs, as behind a CDN. The front
   * door serves routes with `shared: true` and responses that declare themselves public. It never serves
   * requests with credentials. Call it before or after `app.listen`. The instance must also be mounted first,
   * with `app.use(perf)`.
   *
   * @param app the result of `express()`.
   * @throws HotpathError `HOTPATH_ATTACH_INVALID` if the cache is off, the app is mounted in another one,
   * another app is attached, or an option needs Express's request.
   */
  attach(app: AttachableApp): void;
  /** Releases all connections, timers and memory. Idempotent. Later requests pass through. */
  close(): Promise<void>;
}

/**
 * Creates the middlewares of one config in a fixed order: timing, metrics, size limit, Cache-Control,
 * compression, cache.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem of the config.
 */
export function hotpath(config?: HotpathConfig): Hotpath {
  if ((config as unknown) instanceof IncomingMessage) {
    throw new HotpathError(
      'HOTPATH_CONFIG_INVALID',
      'hotpath is a factory: write app.use(hotpath()), not app.use(hotpath)',
    );
  }
  const resolved = resolveConfig(config);
  const parts = createParts(resolved);
  const { cache, metrics, telemetry, watch, chain } = parts;
  let attached: AttachableApp | undefined;
  const warming = createWarming(resolved, parts, () => attached);
  const hideWarming = metrics && showWarming(metrics.registry, () => warming.tasks());
  const fastPath = createFastPath(parts, resolved, hotpathMiddleware);
  const door = fastPath && new FrontDoor(fastPath);
  const { state } = parts;
  telemetry?.startAlerts();
  let check = isProduction()
    ? undefined
    : new SetupCheck({
        middleware: hotpathMiddleware,
        routes: resolved.routes,
        isAttached: () => state !== false && state.frontDoor.isOpen,
      });

  function hotpathMiddleware(req: IncomingMessage, res: ServerResponse, next: NextFunction): void {
    if (check) check.hasRun = true;
    shareHiddenClass(req, res);
    // A request that the front door has passed on is not looked up again.
    if (fastPath && !door?.hasSeen(req) && fastPath.serve(req, res) === 'served') return;
    if (check && !check.observe(req, res)) check = undefined;
    let at = 0;
    const step: NextFunction = (error) => {
      const middleware = error === undefined ? chain[at++] : undefined;
      if (middleware) middleware(req, res, step);
      else next(error);
    };
    step();
  }

  return Object.assign(hotpathMiddleware, {
    cache,
    metrics: { handler: metrics?.handler ?? passOn, registry: metrics?.registry },
    telemetry,
    timing: { of: timingOf },
    warming,
    config: resolved,
    [REQUEST_SCOPE]: parts.scope,
    attach: (app: AttachableApp) => {
      attach(app, resolved, door);
      attached = app;
      if (check && door) door.check = check;
    },
    close: async () => {
      // Its requests need the cache, and its leases the Redis of the cache.
      await warming.close();
      fastPath?.close();
      metrics?.close();
      parts.shedding?.close();
      watch.close();
      parts.scope.close();
      // It tells the other instances by the Redis of the cache.
      await telemetry?.close();
      await cache.close();
      hideWarming?.();
      hideMetrics(parts);
    },
  });
}

function hideMetrics({ hideShedding, hideCache, hideTelemetry }: Parts): void {
  hideShedding?.();
  hideCache?.();
  hideTelemetry?.();
}

/** The middlewares of one config. */
interface Parts {
  readonly state: CacheState | false;
  readonly cache: ResponseCache;
  readonly metrics: ReturnType<typeof createMetrics> | undefined;
  readonly telemetry: Telemetry | undefined;
  readonly watch: RequestWatch;
  readonly scope: RequestScope;
  readonly timing: ReturnType<typeof createTiming> | undefined;
  readonly log: ReturnType<typeof createRequestLog> | undefined;
  readonly shedding: ReturnType<typeof createLoadShedding> | undefined;
  readonly cacheControl: ReturnType<typeof createCacheControl> | undefined;
  readonly compression: ReturnType<typeof createCompression> | undefined;
  /** In the order in which a request passes them. */
  readonly chain: readonly Middleware[];
  /** Removes the metrics of the cache from the registry. */
  readonly hideCache: (() => void) | undefined;
  /** Removes the metrics of telemetry from the registry. */
  readonly hideTelemetry: (() => void) | undefined;
  /** Removes the metrics of load shedding from the registry. */
  readonly hideShedding: (() => void) | undefined;
}

function createParts(config: ResolvedConfig): Parts {
  const { routes } = config;
  const state = config.cache && createState(config.cache);
  const cache = createResponseCache(config.cache, routes, state);
  const metrics = config.metrics ? createMetrics(config.metrics, routes) : undefined;
  const hideCache = metrics && config.cache ? showCache(metrics.registry, () => cache.stats()) : undefined;
  const timing = config.timing ? createTiming(config.timing, routes) : undefined;
  const cacheControl = config.cacheControl ? createCacheControl(config.cacheControl, routes) : undefined;
  const compression = config.compression ? createCompression(config.compression, routes, true) : undefined;
  const sizeLimit = config.sizeLimit ? createSizeLimit(config.sizeLimit, routes) : undefined;
  const telemetry = createTelemetry(config, state, cache);
  const hideTelemetry =
    metrics && telemetry
      ? showTelemetry(metrics.registry, () => telemetry.readings(), {
          cache: state !== false,
          alerts: config.alerts !== false,
        })
      : undefined;
  const watch = new RequestWatch(telemetry);
  const scope = new RequestScope();
  const log = config.log ? createRequestLog(config.log, routes) : undefined;
  const shedding = config.loadShedding ? createLoadShedding(config.loadShedding, routes) : undefined;
  const hideShedding = metrics && shedding && showShedding(metrics.registry, shedding.counts);
  const first = [watch.middleware, scope.middleware, timing, log, metrics, shedding];
  const order = [...first, sizeLimit, cacheControl, compression, state && cache];
  const chain: Middleware[] = order.filter((middleware) => !!middleware);
  if (compression) chain.push(startCompression);
  const middlewares = { metrics, timing, log, shedding, cacheControl, compression, chain };
  return { state, cache, telemetry, watch, scope, ...middlewares, hideCache, hideTelemetry, hideShedding };
}

function createWarming(
  { compression, routes }: ResolvedConfig,
  { state, telemetry }: Parts,
  app: () => AttachableApp | undefined,
): WarmingScheduler {
  const codings = compression ? compression.encodings : [];
  const counted = telemetry && ((most: number) => telemetry.recorder.topKeys.exact(most));
  return new WarmingScheduler({ cache: state ? { state, routes, codings } : undefined, app, counted });
}

function createTelemetry(
  { telemetry, alerts }: ResolvedConfig,
  state: CacheState | false,
  cache: ResponseCache,
): Telemetry | undefined {
  if (!telemetry) return undefined;
  if (!state) return new Telemetry(telemetry, {}, alerts);
  const { redis, settings } = state;
  const sources = {
    cache: () => cache.stats(),
    cacheMaxBytes: settings.memory.maxBytes,
    instances: redis?.instances,
    breakers: redis && (() => redis.store.stats()),
  };
  return new Telemetry(telemetry, sources, alerts);
}

function createFastPath(
  parts: Parts,
  { routes }: ResolvedConfig,
  middleware: Middleware,
): FastPath | undefined {
  const { state, timing, metrics, watch, log, cacheControl, compression } = parts;
  if (!state) return undefined;
  const hits = new FastLookup(state, routes);
  return new FastPath({ state, middleware, hits, timing, metrics, watch, log, cacheControl, compression });
}

/** As Express decides it. */
function isProduction(): boolean {
  return process.env.NODE_ENV === 'production';
}

function passOn(_req: IncomingMessage, _res: ServerResponse, next: NextFunction): void {
  next();
}

function attach(app: AttachableApp, config: ResolvedConfig, door: FrontDoor | undefined): void {
  const problem = door
    ? undecidable(config)
    : 'the cache is off, so the front door has nothing to serve; turn on `cache`';
  if (problem) throw attachError(problem);
  if (door) door.attach(app);
}

/** The option, if any, that can only be evaluated with Express's request. */
function undecidable({ routes, compression }: ResolvedConfig): string | undefined {
  const later = 'reads the request of Express, which the front door does not have';
  if (compression !== false && compression.filter) {
    return `compression.filter ${later}; set routes[…].compression instead`;
  }
  const at = routes.policies.findIndex(({ cache }) => cache && (cache.shared ? cache.when : undefined));
  const path = JSON.stringify(routes.patterns[at]);
  return at < 0 ? undefined : `routes[${path}].cache.when ${later}; remove either when or shared`;
}
