import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { normaliseQuery } from '../../http/no-vary-search.js';
import { pathOf, splitTarget } from '../../http/request-target.js';
import { joinPart, joinParts, partAt, readPart } from '../../store/key-parts.js';
import type { VarianceNote } from '../../store/stored-response.js';
import type { CacheRuleSettings, CacheSettings } from '../options.js';
import type { Origin } from './origin.js';

export { joinParts } from '../../store/key-parts.js';

/** Everything that distinguishes stored responses from each other, before their own `Vary` is known. */
export interface KeyParts {
  /** `shared`, or the name of the `cache.route()` that serves the entry. */
  readonly scope: string;
  readonly origin: Origin;
  /** Path and query, normalised by the rule. */
  readonly target: string;
  /** The normalised URL as middlewares and routers have rewritten it; `undefined` if it is the target. */
  readonly rewritten: string | undefined;
  readonly partition: string | undefined;
}

/** The beginning of every key; `hostOf` reads the host from it. */
function joinPlace(scope: string, { scheme, rawHost, host }: Origin): string {
  return joinPart(scope) + joinPart(scheme) + joinPart(rawHost) + joinPart(host);
}

function joinKey({ scope, origin, target, rewritten, partition }: KeyParts): string {
  return joinPlace(scope, origin) + joinPart(target) + joinPart(rewritten) + joinPart(partition);
}

/** The values of the headers and cookies that the rule adds to the key. */
function selectedKey(
  request: RequestHeaders,
  rule: CacheRuleSettings | undefined,
  select: HeaderSelector,
): string {
  if (!rule || !isKeyedByHeaders(rule)) return '';
  const selected: (string | undefined)[] = [];
  for (const name of rule.vary.headers) selected.push(select(request, name));
  if (rule.vary.cookies?.length) {
    const cookies = readCookies(request.headers.cookie);
    for (const name of rule.vary.cookies) selected.push(cookies.get(name));
  }
  return joinParts(selected);
}

/** Whether a rule changes the keys of requests. */
export function mayChangeKey(rule: CacheRuleSettings): boolean {
  return isKeyedByHeaders(rule) || leavesOutQuery(rule) || rule.vary.host !== undefined;
}

/** Whether a rule adds request headers or cookies to the key. */
export function isKeyedByHeaders(rule: CacheRuleSettings | undefined): boolean {
  return rule !== undefined && (rule.vary.headers.length > 0 || Boolean(rule.vary.cookies?.length));
}

/** Whether a rule removes query parameters from the key and from the handler's view. */
export function leavesOutQuery({ vary, ignoreQuery }: CacheRuleSettings): boolean {
  return vary.query !== undefined || ignoreQuery.length > 0;
}

/**
 * The keys under which responses to one request may be stored (No-Vary-Search). They never collide with each other.
 */
export class RequestKeys {
  /**
   * The key of exactly this URL: the primary key (RFC 9111 §2), with the additions of the rule. The method is always
   * GET, because a HEAD is served from the response to a GET.
   */
  readonly exact: string;
  readonly #parts: KeyParts;
  readonly #selected: string;

  constructor(
    parts: KeyParts,
    request: RequestHeaders,
    rule: CacheRuleSettings | undefined,
    select: HeaderSelector = exactHeader,
  ) {
    this.#parts = parts;
    this.#selected = selectedKey(request, rule, select);
    this.exact = joinKey(parts) + this.#selected;
  }

  get target(): string {
    return this.#parts.target;
  }

  get rewritten(): string | undefined {
    return this.#parts.rewritten;
  }

  /** The key of the note about equivalent queries of this path. */
  get path(): string {
    const { target, rewritten } = this.#parts;
    return this.#keyOf(`path:${pathOf(target)}`, rewritten && pathOf(rewritten));
  }

  /** The key of all URLs of this path with equivalent queries. */
  under({ generation, variance }: VarianceNote): string {
    const { target, rewritten } = this.#parts;
    const { path, query } = splitTarget(target);
    const now = rewritten === undefined ? undefined : splitTarget(rewritten);
    // The declaration of the response does not cover a rewritten query.
    const other = now?.query === query ? now?.path : rewritten;
    return this.#keyOf(`${generation}:${path}?${normaliseQuery(query, variance)}`, other);
  }

