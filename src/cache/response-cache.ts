import { IncomingMessage, type ServerResponse } from 'node:http';
import { exchangeOf } from '../exchange/exchange.js';
import type { CacheFunctions } from '../functions/function-cache.js';
import type { ValueOptions } from '../functions/stored-values.js';
import { HotpathError } from '../options/errors.js';
import { anyLifetime } from '../options/lifetimes.js';
import type { RouteTable } from '../options/route-table.js';
import { warn } from '../runtime/warn.js';
import type { PurgeResult } from '../store/invalidation/invalidation-log.js';
import type { CompiledSelector, Selector } from '../store/invalidation/selector.js';
import { FOLLOWED_CACHE, type FollowedCache } from '../store/redis/followed-cache.js';
import { createFunctions, createState } from './create-state.js';
import { type ExplainScope, explain } from './explain/explain.js';
import {
  type KeyList,
  type KeyListOptions,
  listKeys,
  type PurgePreview,
  previewPurge,
} from './explain/key-list.js';
import type { CacheExplanation, RequestDescription } from './explain/types.js';
import {
  type PurgeAfterOptions,
  type PurgeRecorder,
  type PurgeTarget,
  purgeBeforeEnd,
  resolvePurgeAfter,
  toList,
} from './invalidate/purge-after-write.js';
import { Purger } from './invalidate/purger.js';
import { isUnsafe, selectInvalidated } from './invalidate/unsafe-methods.js';
import {
  type CacheRoutePolicies,
  type CacheRule,
  type CacheRuleSettings,
  type CacheSettings,
  resolveCacheRule,
  resolveCacheStandalone,
  type StandaloneCacheOptions,
} from './options.js';
import type { Next } from './request/cache-request.js';
import { RouteScopes } from './request/route-scope.js';
import { RequestFlow } from './request-flow.js';
import type { CacheCounts, CacheState } from './state.js';
import { type CacheStats, readStats } from './stats.js';
import type { EncodingUpgrades } from './storage/encoded-bodies.js';

/** An Express middleware, typed with `node:http` only. */
export type Middleware = (req: IncomingMessage, res: ServerResponse, next: Next) => void;

export type { PurgeResult } from '../store/invalidation/invalidation-log.js';
export type { PurgeAfterOptions, PurgeTarget } from './invalidate/purge-after-write.js';
export type { CacheStats, RedisOperationStats, RedisStats } from './stats.js';

/** The middleware beside one handler. */
export interface CacheRouteMiddleware extends Middleware {
  /** Like `explain` of the cache, for this middleware. `req.params`, `req.user` and so on must be set before. */
  explain(request: IncomingMessage | RequestDescription): CacheExplanation;
}

/** Sends a `PING` to Redis, with the time limit of a read. Passes without Redis. */
export interface CacheCheck {
  /** @throws (rejects) an Error that says why Redis does not reply. */
  (): Promise<void>;
  /** The cache works without Redis. */
  readonly critical: false;
}

