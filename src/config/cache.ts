import type { CacheRule, CacheRuleSettings } from './cache-rule.js';
import type { RouteTable } from './routes.js';
import type { Duration, Size } from './units.js';

export * from './cache-rule.js';
export type { CacheContext } from './context.js';

/** Options of the response cache. */
export interface CacheOptions {
  /** The tier in this process's memory. */
  memory?: {
    /** Most that entries may take together: keys, headers, tags and bodies counted. Bytes or a size. Default `'64mb'`. */
    maxBytes?: Size;
    /** Most entries. Default 10,000. */
    maxEntries?: number;
  };
  /** The tier that instances share. */
  redis?: {
    /** `redis://` or `rediss://`. Default: none, the memory tier alone. */
    url?: string;
  };
  /** What may be stored: `'safe'` only what says itself, or has a rule that says, that it may be shared; `'rfc9111'` all that the standard allows a shared cache. Default `'safe'`. */
  profile?: 'safe' | 'rfc9111';
  /** Whether a visitor's `Cache-Control` (RFC 9111 §5.2.1) can force a fresh response. Default `'ignore'`: otherwise any visitor could put load on the app. */
  requestDirectives?: 'ignore' | 'honor';
  /** How long entries are served after contact with the invalidation log was lost. Seconds or a duration. Default `'5s'`. */
  maxStaleness?: Duration;
  /** Larger bodies are not stored. Bytes or a size, at most `memory.maxBytes`. Default `'1mb'`. */
  maxEntryBytes?: Size;
  /** Request headers that make a request personal. A list given here replaces the default `['authorization', 'cookie', 'x-api-key', 'proxy-authorization']`. */
  credentials?: readonly string[];
  /** How long a request waits for another's fill of the same entry, then runs by itself. Seconds or a duration, at most one day. Default `'5s'`. */
  waitTimeout?: Duration;
  /** How long a key whose response could not be stored is remembered, so that its requests do not wait for each other. 0: not at all. Default `'2m'`. */
  hitForMiss?: Duration;
  /** Whether responses carry `X-Cache` and `Cache-Status` (RFC 9211), which tell visitors what is cached and why. Default `true`. */
  statusHeader?: boolean;
  /** Told of every failure that a request survived; `where` names the part. Default: none. */
  onError?: (error: unknown, where: string) => void;
}

/** Resolved options of the response cache: durations in seconds, sizes in bytes, header names in lower case. */
export interface CacheSettings {
  readonly memory: { readonly maxBytes: number; readonly maxEntries: number };
  readonly redis?: { readonly url: string };
  readonly profile: 'safe' | 'rfc9111';
  readonly requestDirectives: 'ignore' | 'honor';
  readonly maxStaleness: number;
  readonly maxEntryBytes: number;
  readonly credentials: readonly string[];
  readonly waitTimeout: number;
  readonly hitForMiss: number;
  readonly statusHeader: boolean;
  readonly onError?: (error: unknown, where: string) => void;
}

/** Options of `responseCache()` used alone. */
export interface StandaloneCacheOptions extends CacheOptions {
  /** Rules by path, in Express 5 syntax; the first match wins; `false`: never cached. */
  routes?: Readonly<Record<string, CacheRule | false>>;
}

/** The part of a route's policies that the cache reads. */
export interface CacheRoutePolicies {
  readonly cache?: CacheRuleSettings | false;
}

export function resolveCache(_input?: CacheOptions, _path = 'cache'): CacheSettings {
  throw new Error('not built yet');
}
export function resolveCacheStandalone(
  _options?: StandaloneCacheOptions,
  _path = 'responseCache',
): {
  settings: CacheSettings;
  routes: RouteTable<CacheRoutePolicies>;
} {
  throw new Error('not built yet');
}
