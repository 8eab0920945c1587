import type { CacheControlDirectives } from './cache-control.js';
import { parseHttpDate } from './date.js';

/** The fields of a response that speak of its freshness. */
export interface FreshnessFields {
  readonly cacheControl: CacheControlDirectives;
  readonly expires?: string;
  readonly date?: string;
}

/**
 * The lifetime that a response gives itself, for a shared cache (RFC 9111 §4.2.1): `s-maxage`, else `max-age`,
 * else `Expires` minus `Date`. Seconds; 0 or less is stale at once; a malformed `Expires` is 0.
 *
 * @returns `undefined` when the response says nothing of its lifetime.
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
 * The age that a response has when it gets here (RFC 9111 §4.2.3): the larger of its `Age` and of the time
 * since its `Date`. Seconds.
 *
 * Of several values the first counts, and one that is no number of seconds is passed over (§5.1); parameters that
 * follow it mean nothing, as in any structured field (RFC 9651 §3.1.2).
 */
export function initialAge(fields: { age?: string; date?: string }, now: number): number {
  const digits = /^[ \t]*(\d+)[ \t]*(?:[,;]|$)/.exec(fields.age ?? '');
  const given = digits ? Math.min(Number(digits[1]), 2 ** 31) : 0;
  const date = fields.date === undefined ? undefined : parseHttpDate(fields.date, now);
  // Dates tell whole seconds, so the time now is read alike: else a response would be up to a second old at birth.
  return Math.max(given, date === undefined ? 0 : Math.floor(now / 1000) - date / 1000, 0);
}
