import type { IncomingMessage } from 'node:http';
import type { Exchange } from '../../exchange/exchange.js';
import { readHeaderText } from '../../exchange/headers.js';
import type { EditableHead, ResponseHeaders } from '../../exchange/response-head.js';
import type { CacheStatus } from '../../http/cache-status.js';
import { type Conditions, notModified } from '../../http/conditional-request.js';
import { addVary } from '../../http/vary.js';
import type { ResponseHead, StoredResponse } from '../../store/stored-response.js';
import { validUntil } from '../lookup/invalidated.js';
import { secondsLeft } from '../lookup/reuse.js';
import type { CacheRuleSettings } from '../options.js';
import type { CacheState } from '../state.js';
import { selectByteRanges } from './byte-ranges.js';
import { writeCacheStatus, type XCache } from './cache-status.js';
import { BODY_ONLY, writeStoredHeaders } from './stored-headers.js';

/** Fields of a 304 that do not replace those of the stored response. */
const OF_THE_BODY = ['content-encoding', 'content-range', 'content-md5', 'content-length', 'etag'] as const;

/** Fields of a response that its 304 does not have: the same as in a 304 from the store, which has no framing. */
const NOT_WITH_304 = [...BODY_ONLY, 'content-length', 'transfer-encoding'];

/** How a stored response is used. */
export interface ServeOptions {
  readonly result: XCache;
  readonly status: CacheStatus;
}

/** Responds to a request with a stored response (RFC 9111 §4), or with 304 if the client has it (§4.3.2). */
export function serveStored(
  state: CacheState,
  exchange: Exchange,
  entry: StoredResponse,
  rule: CacheRuleSettings | undefined,
  use: ServeOptions,
): void {
  const { req, res } = exchange;
  const bodyless = writeHead(state, exchange, wholeOf(entry), rule, readConditions(req), use);
  if (bodyless) {
    res.end();
    return;
  }
  const parts = selectByteRanges(req, res, entry);
  if (parts) {
    // Copied because they are views of the stored body; range responses are rare.
    res.end(Buffer.concat(parts));
    return;
  }
  // A middleware that patched the response may modify the buffer, so it gets a copy, unencoded.
  const { isUnpatched } = exchange;
  if (isUnpatched) exchange.encoded = (coding, effort) => state.encodings.find(entry, coding, effort);
  try {
    if (req.method === 'HEAD') res.end();
    else res.end(isUnpatched ? entry.body : Buffer.from(entry.body));
  } finally {
    exchange.encoded = undefined; // if the write fails, the app may send another body
  }
}

/** Replaces an error of the handler with a stored response (RFC 5861 §4). To be called within `head`. */
export function replaceError(
  state: CacheState,
  exchange: Exchange,
  entry: StoredResponse,
  rule: CacheRuleSettings | undefined,
  before: ReadonlyMap<string, string>,
  known: CacheStatus,
): void {
  const { res } = exchange;
  const fwdStatus = res.statusCode;
  for (const name of res.getHeaderNames()) if (!before.has(name)) res.removeHeader(name);
  const status = { ...known, fwdStatus, ttl: computeTtl(state, entry) };
  // The overrides know the client's conditions and apply them.
  writeHead(state, exchange, wholeOf(entry), rule, {}, { result: 'STALE', status });
  exchange.replaceBody(exchange.isUnpatched ? entry.body : Buffer.from(entry.body));
}

/**
 * Replaces a 304, or a matching response to HEAD, with the stored response that it revalidates (RFC 9111 §4.3.4,
 * §4.3.5). To be called within `head`.
 */
export function applyNotModified(exchange: Exchange, entry: StoredResponse): void {
  const { res } = exchange;
  exchange.setStatus(entry.status);
  // The stored body keeps the fields that describe it (§3.2).
  for (const name of OF_THE_BODY) res.removeHeader(name);
  for (const [name, value] of entry.headers) {
    if (!res.hasHeader(name)) res.setHeader(name, typeof value === 'string' ? value : [...value]);
  }
  if (entry.ownEtag) res.setHeader('ETag', entry.etag);
  if (entry.status !== 204) res.setHeader('Content-Length', entry.body.length);
  if (exchange.req.method === 'HEAD') exchange.dropBody();
  else exchange.replaceBody(exchange.isUnpatched ? entry.body : Buffer.from(entry.body));
}

/**
 * Applies the client's conditions, which were hidden from the handler, to a 2xx (RFC 9110 §13.2.1). To be called
 * within `head`.
 */
