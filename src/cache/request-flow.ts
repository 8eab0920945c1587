import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CacheRoutePolicies, CacheRuleSettings } from '../config/cache.js';
import type { RouteParams } from '../config/context.js';
import type { RouteMatch, RouteTable } from '../config/routes.js';
import { type Exchange, exchangeOf } from '../exchange/exchange.js';
import type { CacheStatus } from '../http/cache-status.js';
import type { Conditions } from '../http/conditional.js';
import { requestDirectives } from '../http/request-cache-control.js';
import type { StoredResponse } from '../store/entry.js';
import type { Outcome, Pending } from './collapse.js';
import { originOf, RuleContext } from './context.js';
import { Fill } from './fill.js';
import { appliesTo, partitionOf } from './hooks.js';
import { normaliseTarget, primaryKey, rewrittenTarget } from './key.js';
import { isFor, isPromising, lookUp, mayStandIn } from './lookup.js';
import { Refresher } from './refresh.js';
import { bypassOf, credentialOf, Disguise } from './request.js';
import { serve, ttlOf } from './serve.js';
import type { CacheState } from './state.js';
import { writeStatus, type XCache } from './status.js';
import type { Permission } from './use.js';
import type { Lookup, Next, Refreshing, Seen, Visit } from './visit.js';

/** How often a request waits for others before it runs by itself. */
const MOST_WAITS = 2;

const NO_PARAMS: RouteParams = Object.freeze(Object.create(null) as Record<string, string>);

/** Takes requests through lookup, waiting and filling. */
export class RequestFlow {
  readonly #state: CacheState;
  readonly #seen = new WeakMap<Exchange, Seen>();
  readonly #refresher: Refresher;

  constructor(state: CacheState) {
    this.#state = state;
    this.#refresher = new Refresher(state);
  }

