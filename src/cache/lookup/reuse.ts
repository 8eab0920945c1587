import type { CacheControlDirectives } from '../../http/cache-control.js';
import { mayReuseStored } from '../../http/request-directives.js';
import type { ResponseHead, StoredResponse } from '../../store/stored-response.js';

/** How a stored response may be used (RFC 9111 §4, RFC 5861). */
export type Permission =
  /** Serve it. */
  | 'fresh'
  /** Stale; serve it while it is refreshed. */
  | 'while-revalidate'
  /** Stale; serve it in place of an error. */
  | 'if-error'
  /** Must be revalidated with the handler. */
  | 'validate';

/** The remaining freshness, negative for a stale response. Milliseconds. */
export function freshnessLeft({ freshUntil }: ResponseHead, limit: number, now: number): number {
  return Math.min(freshUntil, limit) - now;
}

/** The remaining freshness in whole seconds, as `Cache-Status` reports it. */
export function secondsLeft(entry: ResponseHead, limit: number, now: number): number {
  return Math.floor(freshnessLeft(entry, limit, now) / 1000);
}

/**
 * Whether a response may be served as it is, if the request has no directives.
 *
 * @param limit the end of freshness that the invalidation log sets. Milliseconds on the cache's clock.
 * @param now milliseconds on the cache's clock.
 */
export function isFresh(entry: StoredResponse, limit: number, now: number): boolean {
  return !entry.reuse.alwaysValidate && freshnessLeft(entry, limit, now) > 0;
}

/**
 * Decides how a stored response may be used (RFC 9111 §4.2.4, §5.2.1).
 *
 * @param limit the end of freshness that the invalidation log sets. Milliseconds on the cache's clock.
 * @param now milliseconds on the cache's clock.
 * @param directives the directives of the request, if the settings honour them.
 */
export function decideReuse(
  entry: StoredResponse,
  limit: number,
  now: number,
  directives: CacheControlDirectives | undefined,
): Permission {
  const { reuse } = entry;
  if (reuse.alwaysValidate) return 'validate';
  const left = freshnessLeft(entry, limit, now) / 1000;
  if (directives) {
    const age = entry.initialAge + (now - entry.storedAt) / 1000;
    const use = mayReuseStored(directives, { age, lifetime: age + left, neverStale: reuse.mustRevalidate });
    if (use === 'fresh' || use === 'stale') return 'fresh';
    // Bounds in the request replace the windows below.
    if (directives.noCache || directives.maxAge !== undefined || directives.minFresh !== undefined)
      return 'validate';
  }
  if (left > 0) return 'fresh';
  if (reuse.mustRevalidate) return 'validate';
  // `<`, so that a window of 0 never applies.
  if (-left < reuse.staleWhileRevalidate) return 'while-revalidate';
  return -left < reuse.staleIfError ? 'if-error' : 'validate';
}
