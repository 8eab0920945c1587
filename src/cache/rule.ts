import * as v from 'valibot';
import { canonicalHost } from '../http/canonical-url.js';
import { isPlainObject } from '../options/format-value.js';
import { type LifetimeName, type Lifetimes, noLifetimes, readTtlWith } from '../options/lifetimes.js';
import type { CacheContext } from '../options/request-types.js';
import { leaf, list, resolve, type Schema, type SectionCheck, section } from '../options/schema.js';
import { type Duration, readDuration } from '../options/units.js';
import type { ValidationResult, Validator } from '../options/validation-result.js';
import {
  booleanValidator,
  readFunction,
  readHeaderName,
  readHeaderPattern,
  readInteger,
  readName,
  readPartialShare,
  readPositiveDuration,
  readShare,
  readTimerDuration,
  readToken,
  readWord,
} from '../options/validators.js';

/** Query parameters that only track clients, as advertising networks and mail services add them to links. */
export const TRACKING_PARAMETERS: readonly string[] = Object.freeze([
  ...['utm_*', 'pk_*', 'piwik_*', 'mtm_*', 'matomo_*', '_ga', '_gl', '_openstat'],
  ...['gclid', 'gclsrc', 'gbraid', 'wbraid', 'dclid', 'gad_source', 'gad_campaignid', 'srsltid'],
  ...['fbclid', 'igsh', 'igshid', 'msclkid', 'twclid', 'ttclid', 'li_fat_id', 'epik', 'ScCid', 'rdt_cid'],
  ...['yclid', 'ysclid', 'ymclid', 'irclickid', 'cjevent', 'wickedid', 'rb_clickid', '_branch_match_id'],
  ...['mc_cid', 'mc_eid', 'mkt_tok', '_hsenc', '_hsmi', '__hssc', '__hstc', '__hsfp', 'hsCtaTracking'],
  ...['oly_anon_id', 'oly_enc_id', 'vero_conv', 'vero_id', '_kx'],
]);