  /** No collision with other keys: the target of a request begins with a slash, and these do not. */
  #keyOf(target: string, rewritten: string | undefined): string {
    return joinKey({ ...this.#parts, target, rewritten }) + this.#selected;
  }
}

/** The part of a request's key that does not depend on its URL. */
export interface KeyPlace {
  readonly scope: string;
  readonly origin: Origin;
  readonly partition: string | undefined;
}

/** The keys of a request under its rule. @param sent path and query as the client sent them. */
export function keysFor(
  { scope, origin, partition }: KeyPlace,
  req: IncomingMessage,
  sent: string,
  rule: CacheRuleSettings | undefined,
  select: HeaderSelector,
): RequestKeys {
  const target = normaliseTarget(sent, rule);
  const rewritten = readRewrittenTarget(req, target, rule);
  const place = { scope, origin: originInKey(origin, rule), target, rewritten, partition };
  return new RequestKeys(place, req, rule, select);
}

/** The host in keys of entries that all hosts share. */
export const ANY_HOST = '*';

/** The origin of a request as its key has it: with the host that stands for all others, if the rule names one. */
export function originInKey(origin: Origin, rule: CacheRuleSettings | undefined): Origin {
  if (rule?.vary.host === undefined) return origin;
  const host = rule.vary.host || ANY_HOST;
  return { scheme: origin.scheme, rawHost: host, host };
}

const NEITHER_REWRITTEN_NOR_PARTITIONED = joinPart(undefined) + joinPart(undefined);

/** Computes `RequestKeys.exact` faster, for requests that are not rewritten and whose rule adds nothing to the key. */
export class PlainKeyCache {
  readonly origin: Origin;
  readonly #before: string;
  /** The last target and its key. One request looks it up several times, and V8 caches the hash of the same string. */
  #target = '';
  #key = '';

  constructor(scope: string, origin: Origin) {
    this.origin = origin;
    this.#before = joinPlace(scope, origin);
  }

