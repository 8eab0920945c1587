import { type CacheControlDirectives, parseCacheControl } from './cache-control.js';

/**
 * The directives of a request (RFC 9111 §5.2.1). `Pragma: no-cache` counts as `no-cache` without
 * `Cache-Control` (§5.4).
 */
export function parseRequestDirectives(
  cacheControl: string | undefined,
  pragma: string | undefined,
): CacheControlDirectives {
  const directives = parseCacheControl(cacheControl);
  if (cacheControl !== undefined || pragma === undefined) return directives;
  const noCache = pragma.split(',').some((member) => member.trim().toLowerCase() === 'no-cache');
  return noCache ? { ...directives, noCache } : directives;
}

/** The freshness of a stored response. Seconds. */
export interface StoredFreshness {
  /** Its current age (RFC 9111 §4.2.3), not rounded. */
  readonly age: number;
  /** Its freshness lifetime (§4.2.1, §4.2.2). */
  readonly lifetime: number;
  /** The response forbids stale use (§4.2.4): `must-revalidate`, `s-maxage`, … */
  readonly neverStale?: boolean;
}

/**
 * The decision for a request:
 *
 * - `fresh`: the stored response is served;
 * - `stale`: it is served although it is stale, because the request allows it (`max-stale`);
 * - `revalidate`: it must be revalidated first;
 * - `forward`: the stored response, if any, is not used;
 * - `refuse`: 504, because the request accepts only a stored response (`only-if-cached`).
 */
export type RequestReuse = 'fresh' | 'stale' | 'revalidate' | 'forward' | 'refuse';

/**
 * Whether a stored response may be used for a request with these directives (RFC 9111 §4, §5.2.1).
 *
 * @param stored the response that the key selects, if any.
 */
export function mayReuseStored(
  request: CacheControlDirectives,
  stored: StoredFreshness | undefined,
): RequestReuse {
  const reuse = chooseReuse(request, stored);
  // §5.2.1.7: a request that would need the origin gets a 504 instead.
  return request.onlyIfCached && (reuse === 'forward' || reuse === 'revalidate') ? 'refuse' : reuse;
}

function chooseReuse(request: CacheControlDirectives, stored: StoredFreshness | undefined): RequestReuse {
  if (!stored) return 'forward';
  // §5.2.1.5 forbids only storing. A client that wants no stored copy is not served from one either.
  if (request.noStore && !request.onlyIfCached) return 'forward';
  if (request.noCache) return 'revalidate'; // §5.2.1.4
  const { age, lifetime, neverStale } = stored;
  if (request.maxAge !== undefined && age > request.maxAge) return 'revalidate'; // §5.2.1.1
  if (request.minFresh !== undefined && lifetime - age < request.minFresh) return 'revalidate'; // §5.2.1.3
  if (age < lifetime) return 'fresh'; // §4.2: fresh while its lifetime is greater than its age
  // §5.2.1.2; a request cannot allow what the response forbids (§4.2.4).
  const tolerated = request.maxStale !== undefined && age - lifetime <= request.maxStale;
  return tolerated && !neverStale ? 'stale' : 'revalidate';
}
