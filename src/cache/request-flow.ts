import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Exchange, exchangeOf, HeadOrder } from '../exchange/exchange.js';
import { isInternal } from '../exchange/internal-mark.js';
import { runInScope } from '../functions/scope.js';
import { UsedResults } from '../functions/used-results.js';
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
import { type FillWaiter, PendingFill } from './collapse/collapser.js';
import { holdLease } from './collapse/hold-lease.js';
import type { StreamingFill } from './collapse/streaming-fill.js';
import { chooseFillMode, decide, isServable, MAX_WAITS, shouldAskRedis } from './decide.js';
import { Fill } from './fill/fill.js';
import { ReceivedRequest } from './fill/received-headers.js';
import { RequestOverrides } from './fill/request-overrides.js';
import { validUntil } from './lookup/invalidated.js';
import {
  isPublicResponse,
  isUsableFor,
  type Lookup,
  lookUp,
  mayBecomeStorable,
  mayReplaceError,
} from './lookup/lookup.js';
import { isFresh } from './lookup/reuse.js';
import type { CacheRoutePolicies, CacheRuleSettings } from './options.js';
import type { MiddlewareRequest, Next } from './request/cache-request.js';
import { normaliseTarget } from './request/key.js';
import {
  BackgroundRefresher,
  DEFAULT_REFRESH_TIMEOUT_SECONDS,
  Refresh,
} from './revalidate/background-refresh.js';
import { fetchRefreshed } from './revalidate/claim-refresh.js';
import type { WarmGoal } from './revalidate/warm-goal.js';
import { describeBypass, visibleKey, writeCacheStatus, type XCache } from './serve/cache-status.js';
import { computeTtl, serveStored } from './serve/serve-stored.js';
import { canFollowStream, followStream } from './serve/stream-follower.js';
import { type CacheState, countMemoryLookup } from './state.js';
import type { RedisLookup } from './storage/redis-tier-lookups.js';

/** The longest time that a request waits for several fills that are refused. Milliseconds. */
const LONGEST_REFUSED_WAIT_MS = 200;

/** The state of a request between the middlewares of this cache. */
interface RequestProgress {
  fill?: Fill;
  route?: boolean;
  refresh?: Refresh;
}

/** Why the front door does not serve a public entry, if it does not. */
function frontDoorRefusal(entry: StoredResponse, rule: CacheRuleSettings | undefined): string | undefined {
  return entry.upstream && isPublicResponse(entry, rule) ? 'upstream-headers' : undefined;
}

/** Takes requests through lookup, waiting and filling. */
export class RequestFlow {
  readonly #state: CacheState;
  readonly #refresher: BackgroundRefresher;
  /** Entries whose eager refresh was started or attempted. */
  readonly #eager = new WeakSet<StoredResponse>();

