import * as v from 'valibot';
import { describeSecret, isPlainObject } from '../options/format-value.js';
import { findLifetimes, readLifetimeName, readTtl } from '../options/lifetimes.js';
import { leaf, list, mapOf, objectOr, type SectionCheck, section } from '../options/schema.js';
import { resolveStandalone } from '../options/standalone.js';
import { type Duration, readDuration, readSize, type Size } from '../options/units.js';
import type { ValidationResult } from '../options/validation-result.js';
import {
  readFunction,
  readHeaderName,
  readHeaderPattern,
  readInteger,
  readPositiveDuration,
  readPositiveSize,
  readTimerDuration,
  readWord,
  validateHeaderText,
} from '../options/validators.js';
import { type RedisOptions, redisSchema } from '../store/redis/options.js';
import { type CacheRule, type CacheRuleSettings, createRuleSchema } from './rule.js';

export type { CacheContext } from '../options/request-types.js';
export type { RedisClient, RedisOptions, RedisSettings } from '../store/redis/options.js';
export {
  type CacheRule,
  type CacheRuleSettings,
  type CacheVary,
  type CacheVarySettings,
  resolveCacheRule,
  TRACKING_PARAMETERS,
} from './rule.js';

/** Options of the response cache. */
export interface CacheOptions {
  /** The memory tier of this process. */
  memory?:
    | {
        /** The most bytes of all entries together: bodies, keys, headers and tags. Default: `'64mb'`. */
        maxBytes?: Size | undefined;
        /** The most entries. Default: `10_000`. */
        maxEntries?: number | undefined;
      }
    | undefined;
  /** The Redis tier, and the invalidation log that instances share. Default: none. */
  redis?: RedisOptions | undefined;
  /** Which responses may be stored. `'safe'`: those that declare themselves public or that a rule covers. `'rfc9111'`: everything that the standard allows a shared cache. Default: `'safe'`. */
  profile?: 'safe' | 'rfc9111' | undefined;
  /**
   * Response headers that address this cache instead of `Cache-Control`, the most specific first (RFC 9213 §2.2). If one
   * is present and valid, this cache ignores `Cache-Control`, `Expires` and `Pragma`; clients still get all of them.
   * With `'surrogate-control'`, handlers see `Surrogate-Capability: hotpath=…`. An app behind its own CDN sets `[]` or a
   * header of its own; otherwise the cache obeys headers that are meant for the CDN. Default: `[]`;
   * `['cdn-cache-control', 'surrogate-control']` with `profile: 'rfc9111'`.
   */
  targets?: readonly string[] | undefined;
  /** Whether the client's `Cache-Control` (RFC 9111 §5.2.1) can force a fresh response. With `'honor'`, any client can make your handlers run. Default: `'ignore'`. */
  requestDirectives?: 'ignore' | 'honor' | undefined;
  /** Lifetimes by name, such as `{ database: '30m', ai: '1h' }`. A rule or a function then has `ttl: 'ai'`. Default: none. */
  lifetimes?: Readonly<Record<string, Duration>> | undefined;
  /** How long entries are served after contact with the shared invalidation log is lost. Default: `'5s'`. */
  maxStaleness?: Duration | undefined;
  /** The largest body that is stored; at most `memory.maxBytes`. Default: `'1mb'`. */
  maxEntryBytes?: Size | undefined;
  /**
   * Credentials that make a request personal: names of request headers, and `client-certificate`. The latter is a
   * certificate that the client has presented, to this server or to a proxy that sends `Client-Cert` (RFC 9440). Your
   * list replaces the default, so name `client-certificate` in it too. Default:
   * `['authorization', 'cookie', 'x-api-key', 'proxy-authorization', 'client-certificate']`.
   */
  credentials?: readonly string[] | undefined;
  /**
   * Response headers that belong to one response, such as an id, and are not stored. A trailing `*` matches any ending
   * (`'x-acme-*'`). Your list is added to the headers that hotpath knows. Default: none.
   */
  perResponseHeaders?: readonly string[] | undefined;
  /** How long a request waits for another request that fills the same entry; then it runs the handler itself. At most one day. Default: `'5s'`. */
  waitTimeout?: Duration | undefined;
  /** How long a key with an uncacheable response is remembered; 0: not at all. Its requests do not wait for each other, and its handler sees their conditions. Default: `'2m'`. */
  hitForMiss?: Duration | undefined;
  /**
   * How many background refreshes run at once, from 1 to 10,000. Others wait; those that a client waits for go first. If
   * more than 256 wait, the oldest is dropped. Default: `32`.
   */
  refreshConcurrency?: number | undefined;
  /**
   * Headers that every background refresh carries, so that an access check in your app accepts it. Not `Host`, nor headers of
   * the connection, conditions, ranges or the body. Default: none.
   */
  refreshHeaders?: Readonly<Record<string, string>> | undefined;
  /**
   * How the cache treats a 401, 403 or 429 to a background refresh. `'foreground'`: stale serving ends, and the next
   * client's own request runs the handler. `'stale'`: stale responses are still served, for an app that sheds load with
   * these codes. Default: `'foreground'`.
   */
  refreshRefused?: 'foreground' | 'stale' | undefined;
  /** How long a key gets no background refresh after a refused one. Doubles with each further refusal, up to an hour. Greater than 0. Default: `'2m'`. */
  noBackgroundRefresh?: Duration | undefined;
  /** How long stale responses are served without another refresh after a failed one. Doubles with each further failure, up to 30 s; 0: not at all. Default: `'1s'`. */
  refreshBackoff?: Duration | undefined;
  /** Whether responses carry `X-Cache` and `Cache-Status` (RFC 9211), which show clients whether a response came from the cache, and why. `'key'` adds scheme, host, path and query. Default: `true`. */
  statusHeader?: boolean | 'key' | undefined;
  /** Called with every error that did not reach the client; `where` names the part. Default: a process warning. */
  onError?: ((error: unknown, where: string) => void) | undefined;
}

