import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CacheRoutePolicies, CacheRuleSettings } from '../config/cache.js';
import type { RouteParams } from '../config/context.js';
import type { RouteMatch, RouteTable } from '../config/routes.js';
import { type Exchange, exchangeOf } from '../exchange/exchange.js';
import type { ForwardReason } from '../http/cache-status.js';
import { VOID } from '../store/log.js';
import type { Outcome, Pending } from './collapse.js';
import { type Origin, originOf, RuleContext } from './context.js';
import { Fill } from './fill.js';
import { appliesTo, partitionOf } from './hooks.js';
import { normaliseTarget, primaryKey, rewrittenTarget } from './key.js';
import { bypassOf, credentialOf, Disguise } from './request.js';
import { serve } from './serve.js';
import type { CacheState } from './state.js';
import { writeStatus } from './status.js';

export type Next = (error?: unknown) => void;

/** A request on its way through the cache. */
interface Visit {
  readonly exchange: Exchange;
  readonly next: Next;
  readonly key: string;
  readonly target: string;
  readonly origin: Origin;
  readonly rule: CacheRuleSettings | undefined;
  readonly pattern: string | undefined;
  readonly context: RuleContext;
  readonly credential: string | undefined;
}

/** What a request carries from one middleware of this cache to the next. */
interface Seen {
  fill?: Fill;
  route?: boolean;
}

/** How often a request waits for others before it runs by itself. */
const MOST_WAITS = 2;

const NO_PARAMS: RouteParams = Object.freeze(Object.create(null) as Record<string, string>);

/** Takes requests through lookup, waiting and filling. */
export class RequestFlow {
  readonly #state: CacheState;
  readonly #seen = new WeakMap<Exchange, Seen>();

  constructor(state: CacheState) {
    this.#state = state;
  }

  /** The middleware for all routes: rules by path, and what responses say of themselves. */
  shared(
    routes: RouteTable<CacheRoutePolicies>,
    req: IncomingMessage,
    res: ServerResponse,
    next: Next,
  ): void {
    const exchange = exchangeOf(req, res);
    if (this.#seen.has(exchange) || exchange.headed) return next();
    this.#seen.set(exchange, {});
    const match = exchange.match(routes) as RouteMatch<CacheRoutePolicies> | undefined;
    this.#enter(exchange, next, 'shared', match?.policy.cache, match?.pattern, match?.params ?? NO_PARAMS);
  }

  /** The middleware beside one handler; `scope` names it, so that no other serves its entries. */
  route(scope: string, rule: CacheRuleSettings, req: IncomingMessage, res: ServerResponse, next: Next): void {
    const exchange = exchangeOf(req, res);
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
    this.#attempt({ exchange, next, key, target, origin, rule, pattern, context, credential }, 0);
  }

  #attempt(visit: Visit, waits: number): void {
    const { exchange, key, credential, rule } = visit;
    const { collapser } = this.#state;
    const { entry, forward } = this.#lookUp(visit);
    if (entry && forward === undefined) return serve(this.#state, exchange, entry, rule, waits > 0);
    // Only where something may come of it: a lifetime is promised, or such a response was stored before.
    const promising = rule?.ttl !== undefined || entry !== undefined;
    const collapses = promising && rule?.collapse !== false && !credential && exchange.req.method === 'GET';
    const ranged = exchange.req.headers.range !== undefined;
    if (!collapses || ranged || collapser.isRefused(key)) {
      return this.#fill(visit, undefined, forward ?? 'uri-miss', ranged ? 'range' : undefined, promising);
    }
    const pending = collapser.current(key);
    if (!pending) return this.#fill(visit, collapser.lead(key), forward ?? 'uri-miss', undefined, promising);
    if (waits >= MOST_WAITS)
      return this.#fill(visit, undefined, forward ?? 'uri-miss', 'collapse-failed', promising);
    this.#wait(visit, pending, waits, forward ?? 'uri-miss');
  }

  #wait(visit: Visit, pending: Pending, waits: number, forward: ForwardReason): void {
    const { exchange, key, rule } = visit;
    const { collapser, entries, log, settings } = this.#state;
    const leave = pending.wait(settings.waitTimeout, (outcome: Outcome | 'timeout') => {
      if (exchange.closed) return;
      try {
        if (outcome === 'timeout') {
          collapser.abandon(key, pending);
          return this.#fill(visit, undefined, forward, 'collapse-timeout', true);
        }
        if (outcome.kind === 'refused')
          return this.#fill(visit, undefined, forward, 'collapse-refused', true);
        if (outcome.kind === 'failed') return this.#attempt(visit, waits + 1);
        const { entry } = outcome;
        // Whoever came after a purge must not get what was begun before it.
        const valid =
          log.limit(entry) === Number.POSITIVE_INFINITY && entries.matches(key, entry, exchange.req);
        if (valid) return serve(this.#state, exchange, entry, rule, true);
        return this.#attempt(visit, waits + 1);
      } catch (error) {
        this.#state.fault(error, 'waiting');
        if (!exchange.headed) visit.next();
      }
    });
    exchange.onClose(leave);
  }

  #fill(
    visit: Visit,
    pending: Pending | undefined,
    forward: ForwardReason,
    detail: string | undefined,
    promising: boolean,
  ): void {
    const { exchange, key, target, origin, rule, pattern, context, credential } = visit;
    const { req } = exchange;
    const whole = promising && !credential && req.method === 'GET' && req.headers.range === undefined;
    const isReduced = target !== exchange.target || normaliseTarget(req.url ?? '', rule) !== req.url;
    const disguise =
      whole || isReduced ? new Disguise(req, isReduced ? target : undefined, rule, whole) : undefined;
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
    });
    const seen = this.#seen.get(exchange);
    if (seen) seen.fill = fill;
    visit.next();
  }

  /** A stored response that may be used now (no `forward`), or that once was, and why it may not be. */
  #lookUp(visit: Visit): {
    entry?: ReturnType<CacheState['entries']['find']>['entry'];
    forward?: ForwardReason;
  } {
    const { entries, log, clock } = this.#state;
    const { entry, variesOtherwise } = entries.find(visit.key, visit.exchange.req);
    if (!entry) return { forward: variesOtherwise ? 'vary-miss' : 'uri-miss' };
    const limit = log.limit(entry);
    if (limit === VOID) {
      entries.drop(entry);
      return { entry, forward: 'miss' };
    }
    if (visit.credential && !entry.explicitlyShared) return { forward: 'bypass' };
    return Math.min(limit, entry.freshUntil) > clock() ? { entry } : { entry, forward: 'stale' };
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
