import type { ServerResponse } from 'node:http';
import { readHeaders } from '../../exchange/headers.js';
import type { ResponseHeaders } from '../../exchange/response-head.js';
import type { StoredField } from '../../store/stored-response.js';

/**
 * Fields that belong to one connection or to one answer (RFC 9111 §3.1, RFC 9110 §7.6.1), and those that we
 * write ourselves for each answer. `content-length` follows from the body, `date` and `etag` stand in the entry.
 */
const NOT_STORED: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'content-length',
  'date',
  'etag',
  'age',
  'set-cookie',
  'cache-status',
  'x-cache',
  'retry-after',
]);

/** Fields by which one request is traced or timed; a `*` stands for any ending. docs/caching.md lists them. */
const PER_RESPONSE = [
  'request-id',
  'x-request-id',
  'x-requestid',
  'correlation-id',
  'x-correlation-id',
  'trace-id',
  'x-trace-id',
  'traceparent',
  'tracestate',
  'traceresponse',
  'b3',
  'x-b3-*',
  'uber-trace-id',
  'x-datadog-*',
  'x-amzn-trace-id',
  'x-amzn-requestid',
  'x-amz-request-id',
  'x-amz-id-2',
  'x-amz-cf-id',
  'x-cloud-trace-context',
  'x-ms-request-id',
  'x-azure-ref',
  'x-vercel-id',
  'fly-request-id',
  'cf-ray',
  'x-runtime',
  'x-response-time',
  'server-timing',
  'ratelimit*',
  'x-ratelimit*',
] as const;

/**
 * Fields that give something to one client alone: a session, a login, a token. A response that has one is stored no
 * more than one with `Set-Cookie`. The field is the word that `Cache-Status` gives.
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

/** The first field of a response that is for one client alone. */
export function personalField(res: ResponseHeaders): string | undefined {
  // One call instead of one for each name: most responses have few fields, and none of these.
  return res.getHeaderNames().some(isPersonal) ? PERSONAL.find((name) => res.hasHeader(name)) : undefined;
}

const personal: ReadonlySet<string> = new Set(PERSONAL);

function isPersonal(lowerCaseName: string): boolean {
  return personal.has(lowerCaseName);
}

/** Tells the response headers that are stored from those that are not. */
export type StoredNames = (lowerCaseName: string) => boolean;

/** @param added names of the app's own, as in `cache.perResponseHeaders`. */
export function storedHeaderNames(added: readonly string[]): StoredNames {
  const names = new Set(NOT_STORED);
  const beginnings: string[] = [];
  for (const name of [...PER_RESPONSE, ...added]) {
    if (name.endsWith('*')) beginnings.push(name.slice(0, -1));
    else names.add(name);
  }
  return (name) => {
    if (names.has(name)) return false;
    for (const beginning of beginnings) if (name.startsWith(beginning)) return false;
    return true;
  };
}

/** Fields of a stored 200 that do not go with its 304: they describe the body that is not sent (RFC 9110 §15.4.5). */
const BODY_ONLY: ReadonlySet<string> = new Set([
  'content-type',
  'content-encoding',
  'content-language',
  'content-range',
  'content-disposition',
]);

/** What of the response's headers is stored, given those that others had set before us. */
export function selectStoredHeaders(
  res: ServerResponse,
  before: ReadonlyMap<string, string>,
  omitted: readonly string[],
  keepsCookies: boolean,
  isStored: StoredNames,
): { headers: StoredField[]; removed: string[] } {
  const now = readHeaders(res);
  const connection = connectionOptions(res);
  const headers: StoredField[] = [];
  for (const [name, value] of now) {
    const lower = name.toLowerCase();
    if (!isStored(lower) && !(keepsCookies && lower === 'set-cookie')) continue;
    if (connection?.has(lower) || omitted.includes(lower)) continue;
    // Set upstream for each request anew: on a hit it is there already, and fresher.
    if (before.get(lower) === fingerprint(value)) continue;
    headers.push([name, Array.isArray(value) ? Object.freeze([...value]) : value]);
  }
  const removed: string[] = [];
  for (const name of before.keys()) if (isStored(name) && !res.hasHeader(name)) removed.push(name);
  return { headers, removed };
}

/** What Express says of itself in every response (`X-Powered-By`), unless the app has turned that off. */
export const EXPRESS_HEADERS = 'Express';
const BY_EXPRESS = fingerprint(EXPRESS_HEADERS);

function connectionOptions(res: ServerResponse): ReadonlySet<string> | undefined {
  const value = res.getHeader('connection');
  if (value === undefined) return undefined;
  return new Set(
    String(value)
      .split(',')
      .map((option) => option.trim().toLowerCase()),
  );
}

/** The headers that are set already when the request gets to us. */
export function upstreamHeaders(res: ServerResponse): ReadonlyMap<string, string> {
  const before = new Map<string, string>();
  const headers = res.getHeaders(); // names in lower case, on an object without prototype
  for (const name in headers) before.set(name, fingerprint(headers[name] ?? ''));
  return before;
}

/** Whether others than Express itself had set headers: what they say may be of one visitor, or of one moment. */
export function hasUpstreamHeaders(before: ReadonlyMap<string, string>): boolean {
  return before.size > (before.get('x-powered-by') === BY_EXPRESS ? 1 : 0);
}

/** A field of one line is never the same as one of several. */
function fingerprint(value: number | string | readonly string[]): string {
  return typeof value === 'object' ? `\n${JSON.stringify(value)}` : String(value);
}

/** Puts stored fields on an answer; its arrays are copies, which whoever comes next may change. */
export function writeStoredHeaders(
  res: ResponseHeaders,
  fields: readonly StoredField[],
  bodyless: boolean,
): void {
  for (const [name, value] of fields) {
    if (bodyless && BODY_ONLY.has(name.toLowerCase())) continue;
    res.setHeader(name, typeof value === 'string' ? value : [...value]);
  }
}