/** How one route is cached. A rule never overrides a handler that sends `private`, `no-store` or its own lifetime. */
export interface CacheRule {
  /**
   * How long this cache serves a response when the handler gives no lifetime, such as `'1h'`, or the name of one of
   * `cache.lifetimes`. `hotpath()` sends browsers
   * `no-cache`, whatever the `ttl`, unless the handler or `cacheControl` says otherwise; `cacheControl: 'as-cached'` sends
   * them the freshness left. Greater than 0. Default: none.
   */
  ttl?: Duration | LifetimeName | undefined;
  /** How long after its lifetime a response is served stale while the cache refreshes it (RFC 5861 §3). Needs `ttl`. Default: none. */
  staleWhileRevalidate?: Duration | undefined;
  /** How long after its lifetime a response replaces a 5xx, an exception or a timeout (RFC 5861 §4). Needs `ttl`. Default: none. */
  staleIfError?: Duration | undefined;
  /** The time limit of a refresh, and of a client's own request while a stale response may replace an error. The stale response is served after it. At most one day. Default: 30 seconds for a refresh. */
  timeout?: Duration | undefined;
  /** How long a client waits for a refresh before it gets the stale response; the refresh goes on. Needs `ttl`; at most `timeout`. Default: `timeout`, or without it `cache.waitTimeout`. */
  softTimeout?: Duration | undefined;
  /** Share of the lifetime, between 0 and 1, such as 0.8. After it, the next request refreshes the response in the background while it is still fresh. Needs `ttl`. Default: none. */
  eagerRefresh?: number | undefined;
  /** Share of `ttl`, 0 to 1, by which lifetimes are shortened at random, so that entries do not all expire together. Needs `ttl`. Default: `0`. */
  jitter?: number | undefined;
  /**
   * Status codes that may be stored, from 200 to 599. Those that answer one request or client alone are refused: 206,
   * 304, 401, 407, 408, 412, 413, 416, 417, 421, 425, 426, 428, 429 and 431. `{ except: [404] }`: those that caches may
   * store by default (RFC 9110 §15.1: 200, 203, 204, 300, 301, 308, 404, 405, 410, 501), without the ones given.
   * Default: `[200, 301, 308]`.
   */
  statuses?: readonly number[] | { readonly except: readonly number[] } | undefined;
  /**
   * Names for purging entries together: a list, or a function that returns one. `'inherit'`: the tags of the cached
   * functions that the handler calls; the response then lives no longer than their results. Default: none.
   */
  tags?: 'inherit' | readonly string[] | ((context: CacheContext) => readonly string[]) | undefined;
  /** Parts of the request that the key holds besides method, scheme, host and path. */
  vary?: CacheVary | undefined;
  /**
   * `'ignore'`: requests with cookies get the stored response too, and it is made without cookies. Where nothing is
   * stored, such a request gets its own response, which is not stored, and a background request without cookies fills the
   * entry. Not together with `vary.cookies`, `vary.headers: ['cookie']` or `partition`. Default: a request with cookies is
   * personal.
   */
  cookies?: 'ignore' | undefined;
  /** Query parameters that do not change the response, such as `'utm_*'` (a trailing `*` matches any ending). `'tracking'`: those that only track clients (`TRACKING_PARAMETERS`: `utm_*`, `gclid`, `fbclid` and others). The handler does not see them. Not together with `vary.query`. Default: none. */
  ignoreQuery?: readonly string[] | 'tracking' | undefined;
  /** Response headers that are left out of the stored response, so that hits do not have them; a trailing `*` matches any ending. Not `Vary` or `Content-*`. Default: none. */
  omitHeaders?: readonly string[] | undefined;
  /** Returns the owner of the response, such as a user id; each owner has its own entries. The cache is bypassed if it returns nothing or throws. Default: one entry for all clients. */
  partition?: ((context: CacheContext) => string | number | undefined | null) | undefined;
  /** Declares that the response is the same for every client, so that the front door (`attach`) may serve it before Express runs. Not together with `partition`. Default: `false`. */
  shared?: boolean | undefined;
  /** Whether requests for a missing entry wait for the request that fills it. They wait in this process (`true`, `'instance'`), on all instances that share a Redis (`'cluster'`), or not (`false`). Default: `'instance'`. */
  collapse?: boolean | 'instance' | 'cluster' | undefined;
  /** Returns whether the cache may handle a request; an exception means no. Default: always. */
  when?: ((context: CacheContext) => boolean) | undefined;
}

/** Parts of the request that the key of an entry holds. */
export interface CacheVary {
  /** The only query parameters that matter; the handler sees no others. Default: all. */
  query?: readonly string[] | undefined;
  /** Request headers that matter besides those that the response names in `Vary`. Default: none. */
  headers?: readonly string[] | undefined;
  /** Cookies that matter. `[]` declares that no cookie matters, so that requests with cookies can be cached. Default: not declared; a request with cookies is personal. */
  cookies?: readonly string[] | undefined;
  /**
   * `false`: all hosts share the entries. A name such as `'www.example.com'`: so they do, and the entries are stored and
   * shown under it. For an app whose names all give the same responses. A response that contains the request's host would
   * reach clients of the others, and a client may send any host. Default: each host has its own entries.
   */
  host?: false | string | undefined;
}

/** A resolved cache rule: durations in seconds, header names in lower case. */
export type CacheRuleSettings = v.InferOutput<ReturnType<typeof createRuleSchema>>;

/** Resolved `vary` of a rule. */
export type CacheVarySettings = CacheRuleSettings['vary'];