/** The response cache: a middleware with methods. */
export interface ResponseCache extends Middleware {
  /**
   * Creates a middleware for one route, before its handler. Authenticated routes: mount it after the auth middleware,
   * with a `partition` per user. Its entries are served only here.
   *
   * @throws HotpathError `HOTPATH_CONFIG_INVALID` if the rule is not valid.
   */
  route(rule: CacheRule): CacheRouteMiddleware;
  /**
   * Creates a middleware for a route that writes (read-your-writes). The end of its response is held until the purge
   * is acknowledged, for at most 5 seconds. Purges after 2xx and 3xx, or after any status with `on: 'always'`.
   *
   * @param target selectors, or a function that computes them from the request.
   * @throws HotpathError `HOTPATH_SELECTOR_INVALID`, or `HOTPATH_CONFIG_INVALID` if the options are not valid.
   */
  purgeAfter(target: PurgeTarget, options?: PurgeAfterOptions): Middleware;
  /** @deprecated Use `purgeAfter`. */
  purges(target: PurgeTarget): Middleware;
  /**
   * Invalidates the matching entries. The cost does not depend on the number of entries.
   *
   * @param options `erase`: also delete the entries from this process's memory. Default: `false`.
   * @returns the result, once the purge is acknowledged and applied here.
   * @throws (rejects) HotpathError `HOTPATH_SELECTOR_INVALID`.
   */
  purge(selector: Selector | readonly Selector[], options?: { erase?: boolean }): Promise<PurgeResult>;
  /** Makes the matching entries stale, so that they are refreshed. Otherwise like `purge`. */
  expire(selector: Selector | readonly Selector[]): Promise<PurgeResult>;
  /** Caches functions: `cached(fn, { name, ttl })`, `cached.many(fn, …)`, `@cached.method(…)`. */
  readonly cached: CacheFunctions;
  /**
   * Returns a copy of a value that was stored with `set`, from memory or Redis.
   *
   * @throws (rejects) HotpathError `HOTPATH_ARGUMENTS_INVALID` if the key is not a string.
   */
  get<Value = unknown>(key: string): Promise<Value | undefined>;
  /** Whether there is such a value. @throws (rejects) like `get`. */
  has(key: string): Promise<boolean>;
  /**
   * Stores a copy of a value in memory and Redis; other instances do not use the value before it any longer. For values
   * that are computed from other data, use `cached`: a purge during the computation does not undo a `set` after it.
   *
   * @returns whether it can be stored. Outside production, a value that cannot be stored is an error.
   * @throws (rejects) HotpathError `HOTPATH_ARGUMENTS_INVALID`, `HOTPATH_RESULT_INVALID` or `HOTPATH_CONFIG_INVALID`.
   */
  set(key: string, value: unknown, options: ValueOptions): Promise<boolean>;
  /** Deletes a value on all instances, and purges the responses that used it. @returns whether there was one. */
  delete(key: string): Promise<boolean>;
  /** The position of the invalidation log, for `since` of a cached function. */
  position(): number;
  stats(): CacheStats;
  /** For `health()`: checks whether Redis replies, if there is one. */
  readonly check: CacheCheck;
  /**
   * Explains what the cache would do with a request: the result, the stored entry in this process, and the obstacles
   * to storing. Runs no handler and changes nothing. It calls the rule's `when` and `partition`; exceptions are
   * reported as for a request.
   *
   * It explains the cache mounted before the routes. The middleware of `route()` has its own `explain`.
   *
   * @param request a request of Express or Node as its handler has it, or a description. A description has no app: a
   * full URL sets scheme and host (default: `http` and `Host`), and `X-Forwarded-*` has no effect. A rule's function
   * gets only `method`, `url` and `headers`.
   * @throws HotpathError `HOTPATH_REQUEST_INVALID` for any other value.
   */
  explain(request: IncomingMessage | RequestDescription): CacheExplanation;
  /**
   * Lists what the memory tier of this process holds, for operators: entries that are fresh or stale, not those that a
   * purge has ended. Counts no use and changes nothing.
   *
   * @throws HotpathError `HOTPATH_CONFIG_INVALID` naming every wrong option.
   */
  keys(options?: KeyListOptions): KeyList;
  /**
   * Finds the entries in the memory of this process that a purge of the selectors would end. Changes nothing.
   *
   * @throws HotpathError `HOTPATH_SELECTOR_INVALID`.
   */
  preview(selector: Selector | readonly Selector[]): PurgePreview;
  /**
   * Encodes stored bodies that are served with Brotli with its highest quality now, not after 16 requests. It happens
   * in idle time; at most 64 wait at a time.
   */
  upgradeEncodings(): EncodingUpgrades;
  /** Closes connections and timers, and frees the memory. Later requests pass through. Idempotent. */
  close(): Promise<void>;
}

/**
 * Creates a response cache that is used without the other middlewares.
 *
 * @param options the options of the `cache` section, and `routes`: rules by path.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` naming every wrong option.
 */
export function responseCache(options?: StandaloneCacheOptions): ResponseCache {
  const { settings, routes } = resolveCacheStandalone(options);
  return createResponseCache(settings, routes);
}

