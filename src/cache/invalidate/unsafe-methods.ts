import { readHeaderText } from '../../exchange/headers.js';
import { canonicalHost, canonicalTarget } from '../../http/canonical-url.js';
import { pathAndQueryOf, splitTarget } from '../../http/request-target.js';
import type { Selector } from '../../store/invalidation/selector.js';
import type { CacheContext } from '../options.js';
import { groupSelectors, type SharedHosts } from './cache-groups.js';

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

/** Whether a successful request with this method invalidates stored responses (RFC 9111 §4.4). */
export function isUnsafe(method: string | undefined): boolean {
  return method !== undefined && !SAFE.has(method);
}

/**
 * Selects the entries that an unsafe request invalidates (RFC 9111 §4.4): its target and the URLs in `Location` and
 * `Content-Location`, if they are of the same origin. Also the groups in `Cache-Group-Invalidation` (RFC
 * 9875 §3).
 *
 * @param hosts the values of `vary.host` in the rules: hosts that share entries are one origin to the cache.
 */
export function selectInvalidated(context: CacheContext, hosts: SharedHosts = []): Selector[] {
  const { req, res } = context;
  const target = (req as { originalUrl?: string }).originalUrl ?? req.url ?? '';
  /** Keyed by the canonical spelling, so that each URL is recorded once. */
  const urls = new Map<string, string>();
  const add = (url: string | undefined) => url !== undefined && urls.set(canonicalTarget(url), url);
  add(pathAndQueryOf(target));
  add(routedUrl(req as RoutedRequest, target));
  for (const name of ['location', 'content-location']) {
    const value = res && readHeaderText(res, name);
    if (value === undefined || !URL.canParse(value, context.url.href)) continue;
    const named = new URL(value, context.url);
    // Otherwise a response could invalidate entries of another origin.
    if (isOwnOrigin(named, context.url, hosts)) add(named.pathname + named.search);
  }
  const groups = res && readHeaderText(res, 'cache-group-invalidation');
  const selectors: Selector[] = Array.from(urls.values(), (url) => ({ url }));
  return groups === undefined ? selectors : [...selectors, ...groupSelectors(context.url, groups, hosts)];
}

/** Whether a URL has the origin of the request, or the host under which all hosts of the app share entries. */
function isOwnOrigin(named: URL, { origin, protocol }: URL, hosts: SharedHosts): boolean {
  if (named.origin === origin) return true;
  return named.protocol === protocol && [...hosts].some((host) => host === canonicalHost(named.host));
}

/** The properties that Express adds to a request. */
interface RoutedRequest {
  readonly baseUrl?: string;
  readonly path?: string;
}

/**
 * The URL that Express's routers matched. It differs from the target if a middleware rewrote it. It also differs if
 * the target has a fragment, or is absolute and has backslashes.
 */
function routedUrl(req: RoutedRequest, target: string): string | undefined {
  let routed: string;
  try {
    routed = `${req.baseUrl ?? ''}${req.path ?? ''}`;
  } catch {
    return undefined; // Express can't parse the target
  }
  const { query } = splitTarget(target);
  if (!routed.startsWith('/')) return undefined;
  return query === undefined ? routed : `${routed}?${query}`;
}