export function answerConditions(exchange: Exchange, conditions: Conditions): void {
  const { res } = exchange;
  if (res.statusCode < 200 || res.statusCode > 299) return;
  const validators = {
    etag: readHeaderText(res, 'etag'),
    lastModified: readHeaderText(res, 'last-modified'),
  };
  if (!notModified(conditions, validators)) return;
  exchange.setStatus(304);
  for (const name of NOT_WITH_304) res.removeHeader(name);
  exchange.dropBody();
}

/**
 * Seconds of freshness left; negative for a stale response.
 * @param url the requested path and query.
 */
export function computeTtl(state: CacheState, entry: ResponseHead, url = entry.url): number {
  return secondsLeft(entry, validUntil(state, entry, url), state.clock());
}

/** The conditions of a request, for responses that the cache makes itself. */
export function readConditions({ headers }: IncomingMessage): Conditions {
  return { ifNoneMatch: headers['if-none-match'], ifModifiedSince: headers['if-modified-since'] };
}

/** The response to send. */
export interface SentResponse {
  readonly head: ResponseHead;
  /** Length of the body. Bytes. */
  readonly length: number;
}

function wholeOf(entry: StoredResponse): SentResponse {
  return { head: entry, length: entry.body.length };
}

/** The age of a response in seconds (RFC 9111 §4.2.3). @param now milliseconds on the cache's clock. */
export function computeAge(entry: ResponseHead, now: number): number {
  return Math.floor(entry.initialAge + (now - entry.storedAt) / 1000);
}

/** How long a response may be used, from when it was made (RFC 9111 §4.2.1). Seconds. */
export function lifetimeOf({ initialAge, freshUntil, storedAt }: ResponseHead): number {
  return initialAge + (freshUntil - storedAt) / 1000;
}

/** Whether the client already has the response, so that a 304 is sent. */
export function isNotModified(entry: ResponseHead, conditions: Conditions): boolean {
  // §4.3.2: a response without Last-Modified is compared by its Date.
  const { etag, lastModified = entry.date } = entry;
  return entry.status === 200 && notModified(conditions, { etag, lastModified });
}

/** Writes status and headers of a stored response. @returns whether it is a 304, without a body. */
export function writeHead(
  state: CacheState,
  exchange: Exchange,
  sent: SentResponse,
  rule: CacheRuleSettings | undefined,
  conditions: Conditions,
  use: ServeOptions,
): boolean {
  const { head } = sent;
  const bodyless = writeStored(exchange, sent, rule, conditions);
  exchange.res.setHeader('Age', computeAge(head, state.clock()));
  // Before the result is published, which counts and names the route.
  if (head.template !== undefined) exchange.template = head.template;
  exchange.served = { handlerMicros: head.handlerMicros, url: rule?.partition ? undefined : head.url };
  exchange.lifetime = lifetimeOf(head);
  writeCacheStatus(state, exchange, use.result, use.status);
  return bodyless;
}

/**
 * Writes the part that is the same for every use of a stored response. @returns whether it is a 304, without a body.
 */
export function writeStored(
  heading: EditableHead,
  { head: entry, length }: SentResponse,
  rule: CacheRuleSettings | undefined,
  conditions: Conditions,
): boolean {
  const { res } = heading;
  const bodyless = isNotModified(entry, conditions);
  heading.setStatus(bodyless ? 304 : entry.status);
  for (const name of entry.removed) res.removeHeader(name);
  writeStoredHeaders(res, entry.headers, bodyless);
  res.setHeader('Date', entry.date);
  if (entry.etag !== undefined) res.setHeader('ETag', entry.etag);
  finishHeaders(res, rule);
  // RFC 9110 §8.6: never with a 204.
  if (!bodyless && entry.status !== 204) res.setHeader('Content-Length', length);
  return bodyless;
}

/** Adds the headers of the rule to a response, stored or not: its `Vary`, and `private` if it has partitions. */
export function finishHeaders(res: ResponseHeaders, rule: CacheRuleSettings | undefined): void {
  if (!rule) return;
  const names = rule.vary.cookies?.length ? [...rule.vary.headers, 'Cookie'] : rule.vary.headers;
  if (names.length > 0) res.setHeader('Vary', addVary(readHeaderText(res, 'vary'), names));
  if (!rule.partition) return;
  const cacheControl = readHeaderText(res, 'cache-control');
  if (cacheControl === undefined) res.setHeader('Cache-Control', 'private, no-cache');
  else if (!/\b(?:private|no-store|public|s-maxage)\b/i.test(cacheControl)) {
    res.setHeader('Cache-Control', `private, ${cacheControl}`);
  }
}
