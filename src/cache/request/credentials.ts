import type { IncomingMessage } from 'node:http';
import { CLIENT_CERTIFICATE, hasClientCertificate } from '../../exchange/client-certificate.js';
import type { CacheRuleSettings, CacheSettings } from '../options.js';
import { headerOf } from './key.js';

/** The name of a credential that the rule does not cover; it makes the request personal. */
export function findCredential(
  req: IncomingMessage,
  rule: CacheRuleSettings | undefined,
  settings: CacheSettings,
): string | undefined {
  if (rule?.partition) return undefined;
  // RFC 9111 §3.5 covers `Authorization` only.
  const names = settings.profile === 'safe' ? settings.credentials : ['authorization'];
  for (const name of names) {
    // A certificate has no header name, so `vary.headers` can't cover it.
    if (name === CLIENT_CERTIFICATE && hasClientCertificate(req)) return name;
    if (headerOf(req, name) === undefined || rule?.vary.headers.includes(name)) continue;
    if (!(name === 'cookie' && coversCookies(rule))) return name;
  }
  return undefined;
}

/** Whether the rule says which cookies responses depend on, if on any, so that all others make no difference. */
export function coversCookies(rule: CacheRuleSettings | undefined): boolean {
  return rule !== undefined && (rule.vary.cookies !== undefined || rule.cookies === 'ignore');
}

/**
 * Whether a request has a cookie that its rule ignores: it may get a stored response, but its own is never stored. An
 * earlier middleware may have read the cookie and removed it from the headers, so the headers as sent count too.
 */
export function hasIgnoredCookie(
  { headers, rawHeaders }: IncomingMessage,
  rule: CacheRuleSettings | undefined,
): boolean {
  if (rule?.cookies !== 'ignore') return false;
  if (headers.cookie !== undefined) return true;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    if (name.length === COOKIE.length && name.toLowerCase() === COOKIE) return true;
  }
  return false;
}

const COOKIE = 'cookie';
