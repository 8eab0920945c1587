import cluster from 'node:cluster';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { exchangeOf } from '../exchange/exchange.js';
import { canonicalTarget } from '../http/request-target.js';
import type { RouteTable } from '../options/route-table.js';
import type { AppendResult, Cause, RecordKind } from '../store/invalidation/invalidation-log.js';
import { type CompiledSelector, compileSelectors, type Selector } from '../store/invalidation/selector.js';
import { createState } from './create-state.js';
import { type ExplainScope, explain } from './explain/explain.js';
import type { CacheExplanation, RequestDescription } from './explain/types.js';
import {
  type PurgeAfterOptions,
  type PurgeRecorder,
  type PurgeTarget,
  purgeBeforeEnd,
  resolvePurgeAfter,
  toList,
} from './invalidate/purge-after-write.js';
import { PurgeNames } from './invalidate/purge-names.js';
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
import { coversSelector } from './storage/no-vary-search.js';

/** A middleware of Express, typed by `node:http` alone. */
export type Middleware = (req: IncomingMessage, res: ServerResponse, next: Next) => void;

export type { PurgeAfterOptions, PurgeTarget } from './invalidate/purge-after-write.js';
export type { CacheStats, RedisOperationStats, RedisStats } from './stats.js';

/** How a purge went. */
export interface PurgeResult {
  /** Position of the last record in the invalidation log. */
  readonly position: number;
  /** Entries whose bytes were deleted in this process's memory; without `erase` they go when they are met, or as the memory fills. In Redis they go with their time to live. */
  readonly erased: number;
  /**
   * Every instance will apply it. `false` when Redis could not be reached: it is applied here, and will be written
   * when Redis is back; until then the other instances may serve what it was meant for, those that have lost Redis
   * as well for `maxStaleness` at most. Without Redis the process is the only instance, so it is `true`; except in a
   * worker of `node:cluster`, where it is `false`, since no other worker learns of the purge.
   */
  readonly acknowledged: boolean;
}

/** The middleware beside one handler. */
export interface CacheRouteMiddleware extends Middleware {
  /** As `explain` of the cache, for this middleware: what came before it (`req.params`, `req.user`) has to be there. */
  explain(request: IncomingMessage | RequestDescription): CacheExplanation;
}

/** The response cache: a middleware, and what belongs to it. */
export interface ResponseCache extends Middleware {
  /**
   * A middleware for one route, beside its handler: what needs authentication is cached here, after it. Its
   * entries are served only here.
   *
   * @throws HotpathError `HOTPATH_CONFIG_INVALID` when the rule is not valid.
   */
  route(rule: CacheRule): CacheRouteMiddleware;
  /**
   * A middleware for a route that writes: once the handler has responded with 2xx or 3xx (or with any status, for
   * `on: 'always'`), the end of the response waits for the purge, 5 s at most. So a client that has written reads what
   * it wrote.
   *
   * @throws HotpathError `HOTPATH_SELECTOR_INVALID`, or `HOTPATH_CONFIG_INVALID` when the options are not valid.
   */
  purgeAfter(target: PurgeTarget, options?: PurgeAfterOptions): Middleware;
  /** @deprecated the old name of `purgeAfter`. */
  purges(target: PurgeTarget): Middleware;
  /**
   * Makes what matches unusable, at a cost that does not depend on how much is stored.
   *
   * @returns when it is acknowledged and applied here.
   * @throws (rejects) HotpathError `HOTPATH_SELECTOR_INVALID`.
   */
  purge(selector: Selector | readonly Selector[], options?: { erase?: boolean }): Promise<PurgeResult>;
  /** Makes what matches stale; otherwise like `purge`. */
  expire(selector: Selector | readonly Selector[]): Promise<PurgeResult>;
  stats(): CacheStats;
  /**
   * What the cache would do with a request, and why: what it would say, what is stored in this process, what
   * would keep an answer from being stored. No handler runs, and nothing is counted, touched or filled. The
   * rule's `when` and `partition` are asked; a throw is reported as it would be.
   *
   * It speaks for the cache mounted before the routes; what `route()` does, its own `explain` tells.
   *
   * @param request a request of Express or Node, as its handler has it; or a description. A description has no
   * app behind it: a full URL says which scheme and host the app would see (else `http` and `Host`),
   * `X-Forwarded-*` mean nothing, and a rule's function that wants more than `method`, `url` and `headers` of
   * the request finds it missing.
   * @throws HotpathError `HOTPATH_REQUEST_INVALID` for what is neither.
   */
  explain(request: IncomingMessage | RequestDescription): CacheExplanation;
  /** Idempotent. Afterwards requests pass by. */
  close(): Promise<void>;
}

