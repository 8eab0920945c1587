import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { CLIENT_CERTIFICATE, hasClientCertificate } from '../../exchange/client-certificate.js';
import type { CacheRuleSettings, CacheSettings } from '../options.js';
import { headerOf } from './key.js';

/**
 * Why a request has nothing to do with the cache, whatever is stored: `method` for what RFC 9211 calls so,
 * otherwise the word that `Cache-Status` gives as `detail`.
 */
export function findBypassReason(
  req: IncomingMessage,
  target: string,
  rule: CacheRuleSettings | false | undefined,
): string | undefined {
  if (!isReadMethod(req.method)) return 'method';
  if (rule === false) return 'rule';
  // A handler may read a body that no key covers.
  if (mayCarryBody(req)) return 'body';
  // The authority in the target is not the one in `Host`, and a handler may print either.
  // And what follows a `#`, or a space of Latin-1, Express reads as no part of the path, where our rules do.
  if (!/^\/[^\s#]*$/.test(target)) return 'target-form';
  return hasWritePreconditions(req.headers) ? 'conditional' : undefined;
}

/** Whether the cache may serve a response to this method. */
export function isReadMethod(method: string | undefined): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** Whether a request has preconditions of a write (RFC 9110 §13.1.1, §13.1.4); only the handler can check them. */
export function hasWritePreconditions(headers: IncomingHttpHeaders): boolean {
  return headers['if-match'] !== undefined || headers['if-unmodified-since'] !== undefined;
}

/** Whether a request has a body, or may have one. */
export function mayCarryBody(req: IncomingMessage): boolean {
  if (req.headers['transfer-encoding'] !== undefined) return true;
  const length = req.headers['content-length'];
  if (length !== undefined) return length !== '0';
  // From HTTP/2 on a body needs no field that announces it (RFC 9113 §8.1); only a stream that has ended has none.
  return req.httpVersionMajor > 1 && (req as { stream?: EndedStream }).stream?.endAfterHeaders !== true;
}

/** Whether a request came with a body, whatever a parser before the cache has left of the fields that announce it. */
export function cameWithBody({ rawHeaders }: IncomingMessage): boolean {
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    if (name.length !== CONTENT_LENGTH.length && name.length !== TRANSFER_ENCODING.length) continue;
    const field = name.toLowerCase();
    if (field === TRANSFER_ENCODING || (field === CONTENT_LENGTH && rawHeaders[at + 1] !== '0')) return true;
  }
  return false;
}

const CONTENT_LENGTH = 'content-length';
const TRANSFER_ENCODING = 'transfer-encoding';

/** A stream of HTTP/2, as Node's compatible request holds it. */
interface EndedStream {
  /** The request has ended with its headers. */
  readonly endAfterHeaders?: boolean;
}

/** The credential that makes a request personal, unless the rule says what becomes of it. */
export function findCredential(
  req: IncomingMessage,
  rule: CacheRuleSettings | undefined,
  settings: CacheSettings,
): string | undefined {
  if (rule?.partition) return undefined;
  // The standard knows of `Authorization` alone (RFC 9111 §3.5).
  const names = settings.profile === 'safe' ? settings.credentials : ['authorization'];
  for (const name of names) {
    // No header names it, so none can put it in the key.
    if (name === CLIENT_CERTIFICATE && hasClientCertificate(req)) return name;
    if (headerOf(req, name) === undefined || rule?.vary.headers.includes(name)) continue;
    if (!(name === 'cookie' && coversCookies(rule))) return name;
  }
  return undefined;
}

/** Whether the rule names the cookies that responses depend on, so that all others make no difference. */
export function coversCookies(rule: CacheRuleSettings | undefined): boolean {
  return rule?.vary.cookies !== undefined;
}
