import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import {
  type CacheRoutePolicies,
  type CacheRule,
  type CacheRuleSettings,
  type CacheSettings,
  resolveCacheRule,
  resolveCacheStandalone,
  type StandaloneCacheOptions,
} from '../config/cache.js';
import { withoutEffect } from '../config/not-yet.js';
import type { RouteTable } from '../config/routes.js';
import { reportFault } from '../exchange/fault.js';
import { MemoryLog, type RecordKind } from '../store/log.js';
import { MemoryStore } from '../store/memory.js';
import { type CompiledSelector, compileSelector, type Selector } from '../store/selector.js';
import { Collapser } from './collapse.js';
import { type EncodingStats, Encodings } from './encodings.js';
import { Entries } from './entries.js';
import { answersFor, Equivalents } from './equivalents.js';
import { explain, type Place } from './explain.js';
import type { CacheExplanation, RequestDescription } from './explanation.js';
import { holdForPurge, listOf, type PurgeHold, type PurgeTarget } from './purges.js';
import { RequestFlow } from './request-flow.js';
import type { CacheState } from './state.js';
import { invalidates, isUnsafe } from './unsafe.js';
import type { Next } from './visit.js';

/** A middleware of Express, typed by `node:http` alone. */
export type Middleware = (req: IncomingMessage, res: ServerResponse, next: Next) => void;

export type { PurgeTarget } from './purges.js';

/** How a purge went. */
export interface PurgeResult {
  /** Position of the last record in the invalidation log. */
  readonly position: number;
  /** Entries whose bytes were deleted; without `erase` they go when they are met, or as the memory fills. */
  readonly erased: number;
}

/** The counts of a cache since it was made. */
export interface CacheStats {
  readonly hits: number;
  readonly misses: number;
  /** Stale responses that were served. */
  readonly stale: number;
  /** Requests of our own, made to refresh what is stale. */
  readonly refreshes: number;
  /** Stale responses that the handler has confirmed with a 304. */
  readonly revalidated: number;
  /** By reason. */
  readonly bypasses: Readonly<Record<string, number>>;
  /** Responses that were not stored, by reason. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Requests served from a fill that they waited for; they are among the hits. */
  readonly collapsed: number;
  readonly stores: number;
  readonly purges: number;
  /** URLs (RFC 9111 §4.4) and groups (RFC 9875 §3) invalidated by unsafe methods. */
  readonly invalidations: number;
  /** In the memory tier now. */
  readonly entries: number;
  /** Bytes of the memory tier, keys, headers and tags counted. */
  readonly bytes: number;
  /** Fills under way that others may wait for. */
  readonly pending: number;
  /** Position of the invalidation log. */
  readonly position: number;
  /** Bodies that were encoded beforehand, where compression stands before the cache. */
  readonly encodings: EncodingStats;
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
   * A middleware for a route that writes: once the handler has answered 2xx or 3xx, the answer's end waits for
   * the purge (5 s at most), so whoever wrote reads what they wrote.
   */
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
): ResponseCache {
  const state = settings && stateOf(settings);
  if (settings) warnOfNoEffect(settings, rulesOf(routes));
  const flow = state && new RequestFlow(state);
  let open = true;
  let routesMade = 0;

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

  const append = (kind: RecordKind, selectors: readonly CompiledSelector[]): unknown => {
    if (!state) return undefined;
    const positions = selectors.map((selector) => state.log.append(kind, selector));
    return positions.some((position) => typeof position !== 'number') ? Promise.all(positions) : undefined;
  };

  const record = async (
    kind: RecordKind,
    selectors: readonly Selector[],
    erase: boolean,
  ): Promise<PurgeResult> => {
    const compiled = selectors.map(compileSelector);
    if (!state) return { position: 0, erased: 0 };
    state.counts.purges += compiled.length;
    await append(kind, compiled);
    const erased = erase
      ? state.entries.erase((entry) =>
          compiled.some((selector) => selector.matches(entry) || answersFor(entry, selector)),
        )
      : 0;
    return { position: state.log.position, erased };
  };

  function responseCacheMiddleware(req: IncomingMessage, res: ServerResponse, next: Next): void {
    enter(req, res, next);
  }
  const holding = (counter: 'purges' | 'invalidations'): PurgeHold => ({
    purge(selectors) {
      if (state) state.counts[counter] += selectors.length;
      return append('purge', selectors.map(compileSelector));
    },
    fault: (error, where) => (state ? state.fault(error, where) : undefined),
  });
  const byPurges = holding('purges');
  const byMethod = holding('invalidations');
  const enter = guarded((current, req, res, next) => {
    if (isUnsafe(req.method)) holdForPurge(req, res, invalidates, byMethod);
    current.shared(routes, req, res, next);
  });

  const explainer = (place: Place) => ({
    explain: (request: IncomingMessage | RequestDescription) => explain(open && state, place, request),
  });

  return Object.assign(responseCacheMiddleware, {
    route(rule: CacheRule): CacheRouteMiddleware {
      const resolved = resolveCacheRule(rule);
      if (settings) warnOfNoEffect(settings, [resolved]);
      // One path may have several: a partition of one means nothing to another.
      const scope = `route:${++routesMade}`;
      const step = guarded((current, req, res, next) => current.route(scope, resolved, req, res, next));
      function cacheRouteMiddleware(req: IncomingMessage, res: ServerResponse, next: Next): void {
        step(req, res, next);
      }
      return Object.assign(cacheRouteMiddleware, explainer({ rule: resolved, scope }));
    },
    purges(target: PurgeTarget): Middleware {
      if (typeof target !== 'function') for (const selector of listOf(target)) compileSelector(selector);
      return function cachePurgesMiddleware(req: IncomingMessage, res: ServerResponse, next: Next): void {
        if (state && open) holdForPurge(req, res, target, byPurges);
        next();
      };
    },
    purge: (selector: Selector | readonly Selector[], options: { erase?: boolean } = {}) =>
      record('purge', listOf(selector), options.erase === true),
    expire: (selector: Selector | readonly Selector[]) => record('expire', listOf(selector), false),
    ...explainer({ routes }),
    stats: () => statsOf(state),
    close: async () => {
      open = false;
      if (!state) return;
      state.encodings.close();
      state.entries.store.close();
    },
  });
}

