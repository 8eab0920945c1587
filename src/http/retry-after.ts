import { parseHttpDate } from './http-date.js';

/**
 * Reads `Retry-After` (RFC 9110 §10.2.3): seconds or a date.
 *
 * @param now milliseconds since the epoch.
 * @returns seconds from now; `undefined` for a date that has passed and for anything malformed.
 */
export function parseRetryAfter(value: string | undefined, now = Date.now()): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,10}$/.test(value)) return Number(value);
  const date = parseHttpDate(value, now);
  return date !== undefined && date > now ? (date - now) / 1000 : undefined;
}
