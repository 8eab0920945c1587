import { type CacheControlDirectives, parseCacheControl } from './cache-control.js';

/**
 * The directives of a request (RFC 9111 §5.2.1). `Pragma: no-cache` counts as `no-cache` where there is no
 * `Cache-Control` (§5.4).
 */
export function requestDirectives(
  cacheControl: string | undefined,
  pragma: string | undefined,
): CacheControlDirectives {
  const directives = parseCacheControl(cacheControl);
  if (cacheControl !== undefined || pragma === undefined) return directives;
  const noCache = pragma.split(',').some((member) => member.trim().toLowerCase() === 'no-cache');
  return noCache ? { ...directives, noCache } : directives;
}

/** What a stored response brings to the question whether it may be used. Seconds. */
export interface StoredFreshness {
  /** Its current age (RFC 9111 §4.2.3), not rounded. */
  readonly age: number;
  /** Its freshness lifetime (§4.2.1, §4.2.2). */
  readonly lifetime: number;
  /** It says itself that it is never to be served stale (§4.2.4): `must-revalidate`, `s-maxage`, … */
  readonly neverStale?: boolean;
}

/**
 * What becomes of a request:
 *
 * - `fresh`: the stored response answers;
 * - `stale`: so it does, though stale, because the request takes it (`max-stale`);
 * - `revalidate`: only after it was confirmed;
 * - `forward`: the stored response, if any, has no part in it;
 * - `refuse`: 504, because the request takes nothing but what is stored (`only-if-cached`).
 */
export type Reuse = 'fresh' | 'stale' | 'revalidate' | 'forward' | 'refuse';

/**
 * Whether a stored response may answer a request with these directives (RFC 9111 §4, §5.2.1).
 *
 * @param stored the response that the key selects; `undefined` when there is none.
 */
export function mayUseStored(request: CacheControlDirectives, stored: StoredFreshness | undefined): Reuse {
  const reuse = chooseReuse(request, stored);
  // §5.2.1.7: whatever would ask the origin is a 504 instead.
  return request.onlyIfCached && (reuse === 'forward' || reuse === 'revalidate') ? 'refuse' : reuse;
}

function chooseReuse(request: CacheControlDirectives, stored: StoredFreshness | undefined): Reuse {
  if (!stored) return 'forward';
  // §5.2.1.5 speaks of storing alone; who wants no trace of the request wants no copy either.
  if (request.noStore && !request.onlyIfCached) return 'forward';
  if (request.noCache) return 'revalidate'; // §5.2.1.4
  const { age, lifetime, neverStale } = stored;
  if (request.maxAge !== undefined && age > request.maxAge) return 'revalidate'; // §5.2.1.1
  if (request.minFresh !== undefined && lifetime - age < request.minFresh) return 'revalidate'; // §5.2.1.3
  if (age < lifetime) return 'fresh'; // §4.2: fresh while its lifetime is greater than its age
  // §5.2.1.2; what the response forbids no request allows (§4.2.4).
  const tolerated = request.maxStale !== undefined && age - lifetime <= request.maxStale;
  return tolerated && !neverStale ? 'stale' : 'revalidate';
}
