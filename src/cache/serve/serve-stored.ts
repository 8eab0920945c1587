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
import { writeStoredHeaders } from './stored-headers.js';

/** Fields of a 304 that do not replace those of the stored response. */
const OF_THE_BODY = ['content-encoding', 'content-range', 'content-md5', 'content-length', 'etag'] as const;

/** How a stored response is used. */
export interface ServeOptions {
  readonly result: XCache;
  readonly status: CacheStatus;
}

/** Answers a request with a stored response (RFC 9111 §4), or with 304 where the visitor has it (§4.3.2). */
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
    // Copied: they are views of the stored body, and few.
    res.end(Buffer.concat(parts));
    return;
  }
  // Whoever patched the response sees and may write into what it is given: a copy, plain. The body is not theirs.
  const { isUnpatched } = exchange;
  if (isUnpatched) exchange.encoded = (coding, effort) => state.encodings.find(entry, coding, effort);
  try {
    if (req.method === 'HEAD') res.end();
    else res.end(isUnpatched ? entry.body : Buffer.from(entry.body));
  } finally {
    exchange.encoded = undefined; // should this fail, the app answers with a body of its own
  }
}

/** Within `head`: a stored response takes the place of an error that the handler is answering with (RFC 5861 §4). */
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
  // The visitor's own conditions are answered where the disguise is known.
  writeHead(state, exchange, wholeOf(entry), rule, {}, { result: 'STALE', status });
  exchange.replaceBody(exchange.isUnpatched ? entry.body : Buffer.from(entry.body));
}

/** Within `head`: what confirms a stored response, a 304 or the answer to a HEAD, becomes the whole (RFC 9111 §4.3.4, §4.3.5). */
export function applyNotModified(exchange: Exchange, entry: StoredResponse): void {
  const { res } = exchange;
  exchange.setStatus(entry.status);
  // What describes the body that is kept is kept with it (§3.2).
  for (const name of OF_THE_BODY) res.removeHeader(name);
  for (const [name, value] of entry.headers) {
    if (!res.hasHeader(name)) res.setHeader(name, typeof value === 'string' ? value : [...value]);
  }
  if (entry.ownEtag) res.setHeader('ETag', entry.etag);
  if (entry.status !== 204) res.setHeader('Content-Length', entry.body.length);
  if (exchange.req.method === 'HEAD') exchange.dropBody();
  else exchange.replaceBody(exchange.isUnpatched ? entry.body : Buffer.from(entry.body));
}

/** Within `head`: conditions of the visitor that the handler was not shown are answered here (RFC 9110 §13.2.1: a 2xx). */
export function answerConditions(exchange: Exchange, conditions: Conditions): void {
  const { res } = exchange;
  if (res.statusCode < 200 || res.statusCode > 299) return;
  const validators = {
    etag: readHeaderText(res, 'etag'),
    lastModified: readHeaderText(res, 'last-modified'),
  };
  if (!notModified(conditions, validators)) return;
  exchange.setStatus(304);
  for (const name of ['content-type', 'content-length', 'content-encoding', 'transfer-encoding']) {
    res.removeHeader(name);
  }
  exchange.dropBody();
}

/**
 * Seconds of freshness left; negative for a stale response.
 * @param url what was asked for.
 */
export function computeTtl(state: CacheState, entry: ResponseHead, url = entry.url): number {
  return secondsLeft(entry, validUntil(state, entry, url), state.clock());
}

/** The conditions of a visitor whom no handler was to see. */
export function readConditions({ headers }: IncomingMessage): Conditions {
  return { ifNoneMatch: headers['if-none-match'], ifModifiedSince: headers['if-modified-since'] };
}

/** What there is to send. */
export interface SentResponse {
  readonly head: ResponseHead;
  /** Of the body. Bytes. */
  readonly length: number;
}

function wholeOf(entry: StoredResponse): SentResponse {
  return { head: entry, length: entry.body.length };
}

/** Seconds (RFC 9111 §4.2.3). @param now on the clock of the cache. Milliseconds. */
export function computeAge(entry: ResponseHead, now: number): number {
  return Math.floor(entry.initialAge + (now - entry.storedAt) / 1000);
}

/** Whether a visitor with these conditions has the response already: the answer is a 304. */
export function isNotModified(entry: ResponseHead, conditions: Conditions): boolean {
  // §4.3.2: a response without Last-Modified is compared by its Date.
  const { etag, lastModified = entry.date } = entry;
  return entry.status === 200 && notModified(conditions, { etag, lastModified });
}

/** Puts status and headers of an answer on `res`. @returns whether it goes without a body: a 304. */
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
  writeCacheStatus(state, exchange, use.result, use.status);
  if (head.template !== undefined) exchange.template = head.template;
  return bodyless;
}

/** What is the same in every answer with a stored response. @returns whether it goes without a body: a 304. */
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

/** What the rule adds to every answer under it, stored or not: its own `Vary`, and `private` where it is one visitor's. */
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
