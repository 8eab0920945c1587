import type { ResponseHeaders } from '../../exchange/response-head.js';
import { equivalentQuery, type SearchVariance } from '../../http/no-vary-search.js';
import { splitTarget } from '../../http/request-target.js';
import type { CacheRuleSettings } from '../options.js';
import { normaliseTarget } from '../request/key.js';
import type { Origin } from '../request/origin.js';

/** The URL of a request, as far as its key covers it. */
export interface RequestedUrl {
  readonly origin: Origin;
  /** Path and query as the client sent them. */
  readonly target: string;
  /** The rule that ignores query parameters. */
  readonly rule: CacheRuleSettings | undefined;
}

/**
 * Whether a redirect points to the request's own URL, or to one that differs only in its scheme. A stored one would
 * loop: each client that follows it gets it again. Behind a proxy that ends TLS, the app sees http for all requests
 * and sends the same redirect to https each time.
 */
export function pointsToItself(
  res: ResponseHeaders,
  requested: RequestedUrl,
  variance: SearchVariance | undefined,
): boolean {
  const location = res.getHeader('location');
  if (location === undefined || res.statusCode < 300 || res.statusCode > 399) return false;
  const values = Array.isArray(location) ? location : [String(location)];
  const { host, rawHost, scheme } = requested.origin;
  return values.some(
    (value) =>
      isSame(value, `${scheme}://${host}`, requested, variance) ||
      (rawHost !== host && isSame(value, `${scheme}://${rawHost}`, requested, variance)),
  );
}

function isSame(
  location: string,
  origin: string,
  { target, rule }: RequestedUrl,
  variance: SearchVariance | undefined,
): boolean {
  const own = parseLocation(origin + target);
  const other = own && parseLocation(location, own.href);
  if (!own || !other || !/^https?:$/.test(other.protocol)) return false;
  // Where hosts share entries, a redirect from one to another would be served to the clients of that one too.
  if (rule?.vary.host === undefined && placeOf(own) !== placeOf(other)) return false;
  const from = splitTarget(normaliseTarget(own.pathname + own.search, rule));
  const to = splitTarget(normaliseTarget(other.pathname + other.search, rule));
  if (from.path !== to.path) return false;
  if ((from.query ?? '') === (to.query ?? '')) return true;
  return variance !== undefined && equivalentQuery(from.query, to.query, variance);
}

function parseLocation(url: string, base?: string): URL | undefined {
  return URL.canParse(url, base) ? new URL(url, base) : undefined;
}

/** Host and port, without the default port of either scheme. */
function placeOf({ hostname, port }: URL): string {
  const isDefault = port === '' || port === '80' || port === '443';
  return `${hostname.replace(/\.$/, '')}:${isDefault ? '' : port}`;
}
