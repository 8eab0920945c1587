import type { CacheContext } from '../config/cache.js';
import type { Selector } from '../store/selector.js';
import { groupSelectors } from './groups.js';
import { textHeader } from './storable.js';

/** Methods that change nothing (RFC 9110 §9.2.1, and those registered as safe). */
const SAFE: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'QUERY',
  'PROPFIND',
  'REPORT',
  'SEARCH',
]);

/** Whether a successful request with this method invalidates what is stored (RFC 9111 §4.4). */
export function isUnsafe(method: string | undefined): boolean {
  return method !== undefined && !SAFE.has(method);
}

/**
 * What such a request invalidates: its target, what `Location` and `Content-Location` name of the same origin
 * (RFC 9111 §4.4), and the groups of `Cache-Group-Invalidation` (RFC 9875 §3).
 */
export function invalidates({ req, res, url }: CacheContext): Selector[] {
  const target = (req as { originalUrl?: string }).originalUrl ?? req.url ?? '';
  if (!target.startsWith('/')) return [];
  const urls = new Set([target]);
  for (const name of ['location', 'content-location']) {
    const value = res && textHeader(res, name);
    if (value === undefined || !URL.canParse(value, url.href)) continue;
    const named = new URL(value, url);
    // Otherwise anyone's answer could empty another's cache.
    if (named.origin === url.origin) urls.add(named.pathname + named.search);
  }
  const groups = res && textHeader(res, 'cache-group-invalidation');
  return [...[...urls].map((url) => ({ url })), ...groupSelectors(url.origin, groups)];
}
