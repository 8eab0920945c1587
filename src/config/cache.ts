import * as v from 'valibot';
import { type CacheRule, type CacheRuleSettings, cacheRuleSchema } from './cache-rule.js';
import { describeSecret, isPlainObject } from './describe.js';
import {
  readFunction,
  readHeaderName,
  readHeaderPattern,
  readHeaderText,
  readInteger,
  readPositiveDuration,
  readPositiveSize,
  readTimerDuration,
  readWord,
} from './readers.js';
import type { Reading } from './reading.js';
import { type RedisOptions, type RedisSettings, redisSchema } from './redis.js';
import { compileRoutes, type RouteTable, readPattern } from './routes.js';
import { leaf, list, mapOf, objectOr, resolve, type Schema, type SectionCheck, section } from './schema.js';
import { type Duration, readDuration, readSize, type Size } from './units.js';

export {
  type CacheRule,
  type CacheRuleSettings,
  type CacheVary,
  type CacheVarySettings,
  resolveCacheRule,
} from './cache-rule.js';
export type { CacheContext } from './context.js';
export type { RedisClient, RedisOptions, RedisSettings } from './redis.js';

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
  redis?: RedisOptions;
  /** What may be stored: `'safe'` only what says itself, or has a rule that says, that it may be shared; `'rfc9111'` all that the standard allows a shared cache. Default `'safe'`. */
  profile?: 'safe' | 'rfc9111';
  /**
   * Response fields that speak to this cache as `Cache-Control` does to all, from the most applicable to the least
   * (RFC 9213 §2.2). Where one is there and valid, `Cache-Control`, `Expires` and `Pragma` do not count here; all
   * are passed on as they are. With `'surrogate-control'`, handlers are told `Surrogate-Capability: hotpath=…`.
   * Default `[]`; in the profile `'rfc9111'` `['cdn-cache-control', 'surrogate-control']`: an app that stands
   * behind a CDN of its own sets `[]`, or names a field of its own, lest it does what is meant for the CDN.
   */
  targets?: readonly string[];
  /** Whether a visitor's `Cache-Control` (RFC 9111 §5.2.1) can force a fresh response. Default `'ignore'`: otherwise any visitor could put load on the app. */
  requestDirectives?: 'ignore' | 'honor';
  /** How long entries are served after contact with the invalidation log was lost. Seconds or a duration. Default `'5s'`. */
  maxStaleness?: Duration;
  /** Larger bodies are not stored. Bytes or a size, at most `memory.maxBytes`. Default `'1mb'`. */
  maxEntryBytes?: Size;
  /**
   * What makes a request personal: names of request headers, and `client-certificate` for a client that has presented
   * one, to this server or to a proxy that says so in `Client-Cert` (RFC 9440). A list given here replaces the default
   * `['authorization', 'cookie', 'x-api-key', 'proxy-authorization', 'client-certificate']`.
   */
  credentials?: readonly string[];
  /**
   * Response headers that belong to one response alone, such as an id: they are not stored. A `*` at the end stands for
   * any ending (`'x-acme-*'`). Added to those that are known (see docs/caching.md). Default none.
   */
  perResponseHeaders?: readonly string[];
  /** How long a request waits for another's fill of the same entry, then runs by itself. Seconds or a duration, at most one day. Default `'5s'`. */
  waitTimeout?: Duration;
  /** How long a key whose response could not be stored is remembered, so that its requests do not wait for each other. 0: not at all. Default `'2m'`. */
  hitForMiss?: Duration;
  /** How many background refreshes run at once. More wait; those that a request waits for go first, and of too many the oldest is dropped. From 1 to 10,000. Default 32. */
  refreshConcurrency?: number;
  /**
   * Header fields that every background refresh carries, so that a gate of the app lets it through. Not `Host`, nor
   * fields of the connection, of conditions, of ranges or of the body. Default none.
   */
  refreshHeaders?: Readonly<Record<string, string>>;
  /**
   * What follows when the app answers a background refresh with 401, 403 or 429: `'foreground'`, the next client's own
   * request runs in the foreground, and nothing is served stale; `'stale'`, stale responses are served on, for an app
   * that sheds load so. Default `'foreground'`.
   */
  refreshRefused?: 'foreground' | 'stale';
  /** How long a key gets no background refresh after one was refused, or its answer could not be stored. Doubles with each further one, up to an hour. Greater than 0. Default `'2m'`. */
  noBackgroundRefresh?: Duration;
  /** How long after a failed refresh stale responses are served without another. Doubles with each further one, up to 30 s. 0: not at all. Default `'1s'`. */
  refreshBackoff?: Duration;
  /** Whether responses carry `X-Cache` and `Cache-Status` (RFC 9211), which tell visitors what is cached and why; `'key'`: with the scheme, host, path and query that the key holds. Default `true`. */
  statusHeader?: boolean | 'key';
  /** Told of every failure that a request survived; `where` names the part. Default: none. */
  onError?: (error: unknown, where: string) => void;
}