/** The options of a rule besides `ttl`. */
const ruleEntries = {
  staleWhileRevalidate: v.optional(leaf(readDuration)),
  staleIfError: v.optional(leaf(readDuration)),
  timeout: v.optional(leaf(readTimeout)),
  softTimeout: v.optional(leaf(readTimerDuration)),
  eagerRefresh: v.optional(leaf(readPartialShare)),
  jitter: v.optional(leaf(readShare), 0),
  statuses: v.optional(leaf(readStatuses), [200, 301, 308]),
  tags: v.optional(tagsSchema(), []),
  vary: v.optional(
    section({
      query: v.optional(names(readName, 'query parameters')),
      headers: v.optional(names(readHeaderName, 'request headers'), []),
      cookies: v.optional(names(readToken, 'cookies')),
      host: v.optional(leaf(readSharedHost)),
    }),
    {},
  ),
  cookies: v.optional(leaf(readWord('ignore'))),
  ignoreQuery: v.optional(ignoreQuerySchema(), []),
  omitHeaders: v.optional(names(readOmittedHeader, 'response headers')),
  partition: v.optional(leaf(readFunction<NonNullable<CacheRule['partition']>>())),
  shared: v.optional(leaf(booleanValidator), false),
  collapse: v.optional(leaf(readCollapse), 'instance'),
  when: v.optional(leaf(readFunction<NonNullable<CacheRule['when']>>())),
} satisfies v.ObjectEntries;

const checkRule: SectionCheck = (given, report) => {
  for (const key of ['staleWhileRevalidate', 'staleIfError', 'softTimeout', 'eagerRefresh', 'jitter']) {
    if (given[key] !== undefined && given.ttl === undefined) {
      report(key, 'has no effect without `ttl`; set `ttl`');
    }
  }
  if (given.shared === true && given.partition !== undefined) {
    report(
      'shared',
      'conflicts with `partition`; set only one: a response is either the same for everyone or one per partition',
    );
  }
  if (isPlainObject(given.vary) && given.vary.query !== undefined && given.ignoreQuery !== undefined) {
    report(
      'ignoreQuery',
      'has no effect with `vary.query`, which already ignores all other parameters; set only one',
    );
  }
  if (given.cookies !== undefined) checkCookies(given, report);
  const timeout = readDuration(given.timeout);
  const softTimeout = readDuration(given.softTimeout);
  if ('value' in timeout && 'value' in softTimeout && timeout.value < softTimeout.value) {
    report('softTimeout', 'is longer than `timeout`, so it has no effect; set a shorter one');
  }
};

/** Schema of a rule. @param lifetimes names that `ttl` may have. */
export function createRuleSchema(lifetimes: Lifetimes) {
  return section({ ttl: v.optional(leaf(readTtlWith(lifetimes))), ...ruleEntries }, checkRule, (key) =>
    key === 'cache'
      ? "not an option of a rule; write its options without `cache` around them: { ttl: '1h' }"
      : undefined,
  );
}

/** `cookies: 'ignore'` promises that no cookie reaches an entry, so nothing else may put one into the key. */
const checkCookies: SectionCheck = ({ vary, partition }, report) => {
  const { cookies, headers } = isPlainObject(vary) ? vary : {};
  const isNamed = (name: unknown) => typeof name === 'string' && name.toLowerCase() === 'cookie';
  if (cookies !== undefined) report('cookies', 'conflicts with `vary.cookies`; set only one');
  if (Array.isArray(headers) && headers.some(isNamed))
    report('cookies', "conflicts with `vary.headers: ['cookie']`; set only one");
  if (partition !== undefined) {
    report('cookies', 'conflicts with `partition`, whose entries only the owners can fill; set only one');
  }
};

