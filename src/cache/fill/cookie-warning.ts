import { warnOnce } from '../../runtime/warn.js';
import type { CacheRequest } from '../request/cache-request.js';
import { nameRule } from '../request/rule-functions.js';

/** Warns once per rule: it declares one response for all clients, and requests with cookies do not get it. */
export function warnOfCookies({ rule, pattern }: Pick<CacheRequest, 'rule' | 'pattern'>): void {
  if (!rule) return;
  warnOnce(
    rule,
    'HOTPATH_COOKIES_BYPASS',
    () =>
      `${nameRule(pattern)} has \`shared: true\`, but a request with a cookie bypassed the cache (detail=cookie). ` +
      "If the response does not depend on cookies, add cookies: 'ignore'",
  );
}
