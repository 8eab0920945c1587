import type { CacheControlDirectives } from './cache-control.js';
import { parseHttpDate } from './http-date.js';

/** The fields of a response that define its freshness. */
export interface FreshnessFields {
  readonly cacheControl: CacheControlDirectives;
  readonly expires?: string;
  readonly date?: string;
}

/**
 * The explicit lifetime of a response, for a shared cache (RFC 9111 §4.2.1): `s-maxage`, else `max-age`,
 * else `Expires` minus `Date`. Seconds; 0 or less is stale at once; a malformed `Expires` is 0.
 *
 * @returns `undefined` without an explicit lifetime.
 */
export function explicitLifetime(fields: FreshnessFields, now: number): number | undefined {
  const { cacheControl, expires, date } = fields;
  if (cacheControl.sMaxage !== undefined) return cacheControl.sMaxage;
  if (cacheControl.maxAge !== undefined) return cacheControl.maxAge;
  if (expires === undefined) return undefined;
  const until = parseHttpDate(expires, now);
  if (until === undefined) return 0;
  const since = date === undefined ? undefined : parseHttpDate(date, now);
  return Math.max(0, (until - (since ?? now)) / 1000);
}

/**
 * The age of a response at its arrival (RFC 9111 §4.2.3): the larger of its `Age` and of the time
 * since its `Date`. Seconds.
 *
 * The first of several values counts, and one that is no number of seconds is ignored (§5.1). Parameters
 * are ignored, as in any structured field (RFC 9651 §3.1.2).
 */
export function initialAge(fields: { age?: string; date?: string }, now: number): number {
  const digits = /^[ \t]*(\d+)[ \t]*(?:[,;]|$)/.exec(fields.age ?? '');
  const given = digits ? Math.min(Number(digits[1]), 2 ** 31) : 0;
  const date = fields.date === undefined ? undefined : parseHttpDate(fields.date, now);
  // Dates have whole seconds, so the current time is rounded down too: else a new response could be a second old.
  return Math.max(given, date === undefined ? 0 : Math.floor(now / 1000) - date / 1000, 0);
}