/** Resolved options of the response cache: durations in seconds, sizes in bytes, header names in lower case. */
export interface CacheSettings {
  readonly memory: { readonly maxBytes: number; readonly maxEntries: number };
  readonly redis?: RedisSettings;
  readonly profile: 'safe' | 'rfc9111';
  readonly targets: readonly string[];
  readonly requestDirectives: 'ignore' | 'honor';
  readonly maxStaleness: number;
  readonly maxEntryBytes: number;
  readonly credentials: readonly string[];
  readonly perResponseHeaders: readonly string[];
  readonly waitTimeout: number;
  readonly hitForMiss: number;
  readonly refreshConcurrency: number;
  readonly refreshHeaders: Readonly<Record<string, string>>;
  readonly refreshRefused: 'foreground' | 'stale';
  readonly noBackgroundRefresh: number;
  readonly refreshBackoff: number;
  readonly statusHeader: boolean | 'key';
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

const defaultMaxBytes = 64 * 1024 ** 2;
const defaultMaxEntryBytes = 1024 ** 2;

const entries = {
  memory: v.optional(
    section({
      // Not 0: to an LRU cache that would mean without bound.
      maxBytes: v.optional(leaf(readPositiveSize), defaultMaxBytes),
      maxEntries: v.optional(leaf(readInteger(1)), 10_000),
    }),
    {},
  ),
  redis: v.optional(redisSchema),
  profile: v.optional(leaf(readWord('safe', 'rfc9111')), 'safe'),
  targets: v.optional(list(leaf(readTarget), 'a list of names of response headers')),
  requestDirectives: v.optional(leaf(readWord('ignore', 'honor')), 'ignore'),
  maxStaleness: v.optional(leaf(readDuration), '5s'),
  maxEntryBytes: v.optional(leaf(readPositiveSize)),
  credentials: v.optional(list(leaf(readHeaderName), 'a list of names of request headers'), [
    'authorization',
    'cookie',
    'x-api-key',
    'proxy-authorization',
    'client-certificate',
  ]),
  perResponseHeaders: v.optional(list(leaf(readHeaderPattern), 'a list of names of response headers'), []),
  waitTimeout: v.optional(leaf(readTimerDuration), '5s'),
  hitForMiss: v.optional(leaf(readDuration), '2m'),
  refreshConcurrency: v.optional(leaf(readInteger(1, 10_000)), 32),
  refreshHeaders: v.optional(
    mapOf(readRefreshHeader, leaf(readHeaderText, describeSecret), 'names of request headers'),
    {},
  ),
  refreshRefused: v.optional(leaf(readWord('foreground', 'stale')), 'foreground'),
  noBackgroundRefresh: v.optional(leaf(readPositiveDuration), '2m'),
  refreshBackoff: v.optional(leaf(readDuration), '1s'),
  statusHeader: v.optional(leaf(readStatusHeader), true),
  onError: v.optional(leaf(readFunction<NonNullable<CacheOptions['onError']>>())),
};

/** What all that RFC 9213 and its older brother allow a shared cache before the origin to read. */
const standardTargets = ['cdn-cache-control', 'surrogate-control'] as const;

/** What a refresh has from its key or its entry, or what would make it another kind of request. */
const ownHeaders: ReadonlySet<string> = new Set([
  ...['host', 'connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'upgrade', 'expect'],
  ...['content-length', 'content-type', 'transfer-encoding', 'range', 'if-range'],
  ...['if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since'],
]);

function readRefreshHeader(input: unknown): Reading<string> {
  const reading = readHeaderName(input);
  return 'value' in reading && ownHeaders.has(reading.value)
    ? { expected: 'a field that is not one of `Host`, the connection, conditions, ranges or the body' }
    : reading;
}

function readTarget(input: unknown): Reading<string> {
  const reading = readHeaderName(input);
  // It speaks to all caches, and is read with more patience.
  return 'value' in reading && reading.value === 'cache-control'
    ? { expected: "a field for some caches only, such as 'CDN-Cache-Control'" }
    : reading;
}

const checkSizes: SectionCheck = (given, report) => {
  const memory = isPlainObject(given.memory) ? given.memory : {};
  const maxBytes = readSize(memory.maxBytes ?? defaultMaxBytes);
  const maxEntryBytes = readSize(given.maxEntryBytes);
  if ('value' in maxBytes && 'value' in maxEntryBytes && maxEntryBytes.value > maxBytes.value) {
    report('maxEntryBytes', 'is more than `memory.maxBytes`, so such an entry could never be kept');
  }
};

const optionsSchema = section(entries, checkSizes);
const standaloneSchema = section(
  {
    ...entries,
    routes: v.optional(mapOf(readPattern, objectOr(cacheRuleSchema, [false], 'a cache rule or false')), {}),
  },
  checkSizes,
);

/** Reads the section. */
export const cacheSchema: Schema<CacheSettings> = v.pipe(optionsSchema, v.transform(complete));

/**
 * Resolves the section's options.
 * @param path where they stand, for messages.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function resolveCache(input?: CacheOptions, path = 'cache'): CacheSettings {
  return resolve(cacheSchema, input, path);
}

/** Resolves the options of `responseCache()` used alone; throws as `resolveCache` does. */
export function resolveCacheStandalone(
  options?: StandaloneCacheOptions,
  path = 'responseCache',
): { settings: CacheSettings; routes: RouteTable<CacheRoutePolicies> } {
  const { routes, ...settings } = resolve(standaloneSchema, options, path);
  const policies = Object.entries(routes).map(
    ([pattern, cache]) => [pattern, Object.freeze({ cache })] as const,
  );
  return { settings: complete(settings), routes: compileRoutes(Object.fromEntries(policies)) };
}

/** What depends on several options: the largest entry fits the tier, and a Redis without address is none. */
function complete(options: v.InferOutput<typeof optionsSchema>): CacheSettings {
  const { redis, ...rest } = options;
  const maxEntryBytes = options.maxEntryBytes ?? Math.min(defaultMaxEntryBytes, options.memory.maxBytes);
  const targets = Object.freeze(options.targets ?? (options.profile === 'safe' ? [] : [...standardTargets]));
  const refreshHeaders = Object.freeze(
    Object.fromEntries(
      Object.entries(rest.refreshHeaders).map(([name, value]) => [name.toLowerCase(), value]),
    ),
  );
  const settings = { ...rest, maxEntryBytes, targets, refreshHeaders };
  return Object.freeze(redis ? { ...settings, redis } : settings);
}

function readStatusHeader(input: unknown): Reading<CacheSettings['statusHeader']> {
  return typeof input === 'boolean' || input === 'key'
    ? { value: input }
    : { expected: "true, false or 'key'" };
}
