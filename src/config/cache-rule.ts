import type { CacheContext } from './context.js';
import type { Duration } from './units.js';

/** How one route is cached. A handler that says `private`, `no-store` or its own lifetime is never overridden. */
export interface CacheRule {
  /** How long a response is fresh when the handler gives no lifetime. Greater than 0. Default: none. */
  ttl?: Duration;
  /** How long after its lifetime a response may be served while it is refreshed (RFC 5861 §3). Needs `ttl`. Default: none. */
  staleWhileRevalidate?: Duration;
  /** How long after its lifetime a response may stand in for an error (RFC 5861 §4). Needs `ttl`. Default: none. */
  staleIfError?: Duration;
  /** After this a refresh is given up and the stale response is served. At most one day. Default: none. */
  timeout?: Duration;
  /** After this a stale response is served while the refresh goes on. Needs `ttl`; at most `timeout`. Default: none. */
  softTimeout?: Duration;
  /** Share of `ttl`, 0 to 1, by which lifetimes are shortened at random, so that entries do not expire together. Needs `ttl`. Default 0. */
  jitter?: number;
  /** Status codes that may be stored: 200 to 599 without 206 and 304. Default `[200, 301, 308]`. */
  statuses?: readonly number[];
  /** Names by which entries are purged together. Default none. */
  tags?: readonly string[] | ((context: CacheContext) => readonly string[]);
  /** What distinguishes one response from another, besides method, host and path. */
  vary?: CacheVary;
  /** Query parameters that change nothing, such as `'utm_*'` (a trailing `*` stands for any ending). Not together with `vary.query`. Default none. */
  ignoreQuery?: readonly string[];
  /** Whose response this is. An empty answer, or a throw, means that the cache is bypassed. Default: everybody's. */
  partition?: (context: CacheContext) => string | number | undefined | null;
  /** The response is the same for everybody, so the front door may serve it before any other middleware runs. Not together with `partition`. Default `false`. */
  shared?: boolean;
  /** Whether requests for a missing entry wait for the one that fills it: within this process (`true`, `'instance'`), among all instances (`'cluster'`), or not. Default `'instance'`. */
  collapse?: boolean | 'instance' | 'cluster';
  /** Whether the rule applies to a request; a throw means no. Default: always. */
  when?: (context: CacheContext) => boolean;
}

/** The parts of a request that belong to the key of an entry. */
export interface CacheVary {
  /** Query parameters that matter; all others are ignored. Default: all matter. */
  query?: readonly string[];
  /** Request headers that matter, besides those the response names in `Vary`. Default none. */
  headers?: readonly string[];
  /** Cookies that matter; `[]` declares that none does, so that requests with cookies may be cached. Default: not declared, a request with cookies is personal. */
  cookies?: readonly string[];
}

/** A resolved cache rule: durations in seconds, header names in lower case. */
export interface CacheRuleSettings {
  readonly ttl?: number;
  readonly staleWhileRevalidate?: number;
  readonly staleIfError?: number;
  readonly timeout?: number;
  readonly softTimeout?: number;
  readonly jitter: number;
  readonly statuses: ReadonlySet<number>;
  readonly tags: readonly string[] | ((context: CacheContext) => readonly string[]);
  readonly vary: CacheVarySettings;
  readonly ignoreQuery: readonly string[];
  readonly partition?: (context: CacheContext) => string | number | undefined | null;
  readonly shared: boolean;
  readonly collapse: false | 'instance' | 'cluster';
  readonly when?: (context: CacheContext) => boolean;
}

/** Resolved `vary` of a rule. */
export interface CacheVarySettings {
  /** `undefined`: every parameter matters. */
  readonly query?: readonly string[];
  readonly headers: readonly string[];
  /** `undefined`: not declared, so a request with cookies is personal. */
  readonly cookies?: readonly string[];
}

export function resolveCacheRule(_rule: CacheRule, _path = 'rule'): CacheRuleSettings {
  throw new Error('not built yet');
}
