import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CacheRoutePolicies, CacheRuleSettings } from '../config/cache.js';
import type { RouteMatch, RouteTable } from '../config/routes.js';
import { type Exchange, exchangeOf } from '../exchange/exchange.js';
import type { CacheStatus, ForwardReason } from '../http/cache-status.js';
import { CAPABILITY } from '../http/surrogate-control.js';
import { unawaited } from '../runtime/guard.js';
import type { StoredResponse } from '../store/entry.js';
import { admit, beside, inMap, type Placed, SHARED } from './admit.js';
import type { Pending, Waiter } from './collapse.js';
import { RuleContext } from './context.js';
import { Fill } from './fill.js';
import { canFollow, follow } from './follow.js';
import { normaliseTarget } from './key.js';
import { isEverybodys, isFor, lookUp } from './lookup.js';
import { MetRequest } from './met-request.js';
import { asksShared, MOST_WAITS, mannerOf, planFor } from './plan.js';
import { DEADLINE, Refresher } from './refresh.js';
import { Disguise } from './request.js';
import type { Running } from './running.js';
import { serve, ttlOf } from './serve.js';
import { isOursToRefresh } from './shared-refresh.js';
import { type Brought, LEASE } from './shared-tier.js';
import type { CacheState } from './state.js';
import { bypassStatus, shownKey, writeStatus, type XCache } from './status.js';
import { type Lookup, type Next, type Visit, visitOf } from './visit.js';

/** What an internal request is to refresh. */
interface Refreshing {
  readonly visit: Visit;
  /** None where the run is to bring what another began. */
  readonly entry: StoredResponse | undefined;
  readonly pending: Pending;
}

/** What a request carries from one middleware of this cache to the next. */
interface Seen {
  fill?: Fill;
  route?: boolean;
  refresh?: Refreshing;
}

/** Why the front door leaves to us what everybody may have. */
function whyInside(entry: StoredResponse, rule: CacheRuleSettings | undefined): string | undefined {
  return entry.upstream && isEverybodys(entry, rule) ? 'upstream-headers' : undefined;
}