  of(target: string): string {
    if (this.#key === '' || this.#target !== target) {
      this.#target = target;
      this.#key = this.#before + joinPart(target) + NEITHER_REWRITTEN_NOR_PARTITIONED;
    }
    return this.#key;
  }
}

/** A request, or the copy of its headers that was made when it reached the cache. */
export interface RequestHeaders {
  readonly headers: IncomingHttpHeaders;
}

/** Returns the text that represents a request header in a key. */
export type HeaderSelector = (request: RequestHeaders, name: string) => string | undefined;

/** The key of one variant: the primary key and the values of the request headers that responses named. */
export function variantKey(
  primary: string,
  names: readonly string[],
  request: RequestHeaders,
  select: HeaderSelector = exactHeader,
): string {
  return `${primary}|${joinParts(names.flatMap((name) => [name, select(request, name)]))}`;
}

/** The parts of a stored response's key that may be shown. */
export interface DescribedKey {
  readonly scheme: string;
  readonly host: string;
  readonly isPartitioned: boolean;
  /** Whether the rule adds values of request headers or cookies, whose names the key does not have. */
  readonly isSelected: boolean;
  /** The request headers that select the variant, with their values; `undefined` for one that is absent. */
  readonly variant: readonly (readonly [name: string, value: string | undefined])[];
}

const SCHEME_IN_KEY = 1;
const HOST_OF_ORIGIN_IN_KEY = 3;
const PARTITION_IN_KEY = 6;
const SELECTED_IN_KEY = 7;

/** Reads a key that `RequestKeys` or `variantKey` made. */
export function describeKey(key: string): DescribedKey {
  const variant: [string, string | undefined][] = [];
  let at = 0;
  let isVariant = false;
  let parts = 0;
  while (at < key.length) {
    if (!isVariant && key[at] === '|') {
      isVariant = true;
      at++;
    }
    const name = readPart(key, at);
    if (!name) break;
    at = name.end;
    if (!isVariant) parts++;
    if (!isVariant) continue;
    const value = readPart(key, at);
    if (!value) break;
    at = value.end;
    variant.push([name.part ?? '', value.part]);
  }
  return {
    scheme: partAt(key, SCHEME_IN_KEY) ?? '',
    host: partAt(key, HOST_OF_ORIGIN_IN_KEY) ?? '',
    isPartitioned: partAt(key, PARTITION_IN_KEY) !== undefined,
    isSelected: parts > SELECTED_IN_KEY,
    variant,
  };
}

/** Reads a request header; inherited properties of the object do not count. */
export function headerOf({ headers }: RequestHeaders, name: string): string | string[] | undefined {
  return Object.hasOwn(headers, name) ? headers[name] : undefined;
}

/** The exact bytes of a header. Several lines of one name are one list (RFC 9110 §5.3), joined as Node joins them. */
export function exactHeader(request: RequestHeaders, name: string): string | undefined {
  const value = headerOf(request, name);
  return Array.isArray(value) ? value.join(', ') : value;
}

/** Headers whose lists are equal with and without whitespace at the commas (RFC 9110 §12.5). */
const NEGOTIATED: ReadonlySet<string> = new Set([
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
]);

/**
 * A header in the form that RFC 9111 §4.1 allows caches to compare. Content negotiation fields have no whitespace at
 * their commas, and languages are in lower case (RFC 4647 §2). A handler that compares bytes may respond differently
 * to equal forms, so the safe profile uses `exactHeader`.
 */
export function comparableHeader(request: RequestHeaders, name: string): string | undefined {
  const value = exactHeader(request, name);
  if (value === undefined || !NEGOTIATED.has(name)) return value;
  const compact = value.includes(',') ? withoutBlanksAtCommas(value) : withoutBlanks(value);
  return name === 'accept-language' ? compact.toLowerCase() : compact;
}

export function headerSelector(profile: CacheSettings['profile']): HeaderSelector {
  return profile === 'rfc9111' ? comparableHeader : exactHeader;
}

/** Removes whitespace around list members. Commas in quoted strings are no separators. */
function withoutBlanksAtCommas(text: string): string {
  const members: string[] = [];
  let isQuoted = false;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (isQuoted && code === BACKSLASH) at++;
    else if (code === QUOTE) isQuoted = !isQuoted;
    else if (code === COMMA && !isQuoted) {
      members.push(withoutBlanks(text.slice(start, at)));
      start = at + 1;
    }
  }
  members.push(withoutBlanks(text.slice(start)));
  return members.join(',');
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;

/** Removes leading and trailing spaces and tabs (RFC 9110 §5.6.3). In linear time, unlike a regular expression. */
function withoutBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/**
 * Cookies by name, split like the package `cookie`, which `cookie-parser` and `express-session` use. A pair without
 * `=` is ignored, and only spaces and tabs are trimmed. Values keep their quotes and escapes, so two different values
 * may be equal for the app, but never the reverse. Of several values of one name, some parsers take the first and
 * others the last, so all of them count.
 */
export function readCookies(header: string | readonly string[] | undefined): Map<string, string> {
  const cookies = new Map<string, string>();
  for (const [name, value] of cookiePairs(header)) {
    const before = cookies.get(name);
    cookies.set(name, before === undefined ? value : `${before};${value}`);
  }
  return cookies;
}

/** The part of a `Cookie` header that holds these cookies, in the order in which they were sent. */
export function selectCookies(
  header: string | readonly string[] | undefined,
  names: readonly string[],
): string | undefined {
  const pairs = cookiePairs(header).filter(([name]) => names.includes(name));
  return pairs.length > 0 ? pairs.map(([name, value]) => `${name}=${value}`).join('; ') : undefined;
}

function cookiePairs(header: string | readonly string[] | undefined): [name: string, value: string][] {
  if (header === undefined) return [];
  const pairs: [string, string][] = [];
  for (const pair of (typeof header === 'string' ? header : header.join('; ')).split(';')) {
    const equals = pair.indexOf('=');
    if (equals < 0) continue;
    pairs.push([withoutBlanks(pair.slice(0, equals)), withoutBlanks(pair.slice(equals + 1))]);
  }
  return pairs;
}

/** The URL as earlier middlewares or routers rewrote it; `undefined` if it is the target. */
export function readRewrittenTarget(
  req: IncomingMessage & { baseUrl?: string },
  target: string,
  rule: CacheRuleSettings | undefined,
): string | undefined {
  const seen = normaliseTarget((req.baseUrl ?? '') + (req.url ?? ''), rule);
  return seen === target ? undefined : seen;
}

/**
 * The target without the query parameters that the rule ignores. The rest keeps its form and order. Names are compared
 * decoded, as the app's parser decodes them.
 */
export function normaliseTarget(target: string, rule: CacheRuleSettings | undefined): string {
  if (!rule || !leavesOutQuery(rule)) return target;
  const at = target.indexOf('?');
  if (at < 0) return target;
  const kept = target
    .slice(at + 1)
    .split('&')
    .filter((pair) => isCoveredParameter(pair, rule));
  return kept.length > 0 ? `${target.slice(0, at)}?${kept.join('&')}` : target.slice(0, at);
}

function isCoveredParameter(pair: string, rule: CacheRuleSettings): boolean {
  if (pair === '') return false; // beside an `&`; parsers see no parameter there
  const end = pair.indexOf('=');
  const name = decodeName(end < 0 ? pair : pair.slice(0, end));
  if (name === undefined) return true; // an invalid name is kept
  const { query } = rule.vary;
  // `filter[price]` belongs to `filter` in parsers with nested objects.
  const isOf = (parameter: string) => name === parameter || name.startsWith(`${parameter}[`);
  if (query) return query.some(isOf);
  return !rule.ignoreQuery.some((ignored) =>
    ignored.endsWith('*') ? name.startsWith(ignored.slice(0, -1)) : isOf(ignored),
  );
}

function decodeName(name: string): string | undefined {
  try {
    return decodeURIComponent(name.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
}