/** @internal With `settings: false`, the middlewares only call `next`. */
export function createResponseCache(
  settings: CacheSettings | false,
  routes: RouteTable<CacheRoutePolicies>,
  state: CacheState | false = settings && createState(settings),
): ResponseCache {
  if (settings) warnOfLocalCollapsing(settings, rulesOf(routes));
  const parts = new CacheMiddlewares(settings, routes, state);
  const { purger } = parts;
  const { cached, values } = createFunctions(settings, state, purger);
  function responseCacheMiddleware(req: IncomingMessage, res: ServerResponse, next: Next): void {
    parts.handle(req, res, next);
  }
  const cache: ResponseCache = Object.assign(responseCacheMiddleware, {
    route: (rule: CacheRule) => parts.route(rule),
    purgeAfter: (target: PurgeTarget, options?: PurgeAfterOptions) => parts.purgeAfter(target, options),
    purges: (target: PurgeTarget) => parts.purgeAfter(target),
    purge: (selector: Selector | readonly Selector[], options: { erase?: boolean } = {}) =>
      purger.record('purge', toList(selector), options.erase === true),
    expire: (selector: Selector | readonly Selector[]) => purger.record('expire', toList(selector), false),
    explain: (request: IncomingMessage | RequestDescription) => parts.explain({ routes }, request),
    keys: (options?: KeyListOptions) => listKeys(state, options),
    preview: (selector: Selector | readonly Selector[]) =>
      previewPurge(state, purger.matcher(toList(selector))),
    upgradeEncodings: () => (state ? state.encodings.upgradeAll() : { queued: 0, strongest: 0 }),
    cached,
    get: async <Value>(key: string) => (await values.get(key)) as Value | undefined,
    has: (key: string) => values.has(key),
    set: (key: string, value: unknown, options: ValueOptions) => values.set(key, value, options),
    delete: (key: string) => values.delete(key),
    position: () => (state ? state.log.position : 0),
    stats: () => readStats(state),
    check: createCheck(state),
    close: async () => parts.close(),
    [FOLLOWED_CACHE]: followedCacheOf(state),
  });
  internals.set(cache, { state, routes });
  return cache;
}

/** @returns `undefined` if the cache is off. */
function followedCacheOf(state: CacheState | false): FollowedCache | undefined {
  return state ? { maxStaleness: state.settings.maxStaleness, redis: state.redis } : undefined;
}

/** The parts of a cache that warming needs. */
interface CacheInternals {
  /** `false` if the cache is off. */
  readonly state: CacheState | false;
  readonly routes: RouteTable<CacheRoutePolicies>;
}

const internals = new WeakMap<ResponseCache, CacheInternals>();

/** @internal `undefined` for anything but a cache of this copy of the package. */
export function internalsOf(cache: ResponseCache): CacheInternals | undefined {
  return internals.get(cache);
}

function createCheck(state: CacheState | false): CacheCheck {
  const check = async () => {
    const reason = state ? await state.redis?.store.ping() : undefined;
    if (reason !== undefined) throw new Error(`Redis does not reply: ${reason}`);
  };
  return Object.assign(check, { critical: false as const });
}

type FlowStep = (flow: RequestFlow, req: IncomingMessage, res: ServerResponse, next: Next) => void;

/** The middlewares of one cache. They pass every request on if the cache is off or closed. */
class CacheMiddlewares {
  readonly purger: Purger;
  readonly #settings: CacheSettings | false;
  readonly #state: CacheState | false;
  readonly #flow: RequestFlow | undefined;
  readonly #scopes = new RouteScopes();
  readonly #allRoutesStep: FlowStep;
  readonly #byPurgeAfter: PurgeRecorder;
  /** A function of a request chooses the selectors, so clients influence them. */
  readonly #byRequest: PurgeRecorder;
  readonly #byMethod: PurgeRecorder;
  #isOpen = true;

  constructor(
    settings: CacheSettings | false,
    routes: RouteTable<CacheRoutePolicies>,
    state: CacheState | false,
  ) {
    this.#settings = settings;
    this.#state = state;
    this.#flow = state ? new RequestFlow(state) : undefined;
    this.#allRoutesStep = (flow, req, res, next) => flow.forAllRoutes(routes, req, res, next);
    this.purger = new Purger(state, routes);
    this.#byPurgeAfter = this.purger.recorder('app', countPurge);
    this.#byRequest = this.purger.recorder('client', countPurge);
    this.#byMethod = this.purger.recorder('client', (counts) => counts.invalidations++, true);
  }

  /** The middleware for all routes. */
  handle(req: IncomingMessage, res: ServerResponse, next: Next): void {
    this.#run(this.#allRoutesStep, req, res, next);
  }

