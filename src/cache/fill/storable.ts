import type { ServerResponse } from 'node:http';
import { readHeaderText } from '../../exchange/headers.js';
import {
  type CacheControlDirectives,
  isMalformedCacheControl,
  parseCacheControl,
} from '../../http/cache-control.js';
import { parseCacheGroups } from '../../http/cache-groups.js';
import {
  explicitLifetime,
  type FreshnessFields,
  heuristicLifetime,
  initialAge,
  isHeuristicallyCacheable,
} from '../../http/freshness.js';
import { parseNoVarySearch, type SearchVariance } from '../../http/no-vary-search.js';
import { isByteRange, isMalformedRange, selectRanges } from '../../http/range.js';
import { hidesRestriction, targetedPolicy } from '../../http/targeted-cache-control.js';
import { parseVary } from '../../http/vary.js';
import { InternTable } from '../../runtime/intern.js';
import type { Reuse } from '../../store/stored-response.js';
import type { CacheRuleSettings, CacheSettings } from '../options.js';
import type { ResponseHints } from '../request/handler-hints.js';
import { personalField } from './personal-fields.js';
import { pointsToItself, type RequestedUrl } from './redirect-loop.js';

/** A storable response, with its lifetime and limits. */
export interface Storable {
  readonly refusal?: undefined;
  /** Seconds from the creation of the response (RFC 9111 §4.2.1). */
  readonly lifetime: number;
  /** Seconds (RFC 9111 §4.2.3). */
  readonly initialAge: number;
  readonly vary: readonly string[];
  readonly explicitlyShared: boolean;
  /** Whether pages of every origin may read it, or the key distinguishes origins. */
  readonly anyOrigin: boolean;
  readonly reuse: Reuse;
  /** Header fields that the response excludes from shared caches (`private="…"`, `no-cache="…"`). */
  readonly omitted: readonly string[];
  /** Cache groups that can invalidate it (RFC 9875 §2). */
  readonly groups: readonly string[];
  /** Which queries are equivalent, if the response declares it (No-Vary-Search). */
  readonly variance: SearchVariance | undefined;
}

/** Why a response is not stored: the `detail` for `Cache-Status`. */
export interface Refused {
  readonly refusal: string;
}

