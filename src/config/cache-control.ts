import type { RouteTable } from './routes.js';
import type { Duration } from './units.js';

/** Response directives of `Cache-Control`: RFC 9111 §5.2.2, RFC 5861, RFC 8246. Durations are whole seconds. */
export interface CacheControlDirectives {
  /** Any cache may store the response, even to a request with `Authorization` (§5.2.2.9). */
  public?: boolean;
  /** Only the visitor's own cache may store it (§5.2.2.7). */
  private?: boolean;
  /** No cache may store it (§5.2.2.5). */
  noStore?: boolean;
  /** Stored, but used only after the origin has confirmed it (§5.2.2.4). */
  noCache?: boolean;
  /** Intermediaries may not change the body (§5.2.2.6). */
  noTransform?: boolean;
  /** Once stale, used only after the origin has confirmed it (§5.2.2.2). */
  mustRevalidate?: boolean;
  /** `mustRevalidate` for shared caches alone (§5.2.2.8). */
  proxyRevalidate?: boolean;
  /** Stored only by caches that know what the status code asks for (§5.2.2.3). */
  mustUnderstand?: boolean;
  /** How long the response is fresh (§5.2.2.1). */
  maxAge?: Duration;
  /** The same for shared caches (§5.2.2.10). */
  sMaxage?: Duration;
  /** How long a stale response may be used while it is refreshed (RFC 5861 §3). */
  staleWhileRevalidate?: Duration;
  /** How long a stale response may stand in for an error (RFC 5861 §4). */
  staleIfError?: Duration;
  /** The body never changes while fresh, so a reload need not ask (RFC 8246). */
  immutable?: boolean;
}

/**
 * What a response says to caches. The presets:
 * - `'immutable'`: `public, max-age=31536000, immutable`, for files with a hash in their name.
 * - `'no-store'`: `no-store`.
 * - `'private'`: `private, no-cache`: kept by the visitor's browser alone, and confirmed at each use.
 * - `'no-cache'`: `no-cache`: kept anywhere, and confirmed at each use.
 */
export type CacheControlPolicy = 'immutable' | 'no-store' | 'private' | 'no-cache' | CacheControlDirectives;

/** Options of the Cache-Control middleware. */
export interface CacheControlOptions {
  /** What a response says when neither its handler nor its route does; `false`: nothing. Default `'no-cache'`. */
  default?: CacheControlPolicy | false;
}

/** Directives with presets expanded and durations in whole seconds; a directive that is off is absent. */
export interface ResolvedCacheControl {
  readonly public?: true;
  readonly private?: true;
  readonly noStore?: true;
  readonly noCache?: true;
  readonly noTransform?: true;
  readonly mustRevalidate?: true;
  readonly proxyRevalidate?: true;
  readonly mustUnderstand?: true;
  readonly maxAge?: number;
  readonly sMaxage?: number;
  readonly staleWhileRevalidate?: number;
  readonly staleIfError?: number;
  readonly immutable?: true;
}

/** Resolved options of the Cache-Control middleware. */
export interface CacheControlSettings {
  /** `undefined`: nothing is added where nobody says anything. */
  readonly default?: ResolvedCacheControl;
}

/** Options of `cacheControl()` used alone. */
export interface StandaloneCacheControlOptions extends CacheControlOptions {
  /** Policies by path, in Express 5 syntax; the first match wins; `false`: left alone. */
  routes?: Readonly<Record<string, CacheControlPolicy | false>>;
}

/** The part of a route's policies that Cache-Control reads. */
export interface CacheControlRoutePolicies {
  readonly cacheControl?: ResolvedCacheControl | false;
}

export function resolveCacheControlPolicy(
  _policy: CacheControlPolicy,
  _path = 'cacheControl',
): ResolvedCacheControl {
  throw new Error('not built yet');
}
export function resolveCacheControl(
  _input?: CacheControlOptions,
  _path = 'cacheControl',
): CacheControlSettings {
  throw new Error('not built yet');
}
export function resolveCacheControlStandalone(
  _options?: StandaloneCacheControlOptions,
  _path = 'cacheControl',
): {
  settings: CacheControlSettings;
  routes: RouteTable<CacheControlRoutePolicies>;
} {
  throw new Error('not built yet');
}
