import * as v from 'valibot';
import { leaf, type Schema, section } from '../../options/schema.js';
import { resolveStandalone } from '../../options/standalone.js';
import type { Duration } from '../../options/units.js';
import type { ValidationResult } from '../../options/validation-result.js';
import { booleanValidator, readWholeSeconds } from '../../options/validators.js';

const policyForms = "'immutable', 'no-store', 'private', 'no-cache', 'as-cached' or an object of directives";

/** Response directives of `Cache-Control`: RFC 9111 §5.2.2, RFC 5861, RFC 8246. Durations are whole seconds. */
export interface CacheControlDirectiveOptions {
  /** Any cache may store the response, even to a request with `Authorization` (§5.2.2.9). */
  public?: boolean | undefined;
  /** Only the client's own cache may store it (§5.2.2.7). */
  private?: boolean | undefined;
  /** No cache may store it (§5.2.2.5). */
  noStore?: boolean | undefined;
  /** May be stored, but must be revalidated before each use (§5.2.2.4). */
  noCache?: boolean | undefined;
  /** Intermediaries may not change the body (§5.2.2.6). */
  noTransform?: boolean | undefined;
  /** Must be revalidated once it is stale (§5.2.2.2). */
  mustRevalidate?: boolean | undefined;
  /** `mustRevalidate` for shared caches only (§5.2.2.8). */
  proxyRevalidate?: boolean | undefined;
  /** Only caches that know the rules of the status code may store it (§5.2.2.3). */
  mustUnderstand?: boolean | undefined;
  /** How long the response is fresh (§5.2.2.1). */
  maxAge?: Duration | undefined;
  /** The same for shared caches (§5.2.2.10). */
  sMaxage?: Duration | undefined;
  /** How long a stale response may be served while it is refreshed (RFC 5861 §3). */
  staleWhileRevalidate?: Duration | undefined;
  /** How long a stale response may replace an error (RFC 5861 §4). */
  staleIfError?: Duration | undefined;
  /** The body never changes while it is fresh, so a reload need not revalidate it (RFC 8246). */
  immutable?: boolean | undefined;
}

/**
 * A preset, or an object of directives. The presets:
 * - `'immutable'`: `public, max-age=31536000, immutable`, for files with a hash in their name. Serve them with
 *   `express.static(dir, { cacheControl: false })`, because the header that `express.static` sends is kept.
 * - `'no-store'`: `no-store`.
 * - `'private'`: `private, no-cache`. Only the client's browser keeps it, and revalidates it on each use.
 * - `'no-cache'`: `no-cache`. Any cache may keep it, and revalidates it on each use.
 * - `'as-cached'`: `max-age` with the lifetime that the response cache uses. So with `Age` clients keep a response
 *   for as long as it is fresh there; `no-cache` if it is not stored. A purge does not reach clients.
 */
export type CacheControlPolicy =
  | 'immutable'
  | 'no-store'
  | 'private'
  | 'no-cache'
  | 'as-cached'
  | CacheControlDirectiveOptions;

/** Options of the Cache-Control middleware. */
export interface CacheControlOptions {
  /** The policy of responses for which neither the handler nor the route sets one; `false`: none. Default: `'no-cache'`. */
  default?: CacheControlPolicy | false | undefined;
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
  /** `max-age` follows the lifetime in the response cache. */
  readonly asCached?: true;
}

/** Resolved options of the Cache-Control middleware. */
export interface CacheControlSettings {
  /** `undefined`: responses without a policy stay unchanged. */
  readonly default?: ResolvedCacheControl | undefined;
}

/** Options of `cacheControl()` used alone. */
export interface StandaloneCacheControlOptions extends CacheControlOptions {
  /** Policies by path, in Express 5 syntax; the first match wins; `false`: unchanged. */
  routes?: Readonly<Record<string, CacheControlPolicy | false>> | undefined;
}

/** The part of a route's policies that Cache-Control reads. */
export interface CacheControlRoutePolicies {
  readonly cacheControl?: ResolvedCacheControl | false | undefined;
}