/**
 * A response cache of its own.
 *
 * @param options the options of the `cache` section, and `routes`: rules by path.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` naming every wrong option.
 */
export function responseCache(options?: StandaloneCacheOptions): ResponseCache {
  const { settings, routes } = resolveCacheStandalone(options);
  return createResponseCache(settings, routes);
}

/** @internal `settings: false` makes a cache that lets everything pass. */
export function createResponseCache(
  settings: CacheSettings | false,
  routes: RouteTable<CacheRoutePolicies>,
  state: CacheState | false = settings && createState(settings),
): ResponseCache {
  if (settings) warnOfLocalCollapsing(settings, rulesOf(routes));
  const flow = state && new RequestFlow(state);
  let open = true;
  const scopes = new RouteScopes();
  const names = new PurgeNames(routes);

  const guarded =
    (step: (flow: RequestFlow, req: IncomingMessage, res: ServerResponse, next: Next) => void) =>
    (req: IncomingMessage, res: ServerResponse, next: Next): void => {
      if (!flow || !open) return next();
      let passed = false;
      const once: Next = (error) => {
        passed = true;
        next(error);
      };
      try {
        step(flow, req, res, once);
      } catch (error) {
        if (passed) throw error; // the app's own
        (state as CacheState).fault(error, 'middleware');
        if (!res.headersSent) next();
      }
    };

  /**
   * A list of records for each selector.
   *
   * @param areAlike whether the URLs among them are those of one request.
   */
  const compile = (selectors: readonly Selector[], areAlike = false): CompiledSelector[][] => {
    const alike = areAlike
      ? selectors.flatMap((selector) => ('url' in selector ? canonicalTarget(selector.url) : []))
      : [];
    return selectors.map((selector) => compileSelectors(selector, (name) => names.of(name, alike)));
  };

  /** Returns a promise only where the log is shared with other instances. */
  const append = (
    kind: RecordKind,
    selectors: readonly CompiledSelector[],
    cause: Cause,
  ): readonly AppendResult[] | Promise<readonly AppendResult[]> => {
    if (!state) return [];
    if (selectors.length > 0 && isLocalInCluster(state)) warnOfOtherWorkers();
    const records = selectors.map((selector) => state.log.record(kind, selector, cause));
    return records.some((record) => record instanceof Promise)
      ? Promise.all(records)
      : (records as AppendResult[]);
  };

  const record = async (
    kind: RecordKind,
    selectors: readonly Selector[],
    erase: boolean,
  ): Promise<PurgeResult> => {
    const lists = compile(selectors);
    if (!state) return { position: 0, erased: 0, acknowledged: true };
    for (const [first] of lists) state.counts.purges[kind][first!.kind]++;
    const compiled = lists.flat();
    const records = await append(kind, compiled, 'app');
    const acknowledged = records.every((record) => record.acknowledged) && !isLocalInCluster(state);
    const erased = erase
      ? state.entries.erase((entry) =>
          compiled.some((selector) => selector.matches(entry) || coversSelector(entry, selector)),
        )
      : 0;
    return { position: state.log.position, erased, acknowledged };
  };

  function responseCacheMiddleware(req: IncomingMessage, res: ServerResponse, next: Next): void {
    enter(req, res, next);
  }
  const holding = (
    cause: Cause,
    count: (counts: CacheCounts, selector: CompiledSelector) => void,
    areAlike = false,
  ): PurgeRecorder => ({
    purge(selectors) {
      const lists = compile(selectors, areAlike);
      if (state) for (const [first] of lists) count(state.counts, first!);
      return append('purge', lists.flat(), cause);
    },
    fault: (error, where) => (state ? state.fault(error, where) : undefined),
  });
  const countPurge = (counts: CacheCounts, { kind }: CompiledSelector) => counts.purges.purge[kind]++;
  const byPurgeAfter = holding('app', countPurge);
  // What depends on the request, clients choose.
  const byRequest = holding('client', countPurge);
  const byMethod = holding('client', (counts) => counts.invalidations++, true);
  /** One request may pass the middleware for all routes and one beside a handler. */
  const holdIfUnsafe = (req: IncomingMessage, res: ServerResponse): void => {
    if (!isUnsafe(req.method)) return;
    const exchange = exchangeOf(req, res);
    if (exchange.dataOf(byMethod)) return;
    exchange.setData(byMethod, true);
    purgeBeforeEnd(req, res, selectInvalidated, byMethod);
  };
  const enter = guarded((current, req, res, next) => {
    holdIfUnsafe(req, res);
    current.shared(routes, req, res, next);
  });

  const explainer = (place: ExplainScope) => ({
    explain: (request: IncomingMessage | RequestDescription) => explain(open && state, place, request),
  });

  function purgeAfter(target: PurgeTarget, options?: PurgeAfterOptions): Middleware {
    if (typeof target !== 'function') compile(toList(target));
    const hold = {
      ...(typeof target === 'function' ? byRequest : byPurgeAfter),
      ...resolvePurgeAfter(options),
    };
    return function cachePurgeAfterMiddleware(req: IncomingMessage, res: ServerResponse, next: Next): void {
      if (state && open) purgeBeforeEnd(req, res, target, hold);
      next();
    };
  }

  return Object.assign(responseCacheMiddleware, {
    route(rule: CacheRule): CacheRouteMiddleware {
      const resolved = resolveCacheRule(rule);
      if (settings) warnOfLocalCollapsing(settings, [resolved]);
      // One path may have several: a partition of one means nothing to another.
      const scope = scopes.of(resolved);
      names.add(resolved);
      const step = guarded((current, req, res, next) => {
        holdIfUnsafe(req, res);
        current.route(scope, resolved, req, res, next);
      });
      function cacheRouteMiddleware(req: IncomingMessage, res: ServerResponse, next: Next): void {
        step(req, res, next);
      }
      return Object.assign(cacheRouteMiddleware, explainer({ rule: resolved, scope }));
    },
    purgeAfter,
    purges: (target: PurgeTarget) => purgeAfter(target),
    purge: (selector: Selector | readonly Selector[], options: { erase?: boolean } = {}) =>
      record('purge', toList(selector), options.erase === true),
    expire: (selector: Selector | readonly Selector[]) => record('expire', toList(selector), false),
    ...explainer({ routes }),
    stats: () => readStats(state),
    close: async () => {
      open = false;
      if (!state) return;
      state.encodings.close();
      state.refreshQueue.close();
      state.entries.store.close();
      state.redis?.close();
    },
  });
}

function rulesOf(routes: RouteTable<CacheRoutePolicies>): CacheRuleSettings[] {
  return routes.policies.flatMap(({ cache }) => cache || []);
}

function warnOfLocalCollapsing(settings: CacheSettings, rules: readonly CacheRuleSettings[]): void {
  if (settings.redis || !rules.some((rule) => rule.collapse === 'cluster')) return;
  process.emitWarning("hotpath: collapse: 'cluster' needs cache.redis; using 'instance'", {
    code: 'HOTPATH_NO_EFFECT',
    type: 'HotpathWarning',
  });
}

/** Whether other processes serve the same app and never learn of a purge. */
function isLocalInCluster({ redis }: CacheState): boolean {
  return !redis && cluster.isWorker;
}

const warned = new Set<string>();

/** Warns once per process. */
function warnOfOtherWorkers(): void {
  const code = 'HOTPATH_PURGE_LOCAL';
  if (warned.has(code)) return;
  warned.add(code);
  process.emitWarning(
    'hotpath: a purge affects only this worker of node:cluster, because the cache has no Redis; ' +
      'other workers still serve the purged responses; set cache.redis, or run a single process',
    { code, type: 'HotpathWarning' },
  );
}
