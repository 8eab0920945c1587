import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { CacheRuleSettings } from '../options.js';

/** Why a request bypasses the cache: `method` (RFC 9211 §2.2), or the `detail` for `Cache-Status`. */
export function findBypassReason(
  req: IncomingMessage,
  target: string,
  rule: CacheRuleSettings | false | undefined,
): string | undefined {
  if (!isReadMethod(req.method)) return 'method';
  if (rule === false) return 'rule';
  // The key does not cover a body, which the handler may read.
  if (mayCarryBody(req)) return 'body';
  // The authority of an absolute target may differ from `Host`, and a handler may use either. Express ends the path at
  // `#` or a Latin-1 space; our route patterns do not.
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
  const length: unknown = req.headers['content-length'];
  // Adapters for serverless platforms set a number.
  if (length !== undefined) return String(length) !== '0';
  // Since HTTP/2, no field announces a body (RFC 9113 §8.1); only an ended stream has none.
  return req.httpVersionMajor > 1 && (req as { stream?: EndedStream }).stream?.endAfterHeaders !== true;
}

/** Whether a request came with a body. Reads raw headers, because a body parser may have removed the parsed ones. */
export function cameWithBody({ rawHeaders = [] }: IncomingMessage): boolean {
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    if (name.length !== CONTENT_LENGTH.length && name.length !== TRANSFER_ENCODING.length) continue;
    const field = name.toLowerCase();
    if (field === TRANSFER_ENCODING || (field === CONTENT_LENGTH && String(rawHeaders[at + 1]) !== '0'))
      return true;
  }
  return false;
}

const CONTENT_LENGTH = 'content-length';
const TRANSFER_ENCODING = 'transfer-encoding';

/** The HTTP/2 stream of Node's compatibility request. */
interface EndedStream {
  /** The request has no body. */
  readonly endAfterHeaders?: boolean;
}