/**
 * Resolves a rule.
 * @param path the path of the rule in the config, for messages.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function resolveCacheRule(
  rule: CacheRule,
  path = 'rule',
  lifetimes: Lifetimes = noLifetimes,
): CacheRuleSettings {
  return resolve(createRuleSchema(lifetimes), rule, path);
}

function names(read: Validator<string>, what: string): Schema<readonly string[]> {
  return list(leaf(read), `a list of names of ${what}`);
}

type Tags = 'inherit' | readonly string[] | ((context: CacheContext) => readonly string[]);

function tagsSchema(): Schema<Tags> {
  const fixed = list(leaf(readName), "a list of tags, a function that returns one, or 'inherit'");
  const inherited = leaf<Tags>(() => ({ value: 'inherit' }));
  const computed = leaf(readFunction<(context: CacheContext) => readonly string[]>());
  return v.lazy((input): Schema<Tags> => {
    if (input === 'inherit') return inherited;
    return typeof input === 'function' ? computed : fixed;
  });
}

function ignoreQuerySchema(): Schema<readonly string[]> {
  const listed = list(leaf(readQueryPattern), "'tracking', or a list of names of query parameters");
  const tracking = leaf<readonly string[]>(() => ({ value: TRACKING_PARAMETERS }));
  return v.lazy((input): Schema<readonly string[]> => (input === 'tracking' ? tracking : listed));
}

/** A stored response would be read wrongly without `Vary` and `Content-*`. */
function readOmittedHeader(input: unknown): ValidationResult<string> {
  const reading = readHeaderPattern(input);
  if (!('value' in reading)) return reading;
  const { value } = reading;
  const beginning = value.endsWith('*') ? value.slice(0, -1) : undefined;
  const isNeeded = ['vary', 'content-'].some(
    (name) => value.startsWith(name) || (beginning !== undefined && name.startsWith(beginning)),
  );
  return isNeeded ? { expected: 'the name of a response header other than `Vary` and `Content-*`' } : reading;
}

function readSharedHost(input: unknown): ValidationResult<false | string> {
  if (input === false) return { value: false };
  const isHost = typeof input === 'string' && /^[a-z0-9._-]+(?::\d{1,5})?$/i.test(input);
  return isHost && URL.canParse(`http://${input}`)
    ? { value: canonicalHost(input) }
    : { expected: "false, or the name of a host such as 'www.example.com'" };
}

function readTimeout(input: unknown): ValidationResult<number> {
  const reading = readPositiveDuration(input);
  return 'value' in reading ? readTimerDuration(input) : reading;
}

/** Status codes that respond to one request or client, and are not valid for others. */
const FOR_ONE: ReadonlySet<unknown> = new Set([
  ...[206, 304], // a part, and a response without its body
  ...[401, 407], // a challenge to one client
  ...[408, 425, 429], // caused by the speed of one client
  ...[412, 413, 416, 417, 421, 426, 428, 431], // caused by the headers, the body or the connection of one request
]);

/** Status codes that caches may store by default (RFC 9110 §15.1), less those for one request. */
const BY_DEFAULT: readonly number[] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 501];

function readStatuses(input: unknown): ValidationResult<ReadonlySet<number>> {
  if (isPlainObject(input)) return readOtherStatuses(input);
  const storable = (status: unknown) => 'value' in readInteger(200, 599)(status) && !FOR_ONE.has(status);
  if (Array.isArray(input) && input.length > 0 && input.every(storable))
    return { value: new Set<number>(input) };
  const forOne = [...FOR_ONE].join(', ');
  return {
    expected: `a list of status codes from 200 to 599, not empty, without those for one request or client alone (${forOne})`,
  };
}

function readOtherStatuses({
  except,
  ...others
}: Record<string, unknown>): ValidationResult<ReadonlySet<number>> {
  const isList =
    Array.isArray(except) && except.length > 0 && except.every((code) => BY_DEFAULT.includes(code));
  if (isList && Object.keys(others).length === 0)
    return { value: new Set(BY_DEFAULT.filter((code) => !except.includes(code))) };
  return {
    expected: `{ except: […] } with some of the status codes that it covers (${BY_DEFAULT.join(', ')})`,
  };
}

function readQueryPattern(input: unknown): ValidationResult<string> {
  const reading = readName(input);
  return 'value' in reading && /^[^*]+\*?$/.test(reading.value)
    ? reading
    : { expected: "the name of a query parameter, such as 'fbclid' or 'utm_*' (a `*` only at its end)" };
}

function readCollapse(input: unknown): ValidationResult<false | 'instance' | 'cluster'> {
  if (input === false) return { value: false };
  if (input === true) return { value: 'instance' };
  const reading = readWord('instance', 'cluster')(input);
  return 'value' in reading ? reading : { expected: `true, false, ${reading.expected}` };
}