/** Resolved options of the response cache: durations in seconds, sizes in bytes, header names in lower case. */
export type CacheSettings = ReturnType<typeof complete>;

/** Options of `responseCache()` used alone. */
export interface StandaloneCacheOptions extends CacheOptions {
  /** Rules by path, in Express 5 syntax; the first match wins; `false`: never cached. Default: none. */
  routes?: Readonly<Record<string, CacheRule | false>> | undefined;
}

/** The part of a route's policies that the cache reads. */
export interface CacheRoutePolicies {
  readonly cache?: CacheRuleSettings | false | undefined;
}

const defaultMaxBytes = 64 * 1024 ** 2;
const defaultMaxEntryBytes = 1024 ** 2;

const entries = {
  memory: v.optional(
    section({
      // Not 0: an LRU cache would treat it as unlimited.
      maxBytes: v.optional(leaf(readPositiveSize), defaultMaxBytes),
      maxEntries: v.optional(leaf(readInteger(1)), 10_000),
    }),
    {},
  ),
  redis: v.optional(redisSchema),
  profile: v.optional(leaf(readWord('safe', 'rfc9111')), 'safe'),
  targets: v.optional(list(leaf(validateTargetField), 'a list of names of response headers')),
  requestDirectives: v.optional(leaf(readWord('ignore', 'honor')), 'ignore'),
  lifetimes: v.optional(mapOf(readLifetimeName, leaf(readTtl), 'names of lifetimes'), {}),
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
    mapOf(readRefreshHeader, leaf(validateHeaderText, describeSecret), 'names of request headers'),
    {},
  ),
  refreshRefused: v.optional(leaf(readWord('foreground', 'stale')), 'foreground'),
  noBackgroundRefresh: v.optional(leaf(readPositiveDuration), '2m'),
  refreshBackoff: v.optional(leaf(readDuration), '1s'),
  statusHeader: v.optional(leaf(readStatusHeader), true),
  onError: v.optional(leaf(readFunction<NonNullable<CacheOptions['onError']>>())),
};

/** The target lists of a shared cache at the origin, from RFC 9213 and its predecessor. */
const standardTargets = ['cdn-cache-control', 'surrogate-control'] as const;

/** Headers that a refresh takes from its key or entry, or that would make it another kind of request. */
const ownHeaders: ReadonlySet<string> = new Set([
  ...['host', 'connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'upgrade', 'expect'],
  ...['content-length', 'content-type', 'transfer-encoding', 'range', 'if-range'],
  ...['if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since'],
]);

/** Reads the name of a header that internal requests may carry, in lower case. */
export function readRefreshHeader(input: unknown): ValidationResult<string> {
  const reading = readHeaderName(input);
  return 'value' in reading && ownHeaders.has(reading.value)
    ? { expected: 'a field that is not one of `Host`, the connection, conditions, ranges or the body' }
    : reading;
}

function validateTargetField(input: unknown): ValidationResult<string> {
  const reading = readHeaderName(input);
  // All caches read it, so it can't be a targeted field.
  return 'value' in reading && reading.value === 'cache-control'
    ? { expected: "a field for some caches only, such as 'CDN-Cache-Control'" }
    : reading;
}

const checkSizes: SectionCheck = (given, report) => {
  const memory = isPlainObject(given.memory) ? given.memory : {};
  const maxBytes = readSize(memory.maxBytes ?? defaultMaxBytes);
  const maxEntryBytes = readSize(given.maxEntryBytes);
  if ('value' in maxBytes && 'value' in maxEntryBytes && maxEntryBytes.value > maxBytes.value) {
    report(
      'maxEntryBytes',
      'is more than `memory.maxBytes`, so such an entry would not fit; set a smaller one',
    );
  }
};

const optionsSchema = section(entries, checkSizes);

/** Schema of the section. */
export const cacheSchema = v.pipe(optionsSchema, v.transform(complete));

/**
 * Resolves the options of `responseCache()` used alone.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function resolveCacheStandalone(options?: StandaloneCacheOptions) {
  const policy = objectOr(createRuleSchema(findLifetimes(options)), [false], 'a cache rule or false');
  const cache = { key: 'cache', entries, policy, check: checkSizes } as const;
  const { settings, routes } = resolveStandalone(cache, options, 'responseCache');
  return { settings: complete(settings), routes };
}

/** Completes options that depend on each other: the largest entry fits the tier; Redis without an address is off. */
function complete(options: v.InferOutput<typeof optionsSchema>) {
  const maxEntryBytes = options.maxEntryBytes ?? Math.min(defaultMaxEntryBytes, options.memory.maxBytes);
  const targets = Object.freeze(options.targets ?? (options.profile === 'safe' ? [] : [...standardTargets]));
  const refreshHeaders = Object.freeze(
    Object.fromEntries(
      Object.entries(options.refreshHeaders).map(([name, value]) => [name.toLowerCase(), value]),
    ),
  );
  return Object.freeze({ ...options, maxEntryBytes, targets, refreshHeaders });
}

function readStatusHeader(input: unknown): ValidationResult<boolean | 'key'> {
  return typeof input === 'boolean' || input === 'key'
    ? { value: input }
    : { expected: "true, false or 'key'" };
}
