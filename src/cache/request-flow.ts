import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Exchange, exchangeOf } from '../exchange/exchange.js';
import type { CacheStatus, ForwardReason } from '../http/cache-status.js';
import { SURROGATE_CAPABILITY } from '../http/surrogate-control.js';
import type { RouteMatch, RouteTable } from '../options/route-table.js';
import { guarded, unawaited } from '../runtime/guard.js';
import { runInOwnContext } from '../runtime/module-context.js';
import { VOID } from '../store/invalidation/invalidation-log.js';
import type { StoredResponse } from '../store/stored-response.js';
import {
  classifyRequest,
  MAP_SCOPE,
  placeAtRoute,
  placeInMap,
  type RulePlacement,
} from './classify-request.js';
import type { FillWaiter, PendingFill } from './collapse/collapser.js';
import type { StreamingFill } from './collapse/streaming-fill.js';
import { chooseFillMode, decide, MAX_WAITS, shouldAskRedis } from './decide.js';
import { Fill } from './fill/fill.js';
import { MetRequest } from './fill/received-headers.js';
import { RequestOverrides } from './fill/request-overrides.js';
import { validUntil } from './lookup/invalidated.js';
import { isPublicResponse, isUsableFor, type Lookup, lookUp, mayReplaceError } from './lookup/lookup.js';
import type { CacheRoutePolicies, CacheRuleSettings } from './options.js';
import { type Next, type Visit, visitOf } from './request/cache-request.js';
import { normaliseTarget } from './request/key.js';
import {
  BackgroundRefresher,
  DEFAULT_REFRESH_TIMEOUT_SECONDS,
  type Refresh,
} from './revalidate/background-refresh.js';
import { describeBypass, visibleKey, writeCacheStatus, type XCache } from './serve/cache-status.js';
import { computeTtl, serveStored } from './serve/serve-stored.js';
import { canFollowStream, followStream } from './serve/stream-follower.js';
import type { CacheState } from './state.js';
import { LEASE_SECONDS, type RedisLookup } from './storage/redis-tier-lookups.js';

/** How long a request waits behind others that are refused, one after the other. Milliseconds. */
const LONGEST_BEHIND_REFUSALS = 200;

/** What a request carries from one middleware of this cache to the next. */
interface RequestProgress {
  fill?: Fill;
  route?: boolean;
  refresh?: Refresh;
}

/** Why the front door leaves to us what everybody may have. */
function frontDoorRefusal(entry: StoredResponse, rule: CacheRuleSettings | undefined): string | undefined {
  return entry.upstream && isPublicResponse(entry, rule) ? 'upstream-headers' : undefined;
}

/** Takes requests through lookup, waiting and filling. */
export class RequestFlow {
  readonly #state: CacheState;
  readonly #refresher: BackgroundRefresher;
  /** What was refreshed before its end, or should have been. */
  readonly #eager = new WeakSet<StoredResponse>();

