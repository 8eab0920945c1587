import type { ServerResponse } from 'node:http';
import { readHeaders } from '../../exchange/headers.js';
import type { ResponseHeaders } from '../../exchange/response-head.js';
import type { StoredField } from '../../store/stored-response.js';
import type { CacheRuleSettings } from '../options.js';

/**
 * Fields that belong to one connection or response (RFC 9111 §3.1, RFC 9110 §7.6.1), and fields that the cache writes
 * itself. `content-length` follows from the body; the entry keeps `date` and `etag`.
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

/** Fields that trace or time one request; `*` matches any ending. docs/caching.md lists them. */
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

/** Whether the header with this name is stored. */
export type StoredNames = (lowerCaseName: string) => boolean;

/** @param added the app's own names, as in `cache.perResponseHeaders`. */
export function storedHeaderNames(added: readonly string[]): StoredNames {
  const isLeftOut = headerMatcher([...NOT_STORED, ...PER_RESPONSE, ...added]);
  return (name) => !isLeftOut(name);
}

/** Whether a header has one of the names; a trailing `*` in a name stands for any ending. */
export function headerMatcher(patterns: readonly string[]): (lowerCaseName: string) => boolean {
  const names = new Set<string>();
  const beginnings: string[] = [];
  for (const name of patterns) {
    if (name.endsWith('*')) beginnings.push(name.slice(0, -1));
    else names.add(name);
  }
  return (name) => {
    if (names.has(name)) return true;
    for (const beginning of beginnings) if (name.startsWith(beginning)) return true;
    return false;
  };
}

const matchers = new WeakMap<CacheRuleSettings, (lowerCaseName: string) => boolean>();

/** Whether a rule leaves a header out of the stored response (`omitHeaders`). */
export function omittedByRule(rule: CacheRuleSettings | undefined): (lowerCaseName: string) => boolean {
  if (!rule?.omitHeaders) return () => false;
  let matcher = matchers.get(rule);
  if (!matcher) matchers.set(rule, (matcher = headerMatcher(rule.omitHeaders)));
  return matcher;
}

/** Fields of a stored 200 that its 304 omits: they describe the body (RFC 9110 §15.4.5). */
export const BODY_ONLY: ReadonlySet<string> = new Set([
  'content-type',
  'content-encoding',
  'content-language',
  'content-range',
  'content-disposition',
]);

/**
 * Selects the headers to store, and the earlier headers that the handler removed.
 *
 * @param before the headers that earlier middlewares had set.
 */
export function selectStoredHeaders(
  res: ServerResponse,
  before: ReadonlyMap<string, string>,
  omitted: readonly string[],
  keepsCookies: boolean,
  isStored: StoredNames,
  isOmittedByRule: (lowerCaseName: string) => boolean,
): { headers: StoredField[]; removed: string[] } {
  const now = readHeaders(res);
  const connection = connectionOptions(res);
  const headers: StoredField[] = [];
  for (const [name, value] of now) {
    const lower = name.toLowerCase();
    if (!isStored(lower) && !(keepsCookies && lower === 'set-cookie')) continue;
    if (connection?.has(lower) || omitted.includes(lower) || isOmittedByRule(lower)) continue;
    // An earlier middleware sets it for each request, so a hit has the current value.
    if (before.get(lower) === fingerprint(value)) continue;
    headers.push([name, Array.isArray(value) ? Object.freeze([...value]) : value]);
  }
  const removed: string[] = [];
  for (const name of before.keys()) if (isStored(name) && !res.hasHeader(name)) removed.push(name);
  return { headers, removed };
}

/** The value of `X-Powered-By`, which Express sets unless the app disables it. */
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

/** The headers that are already set when the request reaches the cache. */
export function upstreamHeaders(res: ServerResponse): ReadonlyMap<string, string> {
  const before = new Map<string, string>();
  const headers = res.getHeaders(); // names in lower case, on an object without prototype
  for (const name in headers) before.set(name, fingerprint(headers[name] ?? ''));
  return before;
}

/** Whether other middlewares had set headers. Their values may depend on the client or the time. */
export function hasUpstreamHeaders(before: ReadonlyMap<string, string>): boolean {
  return before.size > (before.get('x-powered-by') === BY_EXPRESS ? 1 : 0);
}

/** Represents a value as text. A field with one line never equals a field with several. A list of one is one line. */
function fingerprint(value: number | string | readonly string[]): string {
  if (typeof value !== 'object') return String(value);
  return value.length === 1 ? String(value[0]) : `\n${JSON.stringify(value)}`;
}

/** Writes stored fields to a response. Arrays are copied, because later middlewares may modify them. */
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
