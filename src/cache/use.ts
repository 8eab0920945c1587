import { type CacheControlDirectives, parseCacheControl } from '../http/cache-control.js';
import type { StoredResponse } from '../store/entry.js';

/** What may be done with a stored response (RFC 9111 §4, RFC 5861). */
export type Permission =
  /** It may be served as it is. */
  | 'fresh'
  /** It is stale, and may be served while it is refreshed. */
  | 'while-revalidate'
  /** It is stale, and may stand in for an error. */
  | 'if-error'
  /** It needs the handler's word first. */
  | 'validate';

/** What the visitor asks of caches; only where such wishes are honoured. */
export interface Wishes {
  readonly directives: CacheControlDirectives;
  /** `Pragma: no-cache` (RFC 9111 §5.4). */
  readonly noCache: boolean;
}

/** Reads the request's `Cache-Control` and, where there is none, its `Pragma`. */
export function readWishes(headers: { 'cache-control'?: string; pragma?: string | string[] }): Wishes {
  const directives = parseCacheControl(headers['cache-control']);
  const pragma = headers['cache-control'] === undefined && /\bno-cache\b/i.test(String(headers.pragma ?? ''));
  return { directives, noCache: directives.noCache === true || pragma };
}

/**
 * @param limit until when the invalidation log lets the response be fresh.
 * @param now on the cache's clock, milliseconds.
 */
export function permissionFor(
  entry: StoredResponse,
  limit: number,
  now: number,
  wishes: Wishes | undefined,
): Permission {
  const { reuse } = entry;
  if (reuse.alwaysValidate || wishes?.noCache) return 'validate';
  const freshUntil = Math.min(entry.freshUntil, limit);
  const left = (freshUntil - now) / 1000;
  if (wishes) {
    const { maxAge, minFresh, maxStale } = wishes.directives;
    const age = entry.initialAge + (now - entry.storedAt) / 1000;
    if (maxAge !== undefined && age > maxAge) return 'validate';
    if (minFresh !== undefined && left < minFresh) return 'validate';
    if (left <= 0 && maxStale !== undefined && !reuse.mustRevalidate && -left <= maxStale) return 'fresh';
  }
  if (left > 0) return 'fresh';
  if (reuse.mustRevalidate) return 'validate';
  if (-left <= reuse.staleWhileRevalidate) return 'while-revalidate';
  return -left <= reuse.staleIfError ? 'if-error' : 'validate';
}
