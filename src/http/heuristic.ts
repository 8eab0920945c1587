import type { CacheControlDirectives } from './cache-control.js';
import { parseHttpDate } from './date.js';

/**
 * Statuses that may be given a lifetime of our own choice (RFC 9110 §15.1). 206 is among them too, but we store
 * no parts.
 */
const STATUSES: ReadonlySet<number> = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]);

/** Whether a response of this status may be stored without a word on its lifetime (RFC 9111 §3). */
export function isHeuristicallyCacheable(status: number): boolean {
  return STATUSES.has(status);
}

/** Of the time since the last change; the fraction that RFC 9111 §4.2.2 calls typical. */
const FRACTION = 0.1;

/** What has not changed for ten days need not be believed for longer than this. Seconds. */
const LONGEST = 86_400;

/** What a lifetime is guessed from. */
export interface HeuristicFields {
  readonly status: number;
  readonly cacheControl: CacheControlDirectives;
  readonly lastModified?: string;
}

/**
 * A lifetime for a response that gives itself none (RFC 9111 §4.2.2): a tenth of the time since it last changed,
 * at most a day, where its status allows that (RFC 9110 §15.1) or it is `public`. Seconds.
 *
 * To be asked only where `explicitLifetime` has no answer.
 *
 * @param now milliseconds since the epoch.
 * @returns `undefined` where nothing may, or can, be guessed.
 */
export function heuristicLifetime(fields: HeuristicFields, now: number): number | undefined {
  if (!STATUSES.has(fields.status) && !fields.cacheControl.public) return undefined;
  if (fields.lastModified === undefined) return undefined;
  const modified = parseHttpDate(fields.lastModified, now);
  if (modified === undefined || modified >= now) return undefined;
  return Math.min(((now - modified) / 1000) * FRACTION, LONGEST);
}