  /** The middleware for all routes: rules by path, and what responses say of themselves. */
  shared(
    routes: RouteTable<CacheRoutePolicies>,
    req: IncomingMessage,
    res: ServerResponse,
    next: Next,
  ): void {
    const exchange = exchangeOf(req, res);
    const refreshed = this.#takeRefresh(exchange, 'shared');
    if (refreshed) return this.#refill(refreshed, exchange, next);
    if (this.#seen.has(exchange) || exchange.headed) return next();
    this.#seen.set(exchange, {});
    const match = exchange.match(routes) as RouteMatch<CacheRoutePolicies> | undefined;
    this.#enter(exchange, next, 'shared', match?.policy.cache, match?.pattern, match?.params ?? NO_PARAMS);
  }

  /** The middleware beside one handler; `scope` names it, so that no other serves its entries. */
  route(scope: string, rule: CacheRuleSettings, req: IncomingMessage, res: ServerResponse, next: Next): void {
    const exchange = exchangeOf(req, res);
    const refreshed = this.#takeRefresh(exchange, scope);
    if (refreshed) return this.#refill(refreshed, exchange, next);
    const seen = this.#seen.get(exchange) ?? {};
    if (seen.route || exchange.headed) return next();
    seen.route = true;
    this.#seen.set(exchange, seen);
    // A request never has two fills, and this one knows more.
    seen.fill?.cancel();
    const { params } = req as { params?: RouteParams };
    this.#enter(exchange, next, scope, rule, undefined, params ?? NO_PARAMS);
  }

  #enter(
    exchange: Exchange,
    next: Next,
    scope: string,
    given: CacheRuleSettings | false | undefined,
    pattern: string | undefined,
    params: RouteParams,
  ): void {
    const { req, res } = exchange;
    if (req.headers.upgrade !== undefined) return next();
    const context = new RuleContext(req, res, params, exchange.target);
    let bypass = bypassOf(exchange, given);
    const rule = given === false ? undefined : given;
    let partition: string | undefined;
    if (!bypass && rule && !this.#ask(() => appliesTo(rule, context), 'when')) bypass = 'when';
    if (!bypass && rule?.partition) {
      const { partition: ask } = rule;
      partition = this.#ask(() => partitionOf(ask, context), 'partition');
      if (partition === undefined) bypass = 'no-partition';
    }
    if (bypass) return this.#bypass(exchange, next, bypass);
    const target = normaliseTarget(exchange.target, rule);
    const origin = this.#ask(() => originOf(req), 'trust proxy');
    if (!origin) return this.#bypass(exchange, next, 'origin');
    const rewritten = rewrittenTarget(req, target, rule);
    const key = primaryKey({ scope, origin, target, rewritten, partition }, req, rule);
    const credential = credentialOf(req, rule, this.#state.settings);
    const { 'cache-control': directives, pragma } = req.headers;
    const isHonoured = this.#state.settings.requestDirectives === 'honor';
    const wishes = isHonoured ? requestDirectives(directives, pragma) : undefined;
    const partitioned = partition !== undefined;
    const visit = { exchange, next, scope, key, target, origin, rule, pattern, context, credential };
    this.#attempt({ ...visit, partitioned, wishes }, 0);
  }

  /** What this internal request was made for, when it has come to the middleware that wanted it; once. */
  #takeRefresh(exchange: Exchange, scope: string): Refreshing | undefined {
    const seen = this.#seen.get(exchange);
    const refresh = seen?.refresh;
    if (refresh?.visit.scope !== scope) return undefined;
    this.#seen.set(exchange, { route: true });
    return refresh;
  }

  #attempt(visit: Visit, waits: number): void {
    const { exchange, key, credential, rule, wishes } = visit;
    const { collapser } = this.#state;
    const found = lookUp(this.#state, visit);
    const { entry, permission, forward } = found;
    if (entry && permission === 'fresh') return this.#serveHit(visit, entry, waits > 0);
    if (wishes?.onlyIfCached) return this.#gatewayTimeout(exchange);
    if (entry && permission && this.#serveStale(visit, entry, permission)) return;
    const collapses = isPromising(rule, found) && rule?.collapse !== false && !credential && !wishes?.noCache;
    const ranged = exchange.req.headers.range !== undefined;
    const isGet = exchange.req.method === 'GET';
    if (!collapses || !isGet || ranged || entry?.reuse.alwaysValidate || collapser.isRefused(key)) {
      return this.#fill(visit, found, undefined, ranged ? 'range' : undefined);
    }
    const pending = collapser.current(key);
    if (!pending) return this.#fill(visit, found, collapser.lead(key), undefined);
    if (waits >= MOST_WAITS) return this.#fill(visit, found, undefined, 'collapse-failed');
    this.#wait(visit, pending, waits, { ...found, forward: forward ?? 'uri-miss' });
  }

  /** Serves a stale response where that is allowed, and has it refreshed; else answers false. */
  #serveStale(visit: Visit, entry: StoredResponse, permission: Permission): boolean {
    if (permission === 'validate' || visit.partitioned || !Refresher.canRefresh(visit.exchange)) return false;
    const { collapser, settings } = this.#state;
    const { key, rule } = visit;
    const pending = collapser.current(key) ?? this.#refresh(visit, entry);
    if (permission === 'while-revalidate') {
      this.#serveAs(visit, entry, 'STALE', { hit: true, ttl: ttlOf(this.#state, entry) });
      return true;
    }
    const seconds = rule?.softTimeout ?? rule?.timeout ?? settings.waitTimeout;
    this.#whenSettled(visit, pending, seconds, (outcome) => {
      if (outcome === 'timeout' || outcome.kind === 'failed') {
        const status = { hit: true, fwd: 'stale', ttl: ttlOf(this.#state, entry) } as const;
        const detail = outcome === 'timeout' ? 'timeout' : 'error';
        return this.#serveAs(visit, entry, 'STALE', { ...status, detail });
      }
      if (outcome.kind === 'refused')
        return this.#fill(visit, { entry, forward: 'stale' }, undefined, undefined);
      if (!isFor(this.#state, visit, outcome.entry)) return this.#attempt(visit, MOST_WAITS);
      const status = { fwd: 'stale', stored: true, ttl: ttlOf(this.#state, outcome.entry) } as const;
      this.#serveAs(visit, outcome.entry, 'MISS', status);
    });
    return true;
  }

  #refresh(visit: Visit, entry: StoredResponse): Pending {
    const pending = this.#state.collapser.lead(visit.key);
    this.#refresher.start(visit, entry, pending, (exchange) => {
      this.#seen.set(exchange, { refresh: { visit, entry, pending } });
    });
    return pending;
  }

  /** An internal request has come to the place where its visit was: it fills, whatever is stored. */
  #refill({ visit, entry, pending }: Refreshing, exchange: Exchange, next: Next): void {
    const { req, res } = exchange;
    const context = new RuleContext(req, res, visit.context.params, visit.target);
    const internal: Visit = { ...visit, exchange, next, context, credential: undefined, wishes: undefined };
    this.#fill(internal, { entry, forward: 'stale' }, pending, undefined, true);
  }

  #wait(visit: Visit, pending: Pending, waits: number, found: Lookup): void {
    const { collapser, settings } = this.#state;
    this.#whenSettled(visit, pending, settings.waitTimeout, (outcome) => {
      if (outcome === 'timeout') {
        collapser.abandon(visit.key, pending);
        return this.#fill(visit, found, undefined, 'collapse-timeout');
      }
      if (outcome.kind === 'refused') return this.#fill(visit, found, undefined, 'collapse-refused');
      if (outcome.kind === 'failed') return this.#attempt(visit, waits + 1);
      if (isFor(this.#state, visit, outcome.entry)) return this.#serveHit(visit, outcome.entry, true);
      return this.#attempt(visit, waits + 1);
    });
  }

