import type { ResponseHeaders } from '../../exchange/response-head.js';

/**
 * Fields that contain a secret of one client: a session, a login, a token. A response with one of them is not stored.
 * The field name is the detail in `Cache-Status`.
 */
const PERSONAL = [
  'set-cookie',
  'set-cookie2',
  'set-login',
  'clear-site-data',
  'authentication-info',
  'authorization',
  'x-auth-token',
  'x-access-token',
  'x-refresh-token',
  'x-session-token',
  'x-csrf-token',
  'x-xsrf-token',
  'csrf-token',
  'xsrf-token',
] as const;

/** The first field of a response that is for one client only. */
export function personalField(res: ResponseHeaders): string | undefined {
  // One call instead of one per name: most responses have few fields, and none of these.
  return res.getHeaderNames().some(isPersonal) ? PERSONAL.find((name) => res.hasHeader(name)) : undefined;
}

const personal: ReadonlySet<string> = new Set(PERSONAL);

function isPersonal(lowerCaseName: string): boolean {
  return personal.has(lowerCaseName);
}
