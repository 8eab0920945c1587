import type { IncomingMessage } from 'node:http';
import { MAP_SCOPE } from '../cache/classify-request.js';
import { isDueForEagerRefresh, mayBeInRedis } from '../cache/decide.js';
import { isFresh, secondsLeft } from '../cache/lookup/reuse.js';
import type { CacheRoutePolicies, CacheRuleSettings } from '../cache/options.js';
import { coversCookies } from '../cache/request/credentials.js';
import { keysFor, mayChangeKey, PlainKeyCache } from '../cache/request/key.js';
import { isSameOrigin, type Origin } from '../cache/request/origin.js';
import { hasRequestFunctions } from '../cache/request/rule-functions.js';
import { computeAge } from '../cache/serve/serve-stored.js';
import { type CacheState, countMemoryLookup } from '../cache/state.js';
import { pathOf } from '../http/request-target.js';
import type { RouteTable } from '../options/route-table.js';
import type { StoredResponse } from '../store/stored-response.js';

/** Age and remaining freshness of a stored response. */
export interface RemainingFreshness {
  /** Seconds (RFC 9111 §4.2.3). */
  readonly age: number;
  /** Seconds of freshness left. */
  readonly ttl: number;
}

/** Whether a request has cookies that may make a difference to its response. */
export function hasUncoveredCookie(
  { headers }: IncomingMessage,
  rule: CacheRuleSettings | undefined,
): boolean {
  return headers.cookie !== undefined && !coversCookies(rule);
}

/**
 * Finds stored responses for plain requests: without credentials, directives and ranges. It finds only entries that
 * `classifyRequest`, `lookUp` and `decide` would serve too, but not all of them.
 */
export class FastLookup {
  readonly #state: CacheState;
  readonly #routes: RouteTable<CacheRoutePolicies>;
  /** Whether the key of a request may depend on its rule. */
  readonly #isKeyed: boolean;
  #keys: PlainKeyCache | undefined;

  constructor(state: CacheState, routes: RouteTable<CacheRoutePolicies>) {
    this.#state = state;
    this.#routes = routes;
    this.#isKeyed = routes.policies.some(({ cache }) => cache && mayChangeKey(cache));
  }

  ruleOf(target: string): CacheRuleSettings | false | undefined {
    return this.policyOf(target)?.cache;
  }

  /** The policies for a target. Targets under one pattern have the same object. */
  policyOf(target: string): CacheRoutePolicies | undefined {
    return this.#routes.match(pathOf(target))?.policy;
  }

  /** The stored response for a request whose URL was not rewritten. */
  find(req: IncomingMessage, origin: Origin, target: string): StoredResponse | undefined {
    const { entries, equivalents } = this.#state;
    if (!equivalents.isUnused) return undefined;
    const found = entries.find(this.#keysOf(origin).of(target), req);
    if (found.entry || found.variesOtherwise) return found.entry;
    if (!this.#isKeyed) return undefined; // saves misses a route match
    const rule = this.ruleOf(target);
    if (!rule || !mayChangeKey(rule) || rule.partition) return undefined;
    return entries.find(this.#keyUnder(rule, req, origin, target), req).entry;
  }

  /**
   * Looks up in Redis a request that `find` did not find, if its rule declares the response shared.
   *
   * @param onFound called once, with the entry for this request; it must not throw.
   * @returns whether a lookup was started; if not, `onFound` is not called.
   */
  askRedis(
    req: IncomingMessage,
    origin: Origin,
    target: string,
    onFound: (entry: StoredResponse | undefined) => void,
  ): boolean {
    const { collapser, counts, entries, equivalents, redisLookups } = this.#state;
    if (!redisLookups || !equivalents.isUnused || req.method !== 'GET') return false;
    const rule = this.ruleOf(target);
    if (!rule) return false;
    if (!rule.shared || hasRequestFunctions(rule) || hasUncoveredCookie(req, rule)) return false;
    const key = this.#keyUnder(rule, req, origin, target);
    if (!mayBeInRedis(this.#state, key)) return false;
    // The middlewares wait for a fill in flight, and decide about entries that are in memory.
    if (collapser.current(key) || entries.store.peek(key)) return false;
    countMemoryLookup(counts, false);
    redisLookups.ask({ keys: { exact: key }, context: { req } }, (entry) => {
      onFound(entry && this.#isFor(req, key, entry) ? entry : undefined);
    });
    return true;
  }

  /** Whether the entry is the variant for this request. Never throws. */
  #isFor(req: IncomingMessage, key: string, entry: StoredResponse): boolean {
    const { entries, fault } = this.#state;
    try {
      return entries.matches(key, entry, req);
    } catch (error) {
      fault(error, 'redis read');
      return false;
    }
  }

  #keyUnder(rule: CacheRuleSettings, req: IncomingMessage, origin: Origin, target: string): string {
    if (!mayChangeKey(rule)) return this.#keysOf(origin).of(target);
    const place = { scope: MAP_SCOPE, origin, partition: undefined };
    return keysFor(place, req, target, rule, this.#state.entries.select).exact;
  }

  /**
   * Age and freshness; `undefined` if the entry is not fresh, or is due for an eager refresh.
   *
   * @param now milliseconds on the cache's clock.
   */
  freshness(
    entry: StoredResponse,
    rule: CacheRuleSettings | undefined,
    now: number,
  ): RemainingFreshness | undefined {
    const limit = this.#state.log.limit(entry);
    if (!isFresh(entry, limit, now)) return undefined;
    if (
      rule?.eagerRefresh !== undefined &&
      isDueForEagerRefresh(this.#state, { key: entry.key, rule }, entry)
    )
      return undefined;
    return {
      age: computeAge(entry, now),
      ttl: secondsLeft(entry, limit, now),
    };
  }

  #keysOf(origin: Origin): PlainKeyCache {
    const last = this.#keys;
    if (last?.origin === origin) return last;
    if (last && last.origin.rawHost === origin.rawHost && isSameOrigin(last.origin, origin)) return last;
    return (this.#keys = new PlainKeyCache(MAP_SCOPE, origin));
  }
}