  constructor(state: CacheState) {
    this.#state = state;
    this.#refresher = new BackgroundRefresher(state, (exchange, refresh) =>
      exchange.setData(this, { refresh }),
    );
  }

  /** The middleware for all routes: rules by path, and what responses say of themselves. */
  shared(
    routes: RouteTable<CacheRoutePolicies>,
    req: IncomingMessage,
    res: ServerResponse,
    next: Next,
  ): void {
    const exchange = exchangeOf(req, res);
    const refresh = this.#takeRefresh(exchange, MAP_SCOPE);
    if (!refresh && (exchange.dataOf(this) || exchange.headed)) return next();
    const match = exchange.match(routes) as RouteMatch<CacheRoutePolicies> | undefined;
    if (refresh) return this.#refill(refresh, exchange, next, placeInMap(match));
    exchange.setData(this, {});
    this.#enter(exchange, next, placeInMap(match));
  }

  /** The middleware beside one handler; `scope` names it, so that no other serves its entries. */
  route(scope: string, rule: CacheRuleSettings, req: IncomingMessage, res: ServerResponse, next: Next): void {
    const exchange = exchangeOf(req, res);
    const refresh = this.#takeRefresh(exchange, scope);
    if (refresh) return this.#refill(refresh, exchange, next, placeAtRoute(scope, rule, req));
    const seen = this.#seenOf(exchange) ?? {};
    if (seen.route || exchange.headed) return next();
    seen.route = true;
    exchange.setData(this, seen);
    // A request never has two fills, and this one knows more.
    seen.fill?.cancel();
    this.#enter(exchange, next, placeAtRoute(scope, rule, req));
  }

  #seenOf(exchange: Exchange): RequestProgress | undefined {
    return exchange.dataOf(this) as RequestProgress | undefined;
  }

  #enter(exchange: Exchange, next: Next, placed: RulePlacement): void {
    const { req, res, target } = exchange;
    if (req.headers.upgrade !== undefined) return next();
    const { asked, bypass } = classifyRequest(this.#state, { req, res, target, ...placed });
    if (!asked) return this.#bypass(exchange, next, bypass);
    const { shared } = this.#state;
    const brought = shared && (exchange.dataOf(shared) as RedisLookup | undefined);
    const isRedisLate = brought && shared.isLateSince(brought.askedAt);
    const visit = visitOf(asked, exchange, next, isRedisLate);
    this.#attempt(visit, 0, undefined, brought !== undefined, brought?.entry);
  }

  /** What this internal request was made for, when it has come to the middleware that wanted it; once. */
  #takeRefresh(exchange: Exchange, scope: string): Refresh | undefined {
    const refresh = this.#seenOf(exchange)?.refresh;
    if (refresh?.scope !== scope) return undefined;
    exchange.setData(this, { route: true });
    return refresh;
  }

  /**
   * @param missed why it went forward, when it has waited for others since.
   * @param isShared what instances share has been asked.
   * @param brought what has come of that.
   */
  #attempt(
    given: Visit,
    waits: number,
    missed?: ForwardReason,
    isShared = false,
    brought?: StoredResponse,
  ): void {
    const { collapser, counts, equivalents } = this.#state;
    // What was waited for may have said which other requests are equivalent.
    const visit = waits === 0 ? given : { ...given, key: equivalents.keyNow(given.keys) };
    const inStore = lookUp(this.#state, visit, true, brought);
    // It has waited for a fill, so one is promising, though the stored response may have gone meanwhile.
    const found = waits === 0 || inStore.entry ? inStore : { ...inStore, promising: true };
    if (waits === 0 && !isShared) counts.memory[found.entry ? 'hits' : 'misses']++;
    const plan = decide(this.#state, visit, found, waits);
    if (!isShared && shouldAskRedis(this.#state, visit, plan)) return this.#askShared(visit, waits, missed);
    if (plan.kind === 'hit') {
      this.#serveHit(visit, plan.entry, missed);
      if (plan.isEager) this.#refreshEagerly(visit, plan.entry);
      return;
    }
    if (plan.kind === 'gateway-timeout') return this.#gatewayTimeout(visit);
    if (plan.kind === 'stale') return this.#serveStale(visit, plan.entry, plan.isPaused);
    if (plan.kind === 'refresh') return this.#awaitRefresh(visit, plan.entry, waits);
    if (plan.kind === 'wait') return this.#wait(visit, plan.pending, waits, found);
    if (!plan.leads) return this.#fill(visit, found, undefined, plan.detail);
    if (visit.rule?.collapse === 'cluster') return this.#takeTurn(visit, found);
    this.#fill(visit, found, collapser.lead(visit.key), plan.detail);
  }

  #askShared(visit: Visit, waits: number, missed: ForwardReason | undefined): void {
    const { shared, clock } = this.#state;
    const askedAt = clock();
    shared?.ask(visit, (brought) => {
      const isRedisLate = shared.isLateSince(askedAt);
      this.#goOn(visit, () => this.#attempt({ ...visit, isRedisLate }, waits, missed, true, brought));
    });
  }

  /** Fills when no other instance does; else serves what that one brings. */
  #takeTurn(visit: Visit, found: Lookup): void {
    const { collapser, settings, shared } = this.#state;
    const { key, exchange } = visit;
    const pending = collapser.lead(key);
    if (!shared?.isUsable || visit.isRedisLate) return this.#fill(visit, found, pending, undefined);
    const hereNow = () => {
      const { entry, permission } = lookUp(this.#state, visit, false);
      return permission === 'fresh' ? entry : undefined;
    };
    const filled = shared
      .takeTurn(visit, settings.waitTimeout, () => hereNow() !== undefined)
      .then((turn) => {
        const entry = turn === 'found' ? hereNow() : undefined;
        if (entry) collapser.settle(key, pending, { kind: 'stored', entry });
        else if (exchange.closed) collapser.settle(key, pending, { kind: 'failed' });
        if (typeof turn === 'object') pending.wait(LEASE_SECONDS, { settled: () => turn.release() });
        this.#goOn(visit, () => {
          if (entry) this.#attempt(visit, MAX_WAITS, found.forward, true);
          else this.#fill(visit, found, pending, undefined);
        });
      });
    void unawaited(filled, 'collapse');
  }

  #serveStale(visit: Visit, entry: StoredResponse, isPaused: boolean): void {
    const isRefreshed = !isPaused && !this.#state.collapser.current(visit.key);
    if (isRefreshed) this.#refresher.start(visit, { head: entry, entry });
    const ttl = computeTtl(this.#state, entry, visit.target);
    this.#serveAs(visit, entry, 'STALE', {
      hit: true,
      ttl,
      detail: isPaused ? 'refresh-backoff' : undefined,
    });
  }

  /** Serves what a refresh brings; the stale response, where it fails or takes too long. */
  #awaitRefresh(visit: Visit, entry: StoredResponse, waits: number): void {
    const { collapser, settings } = this.#state;
    const { key, rule } = visit;
    // Redis was read on the way here; where instances take turns, another may refresh now.
    const hasReadRedis = rule?.collapse !== 'cluster';
    const goal = { head: entry, entry, hasReadRedis, isAwaited: true };
    const pending = collapser.current(key) ?? this.#refresher.start(visit, goal);
    // Another request has found out already how slow it is.
    if (pending.isLate) return this.#serveInstead(visit, entry, { detail: 'timeout' });
    const seconds = rule?.softTimeout ?? rule?.timeout ?? settings.waitTimeout;
    this.#whenSettled(visit, pending, seconds, (outcome) => {
      // It may have been purged in the meantime.
      if (validUntil(this.#state, entry, visit.target) === VOID) {
        return this.#attempt(visit, waits + 1, 'miss', true);
      }
      if (outcome === 'timeout') {
        pending.isLate = true;
        return this.#serveInstead(visit, entry, { detail: 'timeout' });
      }
      if (outcome.kind === 'failed') {
        return this.#serveInstead(visit, entry, { fwdStatus: outcome.status, detail: 'error' });
      }
      if (outcome.kind === 'not-refreshed') return this.#attempt(visit, waits, undefined, true);
      if (outcome.kind === 'refused-alone') return this.#attempt(visit, waits + 1);
      if (outcome.kind === 'refused')
        return this.#fill(visit, { entry, forward: 'stale' }, undefined, undefined);
      if (!isUsableFor(this.#state, visit, outcome.entry)) return this.#attempt(visit, MAX_WAITS, 'stale');
      this.#serveAs(visit, outcome.entry, 'MISS', {
        fwd: 'stale',
        fwdStatus: outcome.status,
        stored: true,
        ttl: computeTtl(this.#state, outcome.entry, visit.target),
      });
    });
  }

  /** Serves the stale response in place of what the handler could not give. */
  #serveInstead(visit: Visit, entry: StoredResponse, known: Pick<CacheStatus, 'fwdStatus' | 'detail'>): void {
    const ttl = computeTtl(this.#state, entry, visit.target);
    this.#serveAs(visit, entry, 'STALE', { fwd: 'stale', ttl, ...known });
  }

  /** Once for each entry: a handler that has nothing new to give is left in peace until its end. */
  #refreshEagerly(visit: Visit, entry: StoredResponse): void {
    if (this.#eager.has(entry)) return;
    this.#eager.add(entry);
    this.#refresher.start(visit, { head: entry, entry }, () => this.#eager.delete(entry));
  }

  /** Those who follow a fill that its client has left, or holds back, are to get the rest from another run. */
  #rescue(visit: Visit, running: StreamingFill): void {
    const { key, rule, partitioned, context } = visit;
    const { collapser, refreshMarks } = this.#state;
    const { head } = running;
    const canRefresh =
      !partitioned && BackgroundRefresher.canRefresh(context.req) && refreshMarks.mayRefresh(head.key);
    if (!canRefresh) return running.rescued(undefined);
    const pending = collapser.current(key) ?? this.#refresher.start(visit, { head, entry: undefined });
    pending.wait(rule?.timeout ?? DEFAULT_REFRESH_TIMEOUT_SECONDS, {
      settled: (outcome) =>
        running.rescued(outcome !== 'timeout' && outcome.kind === 'stored' ? outcome.entry : undefined),
    });
  }

  /** A background refresh has come to the place of the request that its entry answers: it fills, if it is the same. */
  #refill(refresh: Refresh, exchange: Exchange, next: Next, placed: RulePlacement): void {
    const { req, res, target } = exchange;
    const { entry, key, origin, pending } = refresh;
    const arrival = { req, res, target, ...placed, expected: origin };
    const { asked, bypass } = classifyRequest(this.#state, arrival);
    const mismatch = asked ? refresh.mismatch(asked, req) : bypass;
    if (mismatch !== undefined || !asked) return refresh.stop(mismatch ?? 'url');
    refresh.credential = asked.credential;
    const visit = visitOf({ ...asked, key }, exchange, next, undefined);
    const found: Lookup = entry ? { entry, forward: 'stale' } : { promising: true, forward: 'uri-miss' };
    this.#fill(visit, found, pending, undefined, refresh);
  }

  #wait(visit: Visit, pending: PendingFill, waits: number, found: Lookup): void {
    const { clock, collapser, settings } = this.#state;
    const { forward = 'uri-miss' } = found;
    const waitsSince = visit.waitsSince ?? clock();
    const standIn = this.#standInForLate(visit, found);
    if (standIn && pending.isLate) return this.#serveInstead(visit, standIn, { detail: 'timeout' });
    const settled: FillWaiter['settled'] = (outcome) => {
      if (outcome === 'timeout') {
        // It may have been purged in the meantime.
        if (standIn && this.#standInForLate(visit, found)) {
          this.#noteLate(visit.key, pending);
          return this.#serveInstead(visit, standIn, { detail: 'timeout' });
        }
        collapser.release(visit.key, pending);
        return this.#fill(visit, found, undefined, 'collapse-timeout');
      }
      if (outcome.kind === 'refused') return this.#fill(visit, found, undefined, 'collapse-refused');
      if (outcome.kind === 'not-refreshed') return this.#attempt(visit, waits, forward, true);
      if (outcome.kind === 'refused-alone') {
        // One after the other, since the next may be let through and answer for all; but for no client this long.
        const isLong = clock() - waitsSince > LONGEST_BEHIND_REFUSALS;
        return this.#attempt({ ...visit, waitsSince }, isLong ? MAX_WAITS : Math.max(waits, 1), forward);
      }
      // The leader got the stored response in place of an error, and so do the others.
      const { entry } = found;
      if (outcome.kind === 'failed' && outcome.status !== undefined && outcome.status >= 500 && entry) {
        if (mayReplaceError(this.#state, visit, entry)) {
          return this.#serveInstead(visit, entry, { fwdStatus: outcome.status, detail: 'error' });
        }
      }
      if (outcome.kind !== 'stored') return this.#attempt(visit, waits + 1, forward);
      if (isUsableFor(this.#state, visit, outcome.entry))
        return this.#serveHit(visit, outcome.entry, forward);
      return this.#attempt(visit, waits + 1, forward);
    };
    const follows = (running: StreamingFill): boolean => {
      if (!canFollowStream(this.#state, visit, running)) return false;
      running.rescuer ??= () => this.#rescue(visit, running);
      this.#goOn(visit, () => followStream(this.#state, visit, running, forward));
      return true;
    };
    const { waitTimeout } = settings;
    const seconds = standIn ? Math.min(visit.rule?.timeout ?? waitTimeout, waitTimeout) : waitTimeout;
    this.#whenSettled(visit, pending, seconds, settled, follows);
  }

  /** The stored response that those who wait get where the one client's handler is slower than the rule's `timeout`. */
  #standInForLate(visit: Visit, { entry, permission }: Lookup): StoredResponse | undefined {
    if (visit.rule?.timeout === undefined || !entry) return undefined;
    if (permission !== 'if-error' && permission !== 'while-revalidate') return undefined;
    return mayReplaceError(this.#state, visit, entry) ? entry : undefined;
  }

  /** Others are served at once from now on; after a while one of them tries, since this handler may never answer. */
  #noteLate(key: string, pending: PendingFill): void {
    if (pending.isLate) return;
    pending.isLate = true;
    const giveUp = guarded('waiting', () => this.#state.collapser.release(key, pending));
    runInOwnContext(() => setTimeout(giveUp, DEFAULT_REFRESH_TIMEOUT_SECONDS * 1000).unref());
  }

  /** Goes on with a visit when another's fill has ended, unless the visitor has left by then. */
  #whenSettled(
    visit: Visit,
    pending: PendingFill,
    seconds: number,
    settled: FillWaiter['settled'],
    follows?: FillWaiter['tryFollow'],
  ): void {
    const leave = pending.wait(seconds, {
      settled: (outcome) => this.#goOn(visit, () => settled(outcome)),
      tryFollow: follows,
    });
    visit.exchange.onClose(leave);
  }

  #goOn({ exchange, next }: Visit, step: () => void): void {
    if (exchange.closed) return;
    try {
      step();
    } catch (error) {
      this.#state.fault(error, 'waiting');
      if (!exchange.headed) next();
    }
  }

  /** @param missed why it would have been forwarded, had another's fill not answered it. */
  #serveHit(visit: Visit, entry: StoredResponse, missed: ForwardReason | undefined): void {
    const ttl = computeTtl(this.#state, entry, visit.target);
    const detail = this.#state.frontDoor.isOpen ? frontDoorRefusal(entry, visit.rule) : undefined;
    const key = visibleKey(this.#state, visit);
    const status = missed
      ? { fwd: missed, collapsed: true, ttl, key, detail }
      : { hit: true, ttl, key, detail };
    serveStored(this.#state, visit.exchange, entry, visit.rule, { result: 'HIT', status });
  }

  #serveAs(visit: Visit, entry: StoredResponse, result: XCache, known: CacheStatus): void {
    const { exchange, rule } = visit;
    const status = { ...known, key: visibleKey(this.#state, visit) };
    serveStored(this.#state, exchange, entry, rule, { result, status });
  }

  /** RFC 9111 §5.2.1.7: what the visitor wanted from a cache alone is not here. */
  #gatewayTimeout(visit: Visit): void {
    const { exchange } = visit;
    const { res } = exchange;
    res.statusCode = 504;
    const key = visibleKey(this.#state, visit);
    // It went nowhere, so there is no `fwd`.
    writeCacheStatus(this.#state, exchange, 'BYPASS', { key, detail: 'only-if-cached' });
    res.end();
  }

  #fill(
    visit: Visit,
    found: Lookup,
    pending: PendingFill | undefined,
    detail: string | undefined,
    refresh?: Refresh,
  ): void {
    const { exchange, key, keys, target, origin, rule, pattern, context, credential, wishes } = visit;
    const { req } = exchange;
    const met = new MetRequest(req, visit.partition);
    const { whole, shown, revalidates, compares, standIn } = chooseFillMode(this.#state, visit, found);
    const isReduced = target !== exchange.target || normaliseTarget(req.url ?? '', rule) !== req.url;
    const isSurrogate = this.#state.settings.targets.includes('surrogate-control');
    const disguise =
      whole || isReduced || isSurrogate
        ? new RequestOverrides(req, isReduced ? target : undefined, rule, whole, shown)
        : undefined;
    if (isSurrogate) disguise?.append('surrogate-capability', SURROGATE_CAPABILITY);
    const fill = new Fill(this.#state, {
      exchange,
      key,
      keys,
      met,
      target,
      origin,
      rule,
      pattern,
      context,
      credential,
      pending,
      disguise,
      forward: found.forward ?? 'uri-miss',
      detail,
      revalidates,
      compares,
      standIn: refresh ? undefined : standIn,
      noStoreAsked: wishes?.noStore === true && !refresh,
      stored: found.entry,
      speaksForAll: whole && credential === undefined,
      refresh,
    });
    const seen = this.#seenOf(exchange);
    if (seen) seen.fill = fill;
    visit.next();
  }

  #bypass(exchange: Exchange, next: Next, reason: string): void {
    exchange.onHead(() => {
      if (this.#seenOf(exchange)?.route && reason === 'rule') return;
      writeCacheStatus(this.#state, exchange, 'BYPASS', describeBypass(reason));
    });
    next();
  }
}