/** Takes requests through lookup, waiting and filling. */
export class RequestFlow {
  readonly #state: CacheState;
  readonly #refresher: Refresher;
  /** What was refreshed before its end, or should have been. */
  readonly #eager = new WeakSet<StoredResponse>();

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
    const refreshed = this.#takeRefresh(exchange, SHARED);
    if (refreshed) return this.#refill(refreshed, exchange, next);
    if (exchange.noteOf(this) || exchange.headed) return next();
    exchange.note(this, {});
    const match = exchange.match(routes) as RouteMatch<CacheRoutePolicies> | undefined;
    this.#enter(exchange, next, inMap(match));
  }

  /** The middleware beside one handler; `scope` names it, so that no other serves its entries. */
  route(scope: string, rule: CacheRuleSettings, req: IncomingMessage, res: ServerResponse, next: Next): void {
    const exchange = exchangeOf(req, res);
    const refreshed = this.#takeRefresh(exchange, scope);
    if (refreshed) return this.#refill(refreshed, exchange, next);
    const seen = this.#seenOf(exchange) ?? {};
    if (seen.route || exchange.headed) return next();
    seen.route = true;
    exchange.note(this, seen);
    // A request never has two fills, and this one knows more.
    seen.fill?.cancel();
    this.#enter(exchange, next, beside(scope, rule, req));
  }

  #seenOf(exchange: Exchange): Seen | undefined {
    return exchange.noteOf(this) as Seen | undefined;
  }

  #enter(exchange: Exchange, next: Next, placed: Placed): void {
    const { req, res, target } = exchange;
    if (req.headers.upgrade !== undefined) return next();
    const { asked, bypass } = admit(this.#state, { req, res, target, ...placed });
    if (!asked) return this.#bypass(exchange, next, bypass);
    const { shared } = this.#state;
    const brought = shared && (exchange.noteOf(shared) as Brought | undefined);
    const isRedisLate = brought && shared.isLateSince(brought.askedAt);
    const visit = visitOf(asked, exchange, next, isRedisLate);
    this.#attempt(visit, 0, undefined, brought !== undefined, brought?.entry);
  }

  /** What this internal request was made for, when it has come to the middleware that wanted it; once. */
  #takeRefresh(exchange: Exchange, scope: string): Refreshing | undefined {
    const seen = this.#seenOf(exchange);
    const refresh = seen?.refresh;
    if (refresh?.visit.scope !== scope) return undefined;
    exchange.note(this, { route: true });
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
    const found = lookUp(this.#state, visit, true, brought);
    if (waits === 0 && !isShared) counts.memory[found.entry ? 'hits' : 'misses']++;
    const plan = planFor(this.#state, visit, found, waits);
    if (!isShared && asksShared(this.#state, visit, plan)) return this.#askShared(visit, waits, missed);
    if (plan.kind === 'hit') {
      this.#serveHit(visit, plan.entry, missed);
      if (plan.isEager) this.#refreshEagerly(visit, plan.entry);
      return;
    }
    if (plan.kind === 'gateway-timeout') return this.#gatewayTimeout(visit);
    if (plan.kind === 'stale') return this.#serveWhileRefreshing(visit, plan.entry);
    if (plan.kind === 'refresh') return this.#awaitRefresh(visit, plan.entry);
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
        if (typeof turn === 'object') pending.wait(LEASE, { settled: () => turn.release() });
        this.#goOn(visit, () => {
          if (entry) this.#attempt(visit, MOST_WAITS, found.forward, true);
          else this.#fill(visit, found, pending, undefined);
        });
      });
    void unawaited(filled, 'collapse');
  }

  #serveWhileRefreshing(visit: Visit, entry: StoredResponse): void {
    if (!this.#state.collapser.current(visit.key)) this.#refresh(visit, entry);
    this.#serveAs(visit, entry, 'STALE', { hit: true, ttl: ttlOf(this.#state, entry, visit.target) });
  }

  /** Serves what a refresh brings; the stale response, where it fails or takes too long. */
  #awaitRefresh(visit: Visit, entry: StoredResponse): void {
    const { collapser, settings } = this.#state;
    const { key, rule } = visit;
    // Redis was asked on the way here; where instances take turns, another may be at it.
    const isShared = rule?.collapse !== 'cluster';
    const pending = collapser.current(key) ?? this.#refresh(visit, entry, { isShared });
    const seconds = rule?.softTimeout ?? rule?.timeout ?? settings.waitTimeout;
    this.#whenSettled(visit, pending, seconds, (outcome) => {
      if (outcome === 'timeout' || outcome.kind === 'failed') {
        const isLate = outcome === 'timeout';
        return this.#serveAs(visit, entry, 'STALE', {
          fwd: 'stale',
          fwdStatus: isLate ? undefined : outcome.status,
          ttl: ttlOf(this.#state, entry, visit.target),
          detail: isLate ? 'timeout' : 'error',
        });
      }
      if (outcome.kind === 'refused')
        return this.#fill(visit, { entry, forward: 'stale' }, undefined, undefined);
      if (!isFor(this.#state, visit, outcome.entry)) return this.#attempt(visit, MOST_WAITS, 'stale');
      this.#serveAs(visit, outcome.entry, 'MISS', {
        fwd: 'stale',
        fwdStatus: outcome.status,
        stored: true,
        ttl: ttlOf(this.#state, outcome.entry, visit.target),
      });
    });
  }

  /** Once for each entry: a handler that has nothing new to give is left in peace until its end. */
  #refreshEagerly(visit: Visit, entry: StoredResponse): void {
    if (this.#eager.has(entry)) return;
    this.#eager.add(entry);
    this.#refresh(visit, entry);
  }

  /** Those who follow a fill that its client has left, or holds back, are to get the rest from another run. */
  #rescue(visit: Visit, running: Running): void {
    const { key, rule, partitioned, context } = visit;
    if (partitioned || !Refresher.canRefresh(context.req)) return running.rescued(undefined);
    const pending = this.#state.collapser.current(key) ?? this.#refresh(visit, undefined, running.head);
    pending.wait(rule?.timeout ?? DEADLINE, {
      settled: (outcome) =>
        running.rescued(outcome !== 'timeout' && outcome.kind === 'stored' ? outcome.entry : undefined),
    });
  }

  /** @param options `isShared`: what instances share has been asked. */
  #refresh(
    visit: Visit,
    entry: StoredResponse | undefined,
    options: { readonly vary?: readonly string[]; readonly isShared?: boolean } = {},
  ): Pending {
    const { collapser, shared } = this.#state;
    const { vary = entry?.vary ?? [], isShared } = options;
    const pending = collapser.lead(visit.key);
    const run = () =>
      this.#refresher.start(visit, { vary }, pending, (exchange) => {
        exchange.note(this, { refresh: { visit, entry, pending } });
      });
    if (!entry || isShared || !shared?.isUsable) run();
    else {
      const claimed = isOursToRefresh(this.#state, shared, visit, entry, pending);
      void unawaited(
        claimed.then((isOurs) => isOurs && run()),
        'refresh',
      );
    }
    return pending;
  }

  /** An internal request has come to the place where its visit was: it fills, whatever is stored. */
  #refill({ visit, entry, pending }: Refreshing, exchange: Exchange, next: Next): void {
    const { req, res } = exchange;
    const context = new RuleContext(req, res, visit.context, visit.target);
    const internal: Visit = { ...visit, exchange, next, context, credential: undefined, wishes: undefined };
    const found: Lookup = entry ? { entry, forward: 'stale' } : { promising: true, forward: 'uri-miss' };
    this.#fill(internal, found, pending, undefined, true);
  }

  #wait(visit: Visit, pending: Pending, waits: number, found: Lookup): void {
    const { collapser, settings } = this.#state;
    const { forward = 'uri-miss' } = found;
    const settled: Waiter['settled'] = (outcome) => {
      if (outcome === 'timeout') {
        collapser.abandon(visit.key, pending);
        return this.#fill(visit, found, undefined, 'collapse-timeout');
      }
      if (outcome.kind === 'refused') return this.#fill(visit, found, undefined, 'collapse-refused');
      if (outcome.kind === 'failed') return this.#attempt(visit, waits + 1, forward);
      if (isFor(this.#state, visit, outcome.entry)) return this.#serveHit(visit, outcome.entry, forward);
      return this.#attempt(visit, waits + 1, forward);
    };
    const follows = (running: Running): boolean => {
      if (!canFollow(this.#state, visit, running)) return false;
      running.rescuer ??= () => this.#rescue(visit, running);
      this.#goOn(visit, () => follow(this.#state, visit, running, forward));
      return true;
    };
    this.#whenSettled(visit, pending, settings.waitTimeout, settled, follows);
  }

  /** Goes on with a visit when another's fill has ended, unless the visitor has left by then. */
  #whenSettled(
    visit: Visit,
    pending: Pending,
    seconds: number,
    settled: Waiter['settled'],
    follows?: Waiter['follows'],
  ): void {
    const leave = pending.wait(seconds, {
      settled: (outcome) => this.#goOn(visit, () => settled(outcome)),
      follows,
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
    const ttl = ttlOf(this.#state, entry, visit.target);
    const detail = this.#state.frontDoor.isOpen ? whyInside(entry, visit.rule) : undefined;
    const key = shownKey(this.#state, visit);
    const status = missed
      ? { fwd: missed, collapsed: true, ttl, key, detail }
      : { hit: true, ttl, key, detail };
    serve(this.#state, visit.exchange, entry, visit.rule, { result: 'HIT', status });
  }

  #serveAs(visit: Visit, entry: StoredResponse, result: XCache, known: CacheStatus): void {
    const { exchange, rule } = visit;
    const status = { ...known, key: shownKey(this.#state, visit) };
    serve(this.#state, exchange, entry, rule, { result, status });
  }

  /** RFC 9111 §5.2.1.7: what the visitor wanted from a cache alone is not here. */
  #gatewayTimeout(visit: Visit): void {
    const { exchange } = visit;
    const { res } = exchange;
    res.statusCode = 504;
    const key = shownKey(this.#state, visit);
    // It went nowhere, so there is no `fwd`.
    writeStatus(this.#state, exchange, 'BYPASS', { key, detail: 'only-if-cached' });
    res.end();
  }

  #fill(
    visit: Visit,
    found: Lookup,
    pending: Pending | undefined,
    detail: string | undefined,
    isRefresh = false,
  ): void {
    const { exchange, key, keys, target, origin, rule, pattern, context, credential, wishes } = visit;
    const { req } = exchange;
    const met = new MetRequest(req, visit.partition);
    const { whole, shown, revalidates, compares, standIn } = mannerOf(this.#state, visit, found);
    const isReduced = target !== exchange.target || normaliseTarget(req.url ?? '', rule) !== req.url;
    const isSurrogate = this.#state.settings.targets.includes('surrogate-control');
    const disguise =
      whole || isReduced || isSurrogate
        ? new Disguise(req, isReduced ? target : undefined, rule, whole, shown)
        : undefined;
    if (isSurrogate) disguise?.append('surrogate-capability', CAPABILITY);
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
      standIn: isRefresh ? undefined : standIn,
      noStoreAsked: wishes?.noStore === true,
      isRefresh,
    });
    const seen = this.#seenOf(exchange);
    if (seen) seen.fill = fill;
    visit.next();
  }

  #bypass(exchange: Exchange, next: Next, reason: string): void {
    exchange.onHead(() => {
      if (this.#seenOf(exchange)?.route && reason === 'rule') return;
      writeStatus(this.#state, exchange, 'BYPASS', bypassStatus(reason));
    });
    next();
  }
}