function rulesOf(routes: RouteTable<CacheRoutePolicies>): CacheRuleSettings[] {
  return routes.policies.flatMap(({ cache }) => cache || []);
}

function warnOfNoEffect(settings: CacheSettings, rules: readonly CacheRuleSettings[]): void {
  const found = withoutEffect(settings, rules);
  if (found.length === 0) return;
  process.emitWarning(`hotpath: without effect in this version: ${found.join('; ')}`, {
    code: 'HOTPATH_NO_EFFECT',
    type: 'HotpathWarning',
  });
}

function stateOf(settings: CacheSettings): CacheState {
  const clock = () => performance.now();
  const store = new MemoryStore(settings.memory);
  const entries = new Entries(store, settings.profile);
  const log = new MemoryLog(clock);
  const state: CacheState = {
    settings,
    clock,
    entries,
    equivalents: new Equivalents(entries),
    encodings: new Encodings(store, log, (error, where) => state.fault(error, where)),
    log,
    collapser: new Collapser(settings.hitForMiss),
    counts: {
      hits: 0,
      misses: 0,
      stale: 0,
      refreshes: 0,
      revalidated: 0,
      collapsed: 0,
      stores: 0,
      purges: 0,
      invalidations: 0,
      bypasses: new Map(),
      refusals: new Map(),
    },
    fault(error, where) {
      if (!settings.onError) return reportFault(`cache (${where})`, error);
      const report = (second: unknown) => reportFault('cache.onError', second);
      try {
        const told: unknown = settings.onError(error, where);
        if (told instanceof Promise) told.catch(report);
      } catch (second) {
        report(second);
      }
    },
  };
  return state;
}

function statsOf(state: CacheState | false): CacheStats {
  if (!state) {
    const none = {
      hits: 0,
      misses: 0,
      stale: 0,
      refreshes: 0,
      revalidated: 0,
      bypasses: {},
      refusals: {},
      collapsed: 0,
      stores: 0,
      purges: 0,
      invalidations: 0,
    };
    const encodings = { made: 0, useless: 0, upgraded: 0, discarded: 0, dropped: 0, waiting: 0 };
    return { ...none, entries: 0, bytes: 0, pending: 0, position: 0, encodings };
  }
  const { counts, entries, collapser, log, encodings } = state;
  return {
    hits: counts.hits,
    misses: counts.misses,
    stale: counts.stale,
    refreshes: counts.refreshes,
    revalidated: counts.revalidated,
    bypasses: Object.fromEntries(counts.bypasses),
    refusals: Object.fromEntries(counts.refusals),
    collapsed: counts.collapsed,
    stores: counts.stores,
    purges: counts.purges,
    invalidations: counts.invalidations,
    entries: entries.store.entries,
    bytes: entries.store.bytes,
    pending: collapser.size,
    position: log.position,
    encodings: encodings.stats,
  };
}