  route(rule: CacheRule): CacheRouteMiddleware {
    if ((rule as unknown) instanceof IncomingMessage) throw notCalled("route({ ttl: '1m' })");
    const { lifetimes } = this.#settings || { lifetimes: anyLifetime };
    const resolved = resolveCacheRule(rule, 'rule', lifetimes);
    if (this.#settings) warnOfLocalCollapsing(this.#settings, [resolved]);
    // Several may run for one path, and a partition of one has no meaning in another.
    const scope = this.#scopes.of(resolved);
    this.purger.addRule(resolved);
    const step: FlowStep = (flow, req, res, next) => flow.route(scope, resolved, req, res, next);
    const cacheRouteMiddleware: Middleware = (req, res, next) => this.#run(step, req, res, next);
    return Object.assign(cacheRouteMiddleware, {
      explain: (request: IncomingMessage | RequestDescription) =>
        this.explain({ rule: resolved, scope }, request),
    });
  }

  purgeAfter(target: PurgeTarget, options?: PurgeAfterOptions): Middleware {
    if ((target as unknown) instanceof IncomingMessage) throw notCalled("purgeAfter({ tag: 'products' })");
    if (typeof target !== 'function') this.purger.validate(toList(target));
    const recorder = typeof target === 'function' ? this.#byRequest : this.#byPurgeAfter;
    const hold = { ...recorder, ...resolvePurgeAfter(options) };
    const cachePurgeAfterMiddleware: Middleware = (req, res, next) => {
      if (this.#state && this.#isOpen) purgeBeforeEnd(req, res, target, hold);
      next();
    };
    return cachePurgeAfterMiddleware;
  }

  explain(place: ExplainScope, request: IncomingMessage | RequestDescription): CacheExplanation {
    return explain(this.#isOpen && this.#state, place, request);
  }

  /** Idempotent. */
  close(): void {
    this.#isOpen = false;
    if (!this.#state) return;
    const { encodings, refreshQueue, entries, redis } = this.#state;
    encodings.close();
    refreshQueue.close();
    entries.store.close();
    redis?.close();
  }

  /** Runs one middleware. An error of the cache is reported, and the request goes on to the handler. */
  #run(step: FlowStep, req: IncomingMessage, res: ServerResponse, next: Next): void {
    if (!this.#flow || !this.#isOpen) return next();
    let hasPassed = false;
    const pass: Next = (error) => {
      hasPassed = true;
      next(error);
    };
    try {
      this.#purgeIfUnsafe(req, res);
      step(this.#flow, req, res, pass);
    } catch (error) {
      if (hasPassed) throw error; // the app's own
      (this.#state as CacheState).fault(error, 'middleware');
      if (!res.headersSent) next();
    }
  }

  /** Once per request, which may pass the middleware for all routes and one beside a handler. */
  #purgeIfUnsafe(req: IncomingMessage, res: ServerResponse): void {
    if (!isUnsafe(req.method)) return;
    const exchange = exchangeOf(req, res);
    if (exchange.dataOf(this.#byMethod)) return;
    exchange.setData(this.#byMethod, true);
    purgeBeforeEnd(
      req,
      res,
      (context) => selectInvalidated(context, this.purger.sharedHosts),
      this.#byMethod,
    );
  }
}

/** A factory was mounted as a middleware, so Express calls it with a request. */
function notCalled(call: string): HotpathError {
  const [name] = call.split('(', 1);
  return new HotpathError(
    'HOTPATH_CONFIG_INVALID',
    `cache.${name} returns a middleware: write app.get(path, perf.cache.${call}, handler), not perf.cache.${name}`,
  );
}

function countPurge({ purges }: CacheCounts, { kind }: CompiledSelector): void {
  purges.purge[kind]++;
}

function rulesOf(routes: RouteTable<CacheRoutePolicies>): CacheRuleSettings[] {
  return routes.policies.flatMap(({ cache }) => cache || []);
}

function warnOfLocalCollapsing(settings: CacheSettings, rules: readonly CacheRuleSettings[]): void {
  if (settings.redis || !rules.some((rule) => rule.collapse === 'cluster')) return;
  warn('HOTPATH_NO_EFFECT', "collapse: 'cluster' needs cache.redis; using 'instance'");
}