const presets: Readonly<Record<string, ResolvedCacheControl>> = Object.freeze({
  immutable: Object.freeze({ public: true, maxAge: 31_536_000, immutable: true }),
  'no-store': Object.freeze({ noStore: true }),
  private: Object.freeze({ private: true, noCache: true }),
  'no-cache': Object.freeze({ noCache: true }),
  'as-cached': Object.freeze({ noCache: true, asCached: true }),
});

const flag = v.optional(leaf(booleanValidator));
const wholeSeconds = v.optional(leaf(readWholeSeconds));

const directivesSchema = v.pipe(
  section(
    {
      public: flag,
      private: flag,
      noStore: flag,
      noCache: flag,
      noTransform: flag,
      mustRevalidate: flag,
      proxyRevalidate: flag,
      mustUnderstand: flag,
      maxAge: wholeSeconds,
      sMaxage: wholeSeconds,
      staleWhileRevalidate: wholeSeconds,
      staleIfError: wholeSeconds,
      immutable: flag,
    },
    checkDirectives,
  ),
  v.transform(
    (directives): ResolvedCacheControl =>
      Object.freeze(Object.fromEntries(Object.entries(directives).filter(([, value]) => value !== false))),
  ),
);

/** Reads a policy, or `false`. */
export const cacheControlPolicySchema: Schema<ResolvedCacheControl | false> = v.lazy(
  (input): Schema<ResolvedCacheControl | false> =>
    typeof input === 'object' && input !== null ? directivesSchema : leaf(readPresetOrFalse),
);

const entries = { default: v.optional(cacheControlPolicySchema, 'no-cache') };

/** Reads the section. */
export const cacheControlSchema: Schema<CacheControlSettings> = v.pipe(
  section(entries),
  v.transform(complete),
);

function complete(options: { readonly default: ResolvedCacheControl | false }): CacheControlSettings {
  return Object.freeze({ default: options.default === false ? undefined : options.default });
}

/**
 * Resolves the options of `cacheControl()` used alone.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function resolveCacheControlStandalone(options?: StandaloneCacheControlOptions) {
  const policy = cacheControlPolicySchema;
  const { settings, routes } = resolveStandalone({ key: 'cacheControl', entries, policy }, options);
  return { settings: complete(settings), routes };
}

function readPresetOrFalse(input: unknown): ValidationResult<ResolvedCacheControl | false> {
  if (input === false) return { value: false };
  const preset = typeof input === 'string' && Object.hasOwn(presets, input) ? presets[input] : undefined;
  return preset === undefined ? { expected: `${policyForms}, or false` } : { value: preset };
}

function checkDirectives(
  given: Readonly<Record<string, unknown>>,
  report: (key: string, message: string) => void,
) {
  const has = (key: string) => given[key] !== undefined && given[key] !== false;
  if (!Object.keys(given).some(has))
    report('maxAge', 'is missing, as is every other directive; set at least one');
  if (has('public') && has('private')) report('public', 'conflicts with `private`; set only one');
  if (has('private') && has('sMaxage'))
    report('sMaxage', 'has no effect with `private`, which no shared cache may store; use `maxAge`');
  if (has('immutable') && !has('maxAge'))
    report('immutable', 'has no effect without `maxAge` (RFC 8246 §2); set `maxAge`');
  for (const key of ['staleWhileRevalidate', 'staleIfError']) {
    if (has(key) && has('mustRevalidate'))
      report(key, 'conflicts with `mustRevalidate` (RFC 9111 §5.2.2.2); set only one');
  }
  // With must-understand, no-store is only for caches that do not support it (RFC 9111 §5.2.2.3).
  if (!has('noStore') || has('mustUnderstand')) return;
  for (const key of ['public', 'maxAge', 'sMaxage', 'staleWhileRevalidate', 'staleIfError', 'immutable']) {
    if (has(key)) report(key, 'conflicts with `noStore`; set only one');
  }
}
