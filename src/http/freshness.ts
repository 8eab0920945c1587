import type { CacheControlDirectives } from './cache-control.js';
import { parseHttpDate } from './http-date.js';

/** The fields of a response that define its freshness. */
export interface FreshnessFields {
  readonly cacheControl: CacheControlDirectives;
  readonly expires?: string | undefined;
  readonly date?: string | undefined;
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
export function initialAge(
  fields: { age?: string | undefined; date?: string | undefined },
  now: number,
): number {
  const digits = /^[ \t]*(\d+)[ \t]*(?:[,;]|$)/.exec(fields.age ?? '');
  const given = digits ? Math.min(Number(digits[1]), 2 ** 31) : 0;
  const date = fields.date === undefined ? undefined : parseHttpDate(fields.date, now);
  // Dates have whole seconds, so the current time is rounded down too: else a new response could be a second old.
  return Math.max(given, date === undefined ? 0 : Math.floor(now / 1000) - date / 1000, 0);
}
/**
 * Statuses that may get a heuristic lifetime (RFC 9110 §15.1). 206 is one of them, but hotpath stores no partial
 * responses.
 */
const STATUSES: ReadonlySet<number> = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]);
/** Whether a response of this status may be stored without an explicit lifetime (RFC 9111 §3). */

export function isHeuristicallyCacheable(status: number): boolean {
  return STATUSES.has(status);
}
/** Share of the time since the last change; the fraction that RFC 9111 §4.2.2 calls typical. */
const FRACTION = 0.1;
/** Maximum heuristic lifetime. Seconds. */
const LONGEST = 86400;
/** The fields for a heuristic lifetime. */

export interface HeuristicFields {
  readonly status: number;
  readonly cacheControl: CacheControlDirectives;
  readonly lastModified?: string | undefined;
}
/**
 * The heuristic lifetime of a response (RFC 9111 §4.2.2): a tenth of the time since its last change, at most a day.
 * There is one if its status allows it (RFC 9110 §15.1) or it is `public`. Seconds.
 *
 * Only for responses without an `explicitLifetime`.
 *
 * @param now milliseconds since the epoch.
 * @returns `undefined` if no heuristic is allowed or possible.
 */

export function heuristicLifetime(fields: HeuristicFields, now: number): number | undefined {
  if (!STATUSES.has(fields.status) && !fields.cacheControl.public) return undefined;
  if (fields.lastModified === undefined) return undefined;
  const modified = parseHttpDate(fields.lastModified, now);
  if (modified === undefined || modified >= now) return undefined;
  return Math.min(((now - modified) / 1000) * FRACTION, LONGEST);
}
