import type { CacheControlDirectives } from './cache-control.js';
import { parseHttpDate } from './http-date.js';

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
const LONGEST = 86_400;

/** The fields for a heuristic lifetime. */
export interface HeuristicFields {
  readonly status: number;
  readonly cacheControl: CacheControlDirectives;
  readonly lastModified?: string;
}

/**
 * The heuristic lifetime of a response (RFC 9111 §4.2.2): a tenth of the time since its last change,
 * at most a day, if its status allows it (RFC 9110 §15.1) or it is `public`. Seconds.
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