  constructor(state: CacheState) {
    this.#state = state;
    this.#refresher = new BackgroundRefresher(state, (exchange, refresh) =>
      exchange.setData(this, { refresh }),
    );
  }

  /** The middleware for all routes: rules by path, and responses that declare themselves cacheable. */
  forAllRoutes(
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

  /** The middleware beside one handler. No other middleware serves entries of its `scope`. */
  route(scope: string, rule: CacheRuleSettings, req: IncomingMessage, res: ServerResponse, next: Next): void {
    const exchange = exchangeOf(req, res);
    const refresh = this.#takeRefresh(exchange, scope);
    if (refresh) return this.#refill(refresh, exchange, next, placeAtRoute(scope, rule, req));
    const seen = this.#progressOf(exchange) ?? {};
    if (seen.route || exchange.headed) return next();
    seen.route = true;
    exchange.setData(this, seen);
    // A request has one fill, and the rule beside the handler is more specific.
    seen.fill?.cancel();
    this.#enter(exchange, next, placeAtRoute(scope, rule, req));
  }

  #progressOf(exchange: Exchange): RequestProgress | undefined {
    return exchange.dataOf(this) as RequestProgress | undefined;
  }

  #enter(exchange: Exchange, next: Next, placement: RulePlacement): void {
    const { req, res, target } = exchange;
    if (req.headers.upgrade !== undefined) return next();
    const { redisLookups } = this.#state;
    const found = redisLookups && (exchange.dataOf(redisLookups) as RedisLookup | undefined);
    const isRedisLate = found ? redisLookups!.isLateSince(found.askedAt) : false;
    const arrived = { req, res, target, exchange, next, isRedisLate };
    const { request, bypass } = classifyRequest(this.#state, arrived, placement);
    const goal = isInternal(req) ? (exchange.dataOf(this.#state) as WarmGoal | undefined) : undefined;
    if (goal && request) return this.#warm(request, goal);
    if (goal) goal.bypass = bypass;
    if (request) this.#attempt(request, 0, undefined, found !== undefined, found?.entry);
    else this.#bypass(exchange, next, bypass);
  }

  /** Takes the refresh of an internal request that has reached the middleware of its entry. Only once per request. */
  #takeRefresh(exchange: Exchange, scope: string): Refresh | undefined {
    const refresh = this.#progressOf(exchange)?.refresh;
    if (refresh?.request.scope !== scope) return undefined;
    exchange.setData(this, { route: true });
    return refresh;
  }

  /**
   * Looks up a request and acts on the decision.
   *
   * @param missed the forward reason, if the request has waited for other fills since.
   * @param hasReadRedis whether Redis has been read.
   * @param fromRedis the entry from Redis, if there was one.
   */
  #attempt(
    request: MiddlewareRequest,
    waits: number,
    missed?: ForwardReason,
    hasReadRedis = false,
    fromRedis?: StoredResponse,
  ): void {
    const { collapser, counts, equivalents } = this.#state;
    // The response to another request may have declared queries equivalent meanwhile.
    if (waits > 0) request.key = equivalents.keyNow(request.keys);
    const inStore = lookUp(this.#state, request, true, fromRedis);
    // The request has waited for a fill, so the next one may be storable, even if the entry is gone.
    const found = waits === 0 || inStore.entry ? inStore : { ...inStore, promising: true };
    if (waits === 0 && !hasReadRedis) countMemoryLookup(counts, found.entry !== undefined);
    const plan = decide(this.#state, request, found, waits);
    if (!hasReadRedis && shouldAskRedis(this.#state, request, plan))
      return this.#readRedis(request, waits, missed);
    if (plan.kind === 'hit') {
      this.#serveHit(request, plan.entry, missed);
      if (plan.isEager) this.#refreshEagerly(request, plan.entry);
      return;
    }
    if (plan.kind === 'gateway-timeout') return this.#gatewayTimeout(request);
    if (plan.kind === 'stale') return this.#serveStale(request, plan.entry, plan.isPaused);
    if (plan.kind === 'refresh') return this.#awaitRefresh(request, plan.entry, waits);
    if (plan.kind === 'wait') return this.#wait(request, plan.pending, waits, found);
    if (plan.fillsAnonymously) this.#fillAnonymously(request, found.entry);
    if (!plan.leads) return this.#fill(request, found, undefined, plan.detail);
    if (request.rule?.collapse === 'cluster') return this.#takeTurn(request, found);
    this.#fill(request, found, collapser.lead(request.key), plan.detail);
  }

  #readRedis(request: MiddlewareRequest, waits: number, missed: ForwardReason | undefined): void {
    const { redisLookups, clock } = this.#state;
    const askedAt = clock();
    redisLookups?.ask(request, (entry) => {
      request.isRedisLate = redisLookups.isLateSince(askedAt);
      this.#continue(request, () => this.#attempt(request, waits, missed, true, entry));
    });
  }

  /** Fills if no other instance does; otherwise serves the entry of that instance. */
  #takeTurn(request: MiddlewareRequest, found: Lookup): void {
    const { collapser, settings, redisLookups } = this.#state;
    const { key, exchange } = request;
    const pending = collapser.lead(key);
    if (!redisLookups?.isUsable || request.isRedisLate) return this.#fill(request, found, pending, undefined);
    const servableEntry = () => {
      const inStore = lookUp(this.#state, request, false);
      return isServable(this.#state, inStore) ? inStore.entry : undefined;
    };
    const filled = redisLookups
      .takeTurn(request, settings.waitTimeout, () => servableEntry() !== undefined)
      .then((turn) => {
        const entry = turn === 'found' ? servableEntry() : undefined;
        if (entry) collapser.settle(key, pending, { kind: 'stored', entry });
        else if (exchange.closed) collapser.settle(key, pending, { kind: 'failed' });
        if (typeof turn === 'object') holdLease(turn, pending, settings.waitTimeout);
        this.#continue(request, () => {
          if (entry) this.#attempt(request, MAX_WAITS, found.forward, true);
          else this.#fill(request, found, pending, undefined);
        });
      });
    void unawaited(filled, 'collapse');
  }

  /** Fills the entry by a request without cookies. Redis was read on the way here, where it is not read in turns. */
  #fillAnonymously(request: MiddlewareRequest, entry: StoredResponse | undefined): void {
    const { anonymousFills } = this.#state;
    const { key, rule } = request;
    anonymousFills.add(key);
    const hasReadRedis = rule?.collapse !== 'cluster';
    const onEnd = () => void anonymousFills.delete(key);
    this.#refresher.start(request, { head: entry, entry, hasReadRedis, onEnd });
  }

  #serveStale(request: MiddlewareRequest, entry: StoredResponse, isPaused: boolean): void {
    const isRefreshed = !isPaused && !this.#state.collapser.current(request.key);
    if (isRefreshed) this.#refresher.start(request, { head: entry, entry });
    const ttl = computeTtl(this.#state, entry, request.target);
    this.#serveAs(request, entry, 'STALE', {
      hit: true,
      ttl,
      detail: isPaused ? 'refresh-backoff' : undefined,
    });
  }

  /** Waits for a refresh and serves its response. Serves the stale entry if the refresh fails or takes too long. */
  #awaitRefresh(request: MiddlewareRequest, entry: StoredResponse, waits: number): void {
    const { collapser, settings } = this.#state;
    const { key, rule } = request;
    // This request has already read Redis. With leases, another instance may have refreshed since.
    const hasReadRedis = rule?.collapse !== 'cluster';
    const goal = { head: entry, entry, hasReadRedis, isAwaited: true };
    const pending = collapser.current(key) ?? this.#refresher.start(request, goal);
    // Another request has waited until its timeout already.
    if (pending.isLate) return this.#serveStandIn(request, entry, { detail: 'timeout' });
    const seconds = rule?.softTimeout ?? rule?.timeout ?? settings.waitTimeout;
    this.#whenSettled(request, pending, seconds, (outcome) => {
      // It may have been purged in the meantime.
      if (validUntil(this.#state, entry, request.target) === VOID) {
        return this.#attempt(request, waits + 1, 'miss', true);
      }
      if (outcome === 'timeout') {
        pending.isLate = true;
        return this.#serveStandIn(request, entry, { detail: 'timeout' });
      }
      if (outcome.kind === 'failed' && !outcome.isVoided) {
        return this.#serveStandIn(request, entry, { fwdStatus: outcome.status, detail: 'error' });
      }
      if (outcome.kind === 'not-refreshed') return this.#attempt(request, waits, undefined, true);
      if (outcome.kind === 'refused-alone' || outcome.kind === 'failed')
        return this.#attempt(request, waits + 1);
      if (outcome.kind === 'refused')
        return this.#fill(request, { entry, permission: 'if-error', forward: 'stale' }, undefined, undefined);
      if (!isUsableFor(this.#state, request, outcome.entry))
        return this.#attempt(request, MAX_WAITS, 'stale');
      this.#serveAs(request, outcome.entry, 'MISS', {
        fwd: 'stale',
        fwdStatus: outcome.status,
        stored: true,
        ttl: computeTtl(this.#state, outcome.entry, request.target),
      });
    });
  }

  /** Serves the stale entry in place of an error or a late response. */
  #serveStandIn(
    request: MiddlewareRequest,
    entry: StoredResponse,
    known: Pick<CacheStatus, 'fwdStatus' | 'detail'>,
  ): void {
    const ttl = computeTtl(this.#state, entry, request.target);
    this.#serveAs(request, entry, 'STALE', { fwd: 'stale', ttl, ...known });
  }

  /** Refreshes each entry at most once before its end, even if the handler returns nothing new. */
  #refreshEagerly(request: MiddlewareRequest, entry: StoredResponse): void {
    if (this.#eager.has(entry)) return;
    this.#eager.add(entry);
    this.#refresher.start(request, { head: entry, entry }, () => this.#eager.delete(entry));
  }

  /**
   * Completes the body for followers with another run, if the leader's client reads too slowly or has disconnected.
   */
  #rescue(request: MiddlewareRequest, running: StreamingFill): void {
    const { key, rule, partition, context } = request;
    const { collapser, refreshMarks } = this.#state;
    const { head } = running;
    const canRefresh =
      partition === undefined &&
      BackgroundRefresher.canRefresh(context.req) &&
      refreshMarks.mayRefresh(head.key);
    if (!canRefresh) return running.rescued(undefined);
    const pending = collapser.current(key) ?? this.#refresher.start(request, { head, entry: undefined });
    pending.wait(rule?.timeout ?? DEFAULT_REFRESH_TIMEOUT_SECONDS, {
      settled: (outcome) =>
        running.rescued(outcome !== 'timeout' && outcome.kind === 'stored' ? outcome.entry : undefined),
    });
  }

  /** Handles an internal request that has reached its middleware. It fills if it matches the request of the entry. */
  #refill(refresh: Refresh, exchange: Exchange, next: Next, placement: RulePlacement): void {
    const { req, res, target } = exchange;
    const { entry, key, pending } = refresh;
    const expected = refresh.request.origin;
    const arrived = { req, res, target, expected, exchange, next, isRedisLate: false };
    const { request, bypass } = classifyRequest(this.#state, arrived, placement);
    const mismatch = request ? refresh.mismatch(request) : bypass;
    if (mismatch !== undefined || !request) return refresh.stop(mismatch ?? 'url');
    refresh.credential = request.credential;
    request.key = key;
    const found: Lookup = entry ? { entry, forward: 'stale' } : { promising: true, forward: 'uri-miss' };
    this.#fill(request, found, pending, undefined, refresh);
  }

  /** Fills the entry of a warming request, unless it stays fresh for long enough. */
  #warm(request: MiddlewareRequest, goal: WarmGoal): void {
    const { collapser, entries, equivalents, settings, redisLookups } = this.#state;
    const { scope, exchange, rule } = request;
    if (request.partition !== undefined) goal.bypass = 'no-partition';
    if (request.partition !== undefined || (goal.servedIn ?? scope) !== scope) return request.next();
    request.key = equivalents.keyNow(request.keys);
    // Counts no use, which would keep the entry longer than those of clients.
    const found = lookUp(this.#state, request, false);
    const entry = found.entry && entries.responseAt(found.entry.key);
    if (entry && this.#staysFresh(request, entry, goal)) {
      goal.serve(entry, scope);
      return this.#serveHit(request, entry, undefined);
    }
    if (goal.servedIn !== undefined) return this.#gatewayTimeout(request);
    const other = collapser.current(request.key);
    if (other && goal.waits++ < MAX_WAITS)
      return this.#whenSettled(request, other, settings.waitTimeout, () => this.#warm(request, goal));
    const pending = mayBecomeStorable(rule, found) ? collapser.lead(request.key) : new PendingFill();
    const refresh = new Refresh(this.#state, request, { head: entry, entry }, pending, () => {});
    goal.begin(refresh, scope);
    const fill = () => {
      refresh.begin();
      refresh.watch(exchange);
      const before: Lookup = entry ? { entry, forward: 'stale' } : { promising: true, forward: 'uri-miss' };
      this.#fill(request, before, pending, undefined, refresh);
    };
    if (!redisLookups?.isUsable || goal.hasReadRedis) return fill();
    goal.hasReadRedis = true;
    const read = fetchRefreshed(this.#state, redisLookups, request, entry, pending).then((newer) =>
      this.#continue(request, () => {
        if (!newer) return fill();
        collapser.settle(request.key, pending, { kind: 'stored', entry: newer });
        this.#warm(request, goal);
      }),
    );
    void unawaited(read, 'warming');
  }

  #staysFresh({ target }: MiddlewareRequest, entry: StoredResponse, { freshForMs }: WarmGoal): boolean {
    const now = this.#state.clock();
    return (
      isFresh(entry, validUntil(this.#state, entry, target), now) && entry.freshUntil >= now + freshForMs
    );
  }

  #wait(request: MiddlewareRequest, pending: PendingFill, waits: number, found: Lookup): void {
    const { clock, collapser, settings } = this.#state;
    const { forward } = found;
    const waitsSince = request.waitsSince ?? clock();
    const standIn = this.#standInForLate(request, found);
    if (!standIn && pending.isGivenUp) {
      collapser.release(request.key, pending);
      return this.#attempt(request, waits, forward, true);
    }
    if (standIn && pending.isLate) return this.#serveStandIn(request, standIn, { detail: 'timeout' });
    const settled: FillWaiter['settled'] = (outcome) => {
      if (outcome === 'timeout') {
        // It may have been purged in the meantime.
        if (standIn && this.#standInForLate(request, found)) {
          this.#noteLate(request.key, pending);
          return this.#serveStandIn(request, standIn, { detail: 'timeout' });
        }
        collapser.release(request.key, pending);
        return this.#fill(request, found, undefined, 'collapse-timeout');
      }
      if (outcome.kind === 'refused') return this.#fill(request, found, undefined, 'collapse-refused');
      if (outcome.kind === 'not-refreshed') return this.#attempt(request, waits, forward, true);
      if (outcome.kind === 'refused-alone') {
        // Waiting requests try one after the other, because one of them may get a storable response. The total time is
        // limited.
        const isLong = clock() - waitsSince > LONGEST_REFUSED_WAIT_MS;
        request.waitsSince = waitsSince;
        return this.#attempt(request, isLong ? MAX_WAITS : Math.max(waits, 1), forward);
      }
      // The leader got the stored response in place of an error, and so do the waiting requests.
      const { entry } = found;
      if (outcome.kind === 'failed' && outcome.status !== undefined && outcome.status >= 500 && entry) {
        if (mayReplaceError(this.#state, request, entry)) {
          return this.#serveStandIn(request, entry, { fwdStatus: outcome.status, detail: 'error' });
        }
      }
      if (outcome.kind !== 'stored') return this.#attempt(request, waits + 1, forward);
      if (isUsableFor(this.#state, request, outcome.entry))
        return this.#serveHit(request, outcome.entry, forward);
      return this.#attempt(request, waits + 1, forward);
    };
    const follows = (running: StreamingFill): boolean => {
      if (!canFollowStream(this.#state, request, running)) return false;
      running.rescuer ??= () => this.#rescue(request, running);
      this.#continue(request, () => followStream(this.#state, request, running, forward));
      return true;
    };
    const { waitTimeout } = settings;
    const seconds = standIn ? Math.min(request.rule?.timeout ?? waitTimeout, waitTimeout) : waitTimeout;
    this.#whenSettled(request, pending, seconds, settled, follows);
  }

  /** The stored response to serve if a handler is slower than the rule's `timeout`. */
  #standInForLate(request: MiddlewareRequest, { entry, permission }: Lookup): StoredResponse | undefined {
    if (request.rule?.timeout === undefined || !entry) return undefined;
    if (permission !== 'if-error' && permission !== 'while-revalidate') return undefined;
    return mayReplaceError(this.#state, request, entry) ? entry : undefined;
  }

  /** Serves later requests at once. After a while, one of them leads again, because this handler may never respond. */
  #noteLate(key: string, pending: PendingFill): void {
    if (pending.isLate) return;
    pending.isLate = true;
    const release = guarded('waiting', () => this.#state.collapser.release(key, pending));
    runInOwnContext(() => setTimeout(release, DEFAULT_REFRESH_TIMEOUT_SECONDS * 1000).unref());
  }

  /** Continues a request when the fill of another has ended, unless the client has disconnected. */
  #whenSettled(
    request: MiddlewareRequest,
    pending: PendingFill,
    seconds: number,
    settled: FillWaiter['settled'],
    follows?: FillWaiter['tryFollow'],
  ): void {
    const leave = pending.wait(seconds, {
      settled: (outcome) => this.#continue(request, () => settled(outcome)),
      tryFollow: follows,
    });
    request.exchange.onClose(leave);
  }

  #continue({ exchange, next }: MiddlewareRequest, step: () => void): void {
    if (exchange.closed) return;
    try {
      step();
    } catch (error) {
      this.#state.fault(error, 'waiting');
      if (!exchange.headed) next();
    }
  }

  /** @param missed the forward reason of a request that was served from another request's fill. */
  #serveHit(request: MiddlewareRequest, entry: StoredResponse, missed: ForwardReason | undefined): void {
    const ttl = computeTtl(this.#state, entry, request.target);
    const detail = this.#state.frontDoor.isOpen ? frontDoorRefusal(entry, request.rule) : undefined;
    const key = visibleKey(this.#state, request);
    const status = missed
      ? { fwd: missed, collapsed: true, ttl, key, detail }
      : { hit: true, ttl, key, detail };
    serveStored(this.#state, request.exchange, entry, request.rule, { result: 'HIT', status });
  }

  #serveAs(request: MiddlewareRequest, entry: StoredResponse, result: XCache, known: CacheStatus): void {
    const { exchange, rule } = request;
    const status = { ...known, key: visibleKey(this.#state, request) };
    serveStored(this.#state, exchange, entry, rule, { result, status });
  }

  /** RFC 9111 §5.2.1.7: `only-if-cached`, and no usable entry. */
  #gatewayTimeout(request: MiddlewareRequest): void {
    const { exchange } = request;
    const { res } = exchange;
    res.statusCode = 504;
    const key = visibleKey(this.#state, request);
    // Not forwarded, so there is no `fwd`.
    writeCacheStatus(this.#state, exchange, 'BYPASS', { key, detail: 'only-if-cached' });
    res.end();
  }

  #fill(
    request: MiddlewareRequest,
    found: Lookup,
    pending: PendingFill | undefined,
    detail: string | undefined,
    refresh?: Refresh,
  ): void {
    const { exchange, target, rule } = request;
    const { req } = exchange;
    const received = new ReceivedRequest(req, request.partition);
    const mode = chooseFillMode(this.#state, request, found);
    const isReduced = target !== exchange.target || normaliseTarget(req.url ?? '', rule) !== req.url;
    const isSurrogate = this.#state.settings.targets.includes('surrogate-control');
    const overrides =
      mode.whole || isReduced || isSurrogate
        ? new RequestOverrides(req, isReduced ? target : undefined, rule, mode.whole, mode.shown)
        : undefined;
    if (isSurrogate) overrides?.append('surrogate-capability', SURROGATE_CAPABILITY);
    const used = rule?.tags === 'inherit' ? new UsedResults() : undefined;
    const plan = { mode, found, received, overrides, pending, detail, refresh, used };
    const fill = new Fill(this.#state, request, plan);
    const seen = this.#progressOf(exchange);
    if (seen) seen.fill = fill;
    if (mode.standIn && !refresh && rule?.timeout !== undefined)
      this.#limitTime(request, found, pending, fill);
    if (used) runInScope({ used }, () => request.next());
    else request.next();
  }

  /** Serves the stale entry if the handler is slower than the rule's `timeout`, as for refreshes. */
  #limitTime(request: MiddlewareRequest, found: Lookup, pending: PendingFill | undefined, fill: Fill): void {
    const { exchange, rule } = request;
    const late = guarded('waiting', () => {
      // It may have been purged in the meantime.
      const entry = this.#standInForLate(request, found);
      if (!entry || exchange.closed || exchange.headed || exchange.res.headersSent) return;
      fill.giveUp(() => {
        if (pending) {
          pending.isGivenUp = true;
          this.#noteLate(request.key, pending);
        }
        this.#serveStandIn(request, entry, { detail: 'timeout' });
      });
    });
    const timer = setTimeout(late, rule!.timeout! * 1000).unref();
    const stop = () => clearTimeout(timer);
    exchange.onHead(stop, HeadOrder.capture);
    exchange.onClose(stop);
  }

  #bypass(exchange: Exchange, next: Next, reason: string): void {
    exchange.onHead(() => {
      if (this.#progressOf(exchange)?.route && reason === 'rule') return;
      writeCacheStatus(this.#state, exchange, 'BYPASS', describeBypass(reason));
    });
    next();
  }
}
