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
  /** By which queries are reduced to what counts. */
  readonly rule: CacheRuleSettings | undefined;
}

/**
 * Whether a redirect leads back to the request's own URL, or to one that differs only in its scheme: stored, it would
 * be served again to each client who follows it. Behind a proxy that ends TLS the app takes all requests for plain
 * ones, and answers the redirected one in the same way.
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
  if (!own || !other || !/^https?:$/.test(other.protocol) || placeOf(own) !== placeOf(other)) return false;
  const from = splitTarget(normaliseTarget(own.pathname + own.search, rule));
  const to = splitTarget(normaliseTarget(other.pathname + other.search, rule));
  if (from.path !== to.path) return false;
  if ((from.query ?? '') === (to.query ?? '')) return true;
  return variance !== undefined && equivalentQuery(from.query, to.query, variance);
}

function parseLocation(url: string, base?: string): URL | undefined {
  return URL.canParse(url, base) ? new URL(url, base) : undefined;
}

/** Host and port of both schemes alike: each is reached at its own default port. */
function placeOf({ hostname, port }: URL): string {
  const isDefault = port === '' || port === '80' || port === '443';
  return `${hostname.replace(/\.$/, '')}:${isDefault ? '' : port}`;
}
