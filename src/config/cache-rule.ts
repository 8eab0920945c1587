import * as v from 'valibot';
import type { CacheContext } from './context.js';
import { isPlainObject } from './describe.js';
import {
  readBoolean,
  readFunction,
  readHeaderName,
  readInteger,
  readName,
  readPartialShare,
  readPositiveDuration,
  readShare,
  readTimerDuration,
  readToken,
  readWord,
} from './readers.js';
import type { Reader, Reading } from './reading.js';
import { leaf, list, resolve, type Schema, section } from './schema.js';
import { type Duration, readDuration } from './units.js';

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
  /** Share of its lifetime, between 0 and 1, after which the next request for a response has it refreshed in the background, while it is still fresh. Needs `ttl`. Default: none, it is refreshed when it is stale. */
  eagerRefresh?: number;
  /** Share of `ttl`, 0 to 1, by which lifetimes are shortened at random, so that entries do not expire together. Needs `ttl`. Default 0. */
  jitter?: number;
  /** Status codes that may be stored: 200 to 599 without those that answer one request or one client alone (206, 304, 401, 407, 408, 412, 413, 416, 417, 421, 425, 426, 428, 429, 431). A 5xx or a 204 is stored where it is listed. Default `[200, 301, 308]`. */
  statuses?: readonly number[];
  /** Names by which entries are purged together. Default none. */
  tags?: readonly string[] | ((context: CacheContext) => readonly string[]);
  /** What distinguishes one response from another, besides method, host and path. */
  vary?: CacheVary;
  /** Query parameters that change nothing, such as `'utm_*'` (a trailing `*` stands for any ending). Not together with `vary.query`. Default none. */
  ignoreQuery?: readonly string[];
  /** Whose response this is. An empty answer, or a throw, means that the cache is bypassed. Default: everybody's. */
  partition?: (context: CacheContext) => string | number | undefined | null;
  /** The response is the same for everybody, so the front door (`attach`) may serve it before anything of the app runs. Not together with `partition`. Default `false`. */
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
  readonly eagerRefresh?: number;
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

/** Reads a rule. */
export const cacheRuleSchema: Schema<CacheRuleSettings> = section(
  {
    ttl: v.optional(leaf(readTtl)),
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
      }),
      {},
    ),
    ignoreQuery: v.optional(names(readQueryPattern, 'query parameters'), []),
    partition: v.optional(leaf(readFunction<NonNullable<CacheRule['partition']>>())),
    shared: v.optional(leaf(readBoolean), false),
    collapse: v.optional(leaf(readCollapse), 'instance'),
    when: v.optional(leaf(readFunction<NonNullable<CacheRule['when']>>())),
  },
  (given, report) => {
    for (const key of ['staleWhileRevalidate', 'staleIfError', 'softTimeout', 'eagerRefresh', 'jitter']) {
      if (given[key] !== undefined && given.ttl === undefined) {
        report(key, 'means nothing without `ttl`: the rule gives no lifetime that could end');
      }
    }
    if (given.shared === true && given.partition !== undefined) {
      report(
        'shared',
        'contradicts `partition`: a response is either the same for everybody or one per partition',
      );
    }
    if (isPlainObject(given.vary) && given.vary.query !== undefined && given.ignoreQuery !== undefined) {
      report(
        'ignoreQuery',
        'has no effect beside `vary.query`, which already ignores every parameter it does not name',
      );
    }
    const timeout = readDuration(given.timeout);
    const softTimeout = readDuration(given.softTimeout);
    if ('value' in timeout && 'value' in softTimeout && timeout.value < softTimeout.value) {
      report('softTimeout', 'is longer than `timeout`, so it would never be reached');
    }
  },
);

/**
 * Resolves a rule.
 * @param path where it stands, for messages.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function resolveCacheRule(rule: CacheRule, path = 'rule'): CacheRuleSettings {
  return resolve(cacheRuleSchema, rule, path);
}

function names(read: Reader<string>, what: string): Schema<readonly string[]> {
  return list(leaf(read), `a list of names of ${what}`);
}

function tagsSchema(): Schema<CacheRuleSettings['tags']> {
  const fixed = list(leaf(readName), 'a list of tags, or a function that gives one');
  const computed = leaf(readFunction<(context: CacheContext) => readonly string[]>());
  return v.lazy(
    (input): Schema<CacheRuleSettings['tags']> => (typeof input === 'function' ? computed : fixed),
  );
}

function readTtl(input: unknown): Reading<number> {
  const reading = readDuration(input);
  if ('value' in reading && reading.value === 0) {
    return {
      expected: 'a duration greater than 0 (to cache nothing, leave the rule out or write `cache: false`)',
    };
  }
  return reading;
}

function readTimeout(input: unknown): Reading<number> {
  const reading = readPositiveDuration(input);
  return 'value' in reading ? readTimerDuration(input) : reading;
}

/** Statuses that answer one request, or one client, and are no response to any other. */
const FOR_ONE: ReadonlySet<unknown> = new Set([
  ...[206, 304], // a part, and a response without its body
  ...[401, 407], // a challenge to one client
  ...[408, 425, 429], // of one client's pace
  ...[412, 413, 416, 417, 421, 426, 428, 431], // of the headers, the body or the connection of one request
]);

function readStatuses(input: unknown): Reading<ReadonlySet<number>> {
  const storable = (status: unknown) => 'value' in readInteger(200, 599)(status) && !FOR_ONE.has(status);
  if (Array.isArray(input) && input.length > 0 && input.every(storable))
    return { value: new Set<number>(input) };
  const forOne = [...FOR_ONE].join(', ');
  return {
    expected: `a list of status codes from 200 to 599, not empty, without those for one request or client alone (${forOne})`,
  };
}

function readQueryPattern(input: unknown): Reading<string> {
  const reading = readName(input);
  return 'value' in reading && /^[^*]+\*?$/.test(reading.value)
    ? reading
    : { expected: "the name of a query parameter, such as 'fbclid' or 'utm_*' (a `*` only at its end)" };
}

function readCollapse(input: unknown): Reading<CacheRuleSettings['collapse']> {
  if (input === false) return { value: false };
  if (input === true) return { value: 'instance' };
  const reading = readWord('instance', 'cluster')(input);
  return 'value' in reading ? reading : { expected: `true, false, ${reading.expected}` };
}