/** The inputs of the decision besides the response. */
export interface StorageContext {
  readonly settings: CacheSettings;
  readonly rule: CacheRuleSettings | undefined;
  readonly hints: ResponseHints | undefined;
  /** The request's credential, if the rule does not cover it. */
  readonly credential: string | undefined;
  /** The current method of the request. A middleware may have changed it. */
  readonly method: string | undefined;
  /** The request has an `Origin` header. */
  readonly crossOrigin: boolean;
  /** The request's `Range` header. */
  readonly range: string | undefined;
  /** The length of the body, if it is known when the headers are sent. Bytes. */
  readonly length: number | undefined;
  /** The requested URL. */
  readonly requested: RequestedUrl;
  /** Why the request no longer matches its key, if it does not. */
  readonly changed: string | undefined;
  /** The body may be incomplete. */
  readonly broken: boolean;
  /** The response comes from another route than the rule is for. */
  readonly otherRoute: boolean;
  /** The handler sees another host or scheme than the key has: a sub-app may trust other proxies. */
  readonly otherOrigin: boolean;
  /** The request has `no-store` (RFC 9111 §5.2.1.5), and the settings honour it. */
  readonly hasRequestNoStore: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/**
 * Status codes stored by default: final, complete and no errors (RFC 9110 §15.1, without 203, 204, 206, 300, 4xx and
 * 5xx).
 */
const STATUSES: ReadonlySet<number> = new Set([200, 301, 308]);

const POLICIES = ['content-security-policy', 'content-security-policy-report-only'] as const;

/**
 * Decides whether a response may be stored and how it may be reused (RFC 9111 §3).
 *
 * @returns the first refusal that applies, or the storable response.
 */
export function decideStorable(res: ServerResponse, inputs: StorageContext): Storable | Refused {
  const { hints, rule, settings } = inputs;
  if (inputs.method === 'HEAD') return refuse('head'); // no body to store
  if (inputs.method !== 'GET') return refuse('method');
  if (inputs.broken) return refuse('broken');
  if (inputs.hasRequestNoStore) return refuse('request-no-store');
  if (hints?.skip) return refuse(hints.skip);
  if ((inputs.length ?? 0) > settings.maxEntryBytes) return refuse('too-large');
  if (inputs.changed) return refuse(inputs.changed);
  if (mayBePart(res, inputs)) return refuse('range');
  const groups = parseCacheGroups(readHeaderText(res, 'cache-groups'));
  if (!groups) return refuse('cache-groups'); // a response that can't be invalidated is not stored
  const variance = parseNoVarySearch(readHeaderText(res, 'no-vary-search'));
  if (pointsToItself(res, inputs.requested, variance)) return refuse('redirect-loop');
  const declared: ResponseDeclarations = { groups, variance };
  if (rule?.cookies === 'ignore') {
    const refusal = findCookieRefusal(res);
    if (refusal) return refuse(refusal);
  }
  // No object spread here or elsewhere in a fill: it costs microseconds in V8.
  const decideByProfile = settings.profile === 'safe' ? decideBySafeProfile : decideByRfc9111;
  return decideByProfile(res, inputs, declared);
}

/**
 * Why the response itself depends on cookies, whatever the rule says. The safe profile refuses such responses anyway,
 * but RFC 9111 lets a cache store them.
 */
function findCookieRefusal(res: ServerResponse): string | undefined {
  if (res.hasHeader('set-cookie')) return 'set-cookie';
  const vary = parseVary(readHeaderText(res, 'vary'));
  return vary?.includes('cookie') ? 'vary-cookie' : undefined;
}

/** Declarations of the response that both profiles obey. */
type ResponseDeclarations = Pick<Storable, 'groups' | 'variance'>;

/** The safe profile: RFC 9111 §3 with further refusals, such as personal headers and missing declarations. */
function decideBySafeProfile(
  res: ServerResponse,
  inputs: StorageContext,
  declared: ResponseDeclarations,
): Storable | Refused {
  const { settings, rule, hints, credential, now } = inputs;
  if (!(rule?.statuses ?? STATUSES).has(res.statusCode)) return refuse('status');
  if (inputs.otherRoute) return refuse('route');
  if (inputs.otherOrigin) return refuse('origin');
  // RFC 9111 §7.3 allows storing it, but then other clients would get this client's session.
  const personal = personalField(res);
  if (personal) return refuse(personal);

  const policy = readPolicy(res, settings);
  const { cacheControl } = policy;
  if (policy.isMalformed) return refuse('cache-control-invalid');
  if (cacheControl.noStore) return refuse('no-store'); // §5.2.2.5
  if (cacheControl.private) return refuse('private'); // §5.2.2.7
  if (cacheControl.noCache) return refuse('no-cache'); // §5.2.2.4 allows storing it, with revalidation for each use
  if (!policy.isGiven && res.hasHeader('pragma') && /no-cache/i.test(readHeaderText(res, 'pragma')!))
    return refuse('no-cache');
  if (hasNonce(res)) return refuse('nonce');
  if (/^text\/event-stream\b/i.test(readHeaderText(res, 'content-type') ?? '')) return refuse('event-stream');

  const vary = parseVary(readHeaderText(res, 'vary'));
  const varies = findVaryRefusal(res, vary, rule);
  if (varies) return refuse(varies);

  const explicitlyShared = cacheControl.public || cacheControl.sMaxage !== undefined;
  if (credential && !isSharedDespite(credential, cacheControl, explicitlyShared)) return refuse(credential);

  const fields = readFreshness(res, policy);
  const own = explicitLifetime(fields, now);
  // A field that targets this cache allows storing. It does not declare that credentials make no difference.
  const isAllowed = explicitlyShared || policy.isTargeted;
  if (rule?.ttl === undefined && hints?.ttl === undefined && !isAllowed) {
    return refuse(rule && own === undefined ? 'no-lifetime' : 'not-public');
  }
  const lifetime = hints?.ttl ?? own ?? ttlWithJitter(rule);
  if (lifetime === undefined) return refuse('no-lifetime');
  const age = initialAge(fields, now);
  if (lifetime - age <= 0) return refuse('no-lifetime');
  const anyOrigin = readHeaderText(res, 'access-control-allow-origin') === '*' || isKeyed(rule, 'origin');
  const names = vary as readonly string[];
  // Many apps send no CORS header and no `Vary` to an unknown origin. Pages of other origins can't use this response.
  const implied = inputs.crossOrigin && !anyOrigin && !names.includes('origin');
  return {
    lifetime,
    initialAge: age,
    vary: implied ? [...names, 'origin'].sort() : names,
    explicitlyShared,
    anyOrigin,
    reuse: readReuse(cacheControl, rule),
    omitted: [],
    groups: declared.groups,
    variance: declared.variance,
  };
}

/** Final status codes whose caching requirements this cache knows (RFC 9110 §15, RFC 9111 §5.2.2.3). */
const UNDERSTOOD: ReadonlySet<number> = new Set([
  200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409, 410, 411, 413, 414,
  415, 416, 417, 421, 422, 426, 451, 500, 501, 502, 503, 504, 505,
]);

/** The `rfc9111` profile: everything that RFC 9111 §3 allows a shared cache. */
function decideByRfc9111(
  res: ServerResponse,
  inputs: StorageContext,
  declared: ResponseDeclarations,
): Storable | Refused {
  const { settings, rule, hints, now } = inputs;
  const { statusCode: status } = res;
  const policy = readPolicy(res, settings);
  const { cacheControl } = policy;
  if (status < 200 || status === 206 || status === 304) return refuse('status');
  // The rule's lifetimes apply only to the status codes that it lists.
  const ruleFor = rule?.statuses.has(status) ? rule : undefined;
  if (rule && !ruleFor && !policy.isGiven) return refuse('status');
  if (policy.isMalformed) return refuse('cache-control-invalid');
  if (inputs.otherRoute) return refuse('route');
  if (inputs.otherOrigin) return refuse('origin');
  if (cacheControl.mustUnderstand && !UNDERSTOOD.has(status)) return refuse('must-understand');
  if (cacheControl.noStore && !cacheControl.mustUnderstand) return refuse('no-store');
  if (cacheControl.private === true) return refuse('private');
  const vary = parseVary(readHeaderText(res, 'vary'));
  if (vary === '*') return refuse('vary-star');
  if (vary === undefined) return refuse('vary-invalid');
  const explicitlyShared = cacheControl.public || cacheControl.sMaxage !== undefined;
  // §3.5: the standard restricts `Authorization` only.
  const { credential } = inputs;
  if (credential === 'authorization' && !isSharedDespite(credential, cacheControl, explicitlyShared)) {
    return refuse(credential);
  }
  const fields = readFreshness(res, policy);
  const lastModified = readHeaderText(res, 'last-modified');
  const given = hints?.ttl ?? explicitLifetime(fields, now) ?? ttlWithJitter(ruleFor);
  // §3: without a lifetime or `public`, the status must be heuristically cacheable. A validator is not enough.
  if (given === undefined && !cacheControl.public && !isHeuristicallyCacheable(status))
    return refuse('status');
  const lifetime = given ?? heuristicLifetime({ status, cacheControl, lastModified }, now);
  const reuse = readReuse(cacheControl, ruleFor);
  const age = initialAge(fields, now);
  const hasValidator = res.hasHeader('etag') || lastModified !== undefined;
  if (lifetime === undefined && !hasValidator) return refuse('no-lifetime');
  const lasts = (lifetime ?? 0) - age + Math.max(reuse.staleWhileRevalidate, reuse.staleIfError);
  if (lasts <= 0 && !hasValidator) return refuse('no-lifetime');
  const omitted = [cacheControl.private, cacheControl.noCache].flatMap((names) =>
    typeof names === 'object' ? names.map((name) => name.toLowerCase()) : [],
  );
  return {
    lifetime: lifetime ?? 0,
    initialAge: age,
    vary,
    explicitlyShared,
    anyOrigin: true,
    reuse,
    omitted,
    groups: declared.groups,
    variance: declared.variance,
  };
}

/** The caching policy that a response declares for this cache. */
interface Policy {
  readonly cacheControl: CacheControlDirectives;
  readonly expires: string | undefined;
  /** The policy comes from a field that targets this cache, so `Cache-Control` and `Expires` do not count. */
  readonly isTargeted: boolean;
  /** The response has a field with directives. */
  readonly isGiven: boolean;
  /** A field is malformed in a way that may hide a restriction. */
  readonly isMalformed: boolean;
}

/** RFC 9213 §2.2: the first valid field of the target list, else `Cache-Control` and `Expires`. */
function readPolicy(res: ServerResponse, { targets }: CacheSettings): Policy {
  const read = (field: string) => readHeaderText(res, field);
  const targeted = targetedPolicy(targets, read);
  const hides = targets.length > 0 && hidesRestriction(targets, read, targeted?.field);
  if (targeted) {
    return {
      cacheControl: targeted.directives,
      expires: undefined,
      isTargeted: true,
      isGiven: true,
      isMalformed: hides,
    };
  }
  const field = listHeader(res, 'cache-control');
  const { directives, isMalformed } =
    typeof field === 'string' ? fieldCache.get(field, readField) : readField(field);
  return {
    cacheControl: directives,
    expires: read('expires'),
    isTargeted: false,
    isGiven: field !== undefined,
    isMalformed: hides || isMalformed,
  };
}

/** The parsed value of `Cache-Control`. */
interface CacheControlField {
  readonly directives: CacheControlDirectives;
  readonly isMalformed: boolean;
}

function readField(field: string | readonly string[] | undefined): CacheControlField {
  return { directives: parseCacheControl(field), isMalformed: isMalformedCacheControl(field) };
}

/**
 * Total length of the remembered values, in characters. An app uses few values, and parsing one takes half a
 * microsecond.
 */
const MOST_REMEMBERED = 16 * 1024;
const fieldCache = new InternTable<CacheControlField>(MOST_REMEMBERED);

function readFreshness(
  res: ServerResponse,
  { cacheControl, expires }: Policy,
): FreshnessFields & { age: string | undefined } {
  return { cacheControl, expires, age: readHeaderText(res, 'age'), date: readHeaderText(res, 'date') };
}

function readReuse(cacheControl: CacheControlDirectives, rule: CacheRuleSettings | undefined): Reuse {
  return {
    alwaysValidate: cacheControl.noCache === true,
    // `s-maxage` implies `proxy-revalidate` (§5.2.2.10), unless the response explicitly allows stale use.
    mustRevalidate:
      cacheControl.mustRevalidate ||
      cacheControl.proxyRevalidate ||
      (cacheControl.sMaxage !== undefined &&
        cacheControl.staleWhileRevalidate === undefined &&
        cacheControl.staleIfError === undefined),
    staleWhileRevalidate: cacheControl.staleWhileRevalidate ?? rule?.staleWhileRevalidate ?? 0,
    staleIfError: cacheControl.staleIfError ?? rule?.staleIfError ?? 0,
  };
}

/** The parts of a response that a patched `writeHead` may still change after the decision. */
export interface DecidedHeaders {
  readonly status: number;
  /** `Cache-Control`, and the fields of the target list. */
  readonly policies: readonly (string | undefined)[];
  readonly groups: string | undefined;
  readonly search: string | undefined;
  readonly vary: string | undefined;
  readonly location: string | undefined;
}

/** Captures the values that `findLateRefusal` compares with. */
export function captureDecided(res: ServerResponse, settings: CacheSettings): DecidedHeaders {
  return {
    status: res.statusCode,
    policies: policyTexts(res, settings),
    groups: readHeaderText(res, 'cache-groups'),
    search: readHeaderText(res, 'no-vary-search'),
    vary: readHeaderText(res, 'vary'),
    location: readHeaderText(res, 'location'),
  };
}

function policyTexts(res: ServerResponse, { targets }: CacheSettings): (string | undefined)[] {
  return ['cache-control', ...targets].map((field) => readHeaderText(res, field));
}

/**
 * Why a response must not be stored after all, because it changed after the decision. Examples: a session cookie, a
 * stricter `Cache-Control`, other groups, another `Vary` or status.
 */
export function findLateRefusal(
  res: ServerResponse,
  decided: DecidedHeaders,
  settings: CacheSettings,
  rule: CacheRuleSettings | undefined,
): string | undefined {
  const { profile } = settings;
  if (res.statusCode !== decided.status) return 'status';
  const ofCookies = rule?.cookies === 'ignore' ? findCookieRefusal(res) : undefined;
  if (ofCookies) return ofCookies;
  const personal = profile === 'safe' ? personalField(res) : undefined;
  if (personal) return personal;
  if (profile === 'safe' && hasNonce(res)) return 'nonce';
  if (policyTexts(res, settings).some((text, at) => text !== decided.policies[at])) {
    const { cacheControl: now, isMalformed } = readPolicy(res, settings);
    if (isMalformed) return 'cache-control-invalid';
    if (now.noStore) return 'no-store';
    if (now.private === true || (now.private && profile === 'safe')) return 'private';
    if (now.noCache && profile === 'safe') return 'no-cache';
    if ((now.sMaxage ?? now.maxAge) === 0) return 'no-lifetime';
  }
  if (readHeaderText(res, 'cache-groups') !== decided.groups) return 'cache-groups';
  if (readHeaderText(res, 'no-vary-search') !== decided.search) return 'no-vary-search';
  if (readHeaderText(res, 'location') !== decided.location) return 'location';
  const vary = readHeaderText(res, 'vary');
  if (vary === decided.vary) return undefined;
  const before = parseVary(decided.vary);
  const after = parseVary(vary);
  if (!Array.isArray(before) || !Array.isArray(after)) return 'vary';
  // Compression adds its own `Vary`. The cache records the unencoded body, so this one does not count.
  return after.every((name) => name === 'accept-encoding' || before.includes(name)) ? undefined : 'vary';
}

/** Whether a response to a range request may be partial without the status 206, as for units other than bytes. */
function mayBePart(res: ServerResponse, { range, length }: StorageContext): boolean {
  // Without a range, or with a malformed one, the response is complete. A malformed range is ignored (RFC 9110 §14.2).
  if (range === undefined || res.statusCode === 206) return false; // refused because of its status
  if (!isByteRange(range)) return true;
  if (isMalformedRange(range)) return false;
  if (res.hasHeader('content-range')) return true;
  if (/^multipart\/byteranges\b/i.test(readHeaderText(res, 'content-type') ?? '')) return true;
  // The complete body is longer than the requested part. If the range has no end, the two can't be distinguished.
  const selection = length === undefined ? undefined : selectRanges(range, length);
  return selection?.kind !== 'parts' || selection.parts.some(({ end }) => end === (length as number) - 1);
}

/** Whether the response has a nonce, which must be used only once (CSP 3, §2.3.1). */
function hasNonce(res: ServerResponse): boolean {
  for (const name of POLICIES)
    if (res.hasHeader(name) && /'nonce-/i.test(readHeaderText(res, name)!)) return true;
  return false;
}

function findVaryRefusal(
  res: ServerResponse,
  vary: readonly string[] | '*' | undefined,
  rule: CacheRuleSettings | undefined,
): string | undefined {
  if (vary === '*') return 'vary-star'; // §4.1
  if (vary === undefined) return 'vary-invalid';
  const keyed = (name: string) => rule?.partition !== undefined || isKeyed(rule, name);
  if (vary.includes('authorization') && !keyed('authorization')) return 'vary-authorization';
  if (vary.includes('cookie') && !keyed('cookie') && !rule?.vary.cookies) return 'vary-cookie';
  // The body is encoded for one client, and no `Vary` declares that others may need another encoding.
  const encoding = readHeaderText(res, 'content-encoding');
  if (encoding && !/^identity$/i.test(encoding) && !vary.includes('accept-encoding')) return 'encoding';
  const origin = readHeaderText(res, 'access-control-allow-origin');
  if (origin && origin !== '*' && !vary.includes('origin') && !isKeyed(rule, 'origin')) return 'cors';
  return undefined;
}

function isKeyed(rule: CacheRuleSettings | undefined, name: string): boolean {
  return rule?.vary.headers.includes(name) === true;
}

/** Whether a response asks to be stored by a shared cache, whatever keeps it from that. */
export function declaresCacheable(
  res: ServerResponse,
  settings: CacheSettings,
  hints: ResponseHints | undefined,
): boolean {
  if (hints?.skip) return false;
  if (hints?.ttl !== undefined) return true;
  const policy = readPolicy(res, settings);
  const { cacheControl } = policy;
  if (policy.isMalformed || cacheControl.noStore || cacheControl.private === true) return false;
  const lifetime = explicitLifetime(readFreshness(res, policy), Date.now());
  // With the standard, a response without a lifetime is stored and revalidated.
  if (settings.profile === 'rfc9111' && lifetime !== undefined) return true;
  // Such as `public, max-age=0` of `express.static`.
  const forbidsReuse = cacheControl.noCache === true || (lifetime !== undefined && lifetime <= 0);
  if (settings.profile === 'safe' && forbidsReuse) return false;
  return cacheControl.public || cacheControl.sMaxage !== undefined || policy.isTargeted;
}

/** Whether a response to a request with credentials is valid for all clients (RFC 9111 §3.5). */
function isSharedDespite(
  credential: string,
  cacheControl: CacheControlDirectives,
  explicitlyShared: boolean,
): boolean {
  return explicitlyShared || (credential === 'authorization' && cacheControl.mustRevalidate);
}

function ttlWithJitter(rule: CacheRuleSettings | undefined): number | undefined {
  if (rule?.ttl === undefined) return undefined;
  return rule.jitter > 0 ? rule.ttl * (1 - rule.jitter * Math.random()) : rule.ttl;
}

function refuse(refusal: string): Refused {
  return { refusal };
}

function listHeader(res: ServerResponse, name: string): string | readonly string[] | undefined {
  const value = res.getHeader(name);
  return typeof value === 'number' ? String(value) : value;
}