  /** Goes on with a visit when another's fill has ended, unless the visitor has left by then. */
  #whenSettled(
    visit: Visit,
    pending: Pending,
    seconds: number,
    goOn: (outcome: Outcome | 'timeout') => void,
  ): void {
    const { exchange } = visit;
    const leave = pending.wait(seconds, (outcome) => {
      if (exchange.closed) return;
      try {
        goOn(outcome);
      } catch (error) {
        this.#state.fault(error, 'waiting');
        if (!exchange.headed) visit.next();
      }
    });
    exchange.onClose(leave);
  }

  #serveHit(visit: Visit, entry: StoredResponse, collapsed: boolean): void {
    this.#serveAs(visit, entry, 'HIT', { hit: true, ttl: ttlOf(this.#state, entry), collapsed });
  }

  #serveAs({ exchange, rule }: Visit, entry: StoredResponse, result: XCache, status: CacheStatus): void {
    serve(this.#state, exchange, entry, rule, { result, status });
  }

  /** RFC 9111 §5.2.1.7: what the visitor wanted from a cache alone is not here. */
  #gatewayTimeout(exchange: Exchange): void {
    const { res } = exchange;
    res.statusCode = 504;
    writeStatus(this.#state, exchange, 'BYPASS', { fwd: 'request', detail: 'only-if-cached' });
    res.end();
  }

  #fill(
    visit: Visit,
    found: Lookup,
    pending: Pending | undefined,
    detail: string | undefined,
    isRefresh = false,
  ): void {
    const { exchange, key, target, origin, rule, pattern, context, credential, wishes } = visit;
    const { entry, forward = 'uri-miss' } = found;
    const { req } = exchange;
    const whole =
      isPromising(rule, found) && !credential && req.method === 'GET' && req.headers.range === undefined;
    const isReduced = target !== exchange.target || normaliseTarget(req.url ?? '', rule) !== req.url;
    const confirms = whole && (forward === 'stale' || forward === 'request');
    const shown = confirms && entry ? conditionsOf(entry) : undefined;
    const disguise =
      whole || isReduced ? new Disguise(req, isReduced ? target : undefined, rule, whole, shown) : undefined;
    const standsIn = entry && !isRefresh && mayStandIn(this.#state, entry);
    const fill = new Fill(this.#state, {
      exchange,
      key,
      target,
      origin,
      rule,
      pattern,
      context,
      credential,
      pending,
      disguise,
      forward,
      detail,
      revalidates: shown && entry,
      standIn: standsIn ? entry : undefined,
      noStoreAsked: wishes?.noStore === true,
      isRefresh,
    });
    const seen = this.#seen.get(exchange);
    if (seen) seen.fill = fill;
    visit.next();
  }

  #bypass(exchange: Exchange, next: Next, reason: string): void {
    exchange.onHead(() => {
      if (this.#seen.get(exchange)?.route && reason === 'rule') return;
      writeStatus(
        this.#state,
        exchange,
        'BYPASS',
        reason === 'method' ? { fwd: 'method' } : { fwd: 'bypass', detail: reason },
      );
    });
    next();
  }

  /** What a user's function answers; nothing, when it throws. */
  #ask<T>(hook: () => T, where: string): T | undefined {
    try {
      return hook();
    } catch (error) {
      this.#state.fault(error, where);
      return undefined;
    }
  }
}

/** What the handler is shown to confirm a stored response by (RFC 9111 §4.3.1): validators that it gave itself. */
function conditionsOf(entry: StoredResponse): Conditions {
  return { ifNoneMatch: entry.ownEtag ? entry.etag : undefined, ifModifiedSince: entry.lastModified };
}
