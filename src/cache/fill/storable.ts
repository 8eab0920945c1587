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
import type { ResponseHints } from '../hints.js';
import type { CacheRuleSettings, CacheSettings } from '../options.js';
import { personalField } from '../serve/stored-headers.js';
import { pointsToItself, type RequestedUrl } from './redirect-loop.js';

/** What may be stored, and for how long. */
export interface Storable {
  readonly refusal?: undefined;
  /** Seconds, counted from the response's own making. */
  readonly lifetime: number;
  /** Seconds. */
  readonly initialAge: number;
  readonly vary: readonly string[];
  readonly explicitlyShared: boolean;
  /** Pages of every origin may read it, or its key tells them apart. */
  readonly anyOrigin: boolean;
  readonly reuse: Reuse;
  /** Header fields that the response itself keeps out of shared caches (`private="…"`, `no-cache="…"`). */
  readonly omitted: readonly string[];
  /** By which it can be invalidated (RFC 9875 §2). */
  readonly groups: readonly string[];
  /** Which queries are equivalent, where the response says so. */
  readonly variance: SearchVariance | undefined;
}

/** Why a response is not stored: the word that `Cache-Status` reports. */
export interface Refused {
  readonly refusal: string;
}

/** The circumstances that decide, besides the response itself. */
export interface StorageContext {
  readonly settings: CacheSettings;
  readonly rule: CacheRuleSettings | undefined;
  readonly hints: ResponseHints | undefined;
  /** The credential that the request carries and that the rule does not excuse. */
  readonly credential: string | undefined;
  /** The request's method by now: who answers may have been told another than we were. */
  readonly method: string | undefined;
  /** The request has an `Origin`. */
  readonly crossOrigin: boolean;
  /** `Range` of the request. */
  readonly range: string | undefined;
  /** The body's length, where it is known when the headers go. Bytes. */
  readonly length: number | undefined;
  /** What was asked for. */
  readonly requested: RequestedUrl;
  /** Why the request is no longer the one that the key was made of, if it is not. */
  readonly changed: string | undefined;
  /** The response may be half of something. */
  readonly broken: boolean;
  /** The route that answers is not the one the rule was written for. */
  readonly otherRoute: boolean;
  /** Whoever answers sees another host or scheme than the key holds: a sub-app may trust other proxies. */
  readonly otherOrigin: boolean;
  /** The visitor asked that nothing be stored (RFC 9111 §5.2.1.5), and such wishes are honoured. */
  readonly noStoreAsked: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Status codes stored where no rule says: final, whole and not an error (RFC 9110 §15.1, less 203, 204, 206, 300, 4xx and 5xx). */
const STATUSES: ReadonlySet<number> = new Set([200, 301, 308]);

const POLICIES = ['content-security-policy', 'content-security-policy-report-only'] as const;

/**
 * Whether a response may be stored, and how it may be used then. Every refusal has a name; the first that
 * holds is reported.
 */
export function decideStorable(res: ServerResponse, circumstances: StorageContext): Storable | Refused {
  const { hints, settings } = circumstances;
  if (circumstances.method === 'HEAD') return refuse('head'); // no body to store
  if (circumstances.method !== 'GET') return refuse('method');
  if (circumstances.broken) return refuse('broken');
  if (circumstances.noStoreAsked) return refuse('request-no-store');
  if (hints?.skip) return refuse(hints.skip);
  if (Number(readHeaderText(res, 'content-length') ?? 0) > settings.maxEntryBytes) return refuse('too-large');
  if (circumstances.changed) return refuse(circumstances.changed);
  if (mayBePart(res, circumstances)) return refuse('range');
  const groups = parseCacheGroups(readHeaderText(res, 'cache-groups'));
  if (!groups) return refuse('cache-groups'); // what can't be invalidated isn't stored
  const variance = parseNoVarySearch(readHeaderText(res, 'no-vary-search'));
  if (pointsToItself(res, circumstances.requested, variance)) return refuse('redirect-loop');
  const said: ResponseDeclarations = { groups, variance };
  // Nothing is spread out here, nor on the rest of a fill's way: V8 takes microseconds for that.
  const judgeFurther = settings.profile === 'safe' ? decideBySafeProfile : decideByRfc9111;
  return judgeFurther(res, circumstances, said);
}

/** What a response says that is no matter of judgement. */
type ResponseDeclarations = Pick<Storable, 'groups' | 'variance'>;

/** The safe profile: RFC 9111 §3, less what experience forbids. */
function decideBySafeProfile(
  res: ServerResponse,
  circumstances: StorageContext,
  said: ResponseDeclarations,
): Storable | Refused {
  const { settings, rule, hints, credential, now } = circumstances;
  if (!(rule?.statuses ?? STATUSES).has(res.statusCode)) return refuse('status');
  if (circumstances.otherRoute) return refuse('route');
  if (circumstances.otherOrigin) return refuse('origin');
  // RFC 9111 §7.3 leaves it open; everybody who stored it has handed out someone's session.
  const personal = personalField(res);
  if (personal) return refuse(personal);

  const policy = readPolicy(res, settings);
  const { cacheControl } = policy;
  if (policy.isMalformed) return refuse('cache-control-invalid');
  if (cacheControl.noStore) return refuse('no-store'); // §5.2.2.5
  if (cacheControl.private) return refuse('private'); // §5.2.2.7
  if (cacheControl.noCache) return refuse('no-cache'); // §5.2.2.4: it might be stored, to be confirmed at each use
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
  // A field that speaks to this cache says as much; it does not say that credentials make no difference.
  const isAllowed = explicitlyShared || policy.isTargeted;
  if (rule?.ttl === undefined && hints?.ttl === undefined && !isAllowed) return refuse('not-public');
  const lifetime = hints?.ttl ?? own ?? ttlWithJitter(rule);
  if (lifetime === undefined) return refuse('no-lifetime');
  const age = initialAge(fields, now);
  if (lifetime - age <= 0) return refuse('no-lifetime');
  const anyOrigin = readHeaderText(res, 'access-control-allow-origin') === '*' || isKeyed(rule, 'origin');
  const names = vary as readonly string[];
  // Many apps say nothing at all, not even Vary, to an origin that they don't know; that is no answer for others.
  const implied = circumstances.crossOrigin && !anyOrigin && !names.includes('origin');
  return {
    lifetime,
    initialAge: age,
    vary: implied ? [...names, 'origin'].sort() : names,
    explicitlyShared,
    anyOrigin,
    reuse: readReuse(cacheControl, rule),
    omitted: [],
    groups: said.groups,
    variance: said.variance,
  };
}

/** Final status codes whose caching requirements this cache knows (RFC 9110 §15, RFC 9111 §5.2.2.3). */
const UNDERSTOOD: ReadonlySet<number> = new Set([
  200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409, 410, 411, 413, 414,
  415, 416, 417, 421, 422, 426, 451, 500, 501, 502, 503, 504, 505,
]);

/** All that RFC 9111 §3 allows a shared cache. */
function decideByRfc9111(
  res: ServerResponse,
  circumstances: StorageContext,
  said: ResponseDeclarations,
): Storable | Refused {
  const { settings, rule, hints, now } = circumstances;
  const { statusCode: status } = res;
  const policy = readPolicy(res, settings);
  const { cacheControl } = policy;
  if (status < 200 || status === 206 || status === 304) return refuse('status');
  // What a rule says of lifetimes is meant for the statuses that it lists.
  const ruleFor = rule?.statuses.has(status) ? rule : undefined;
  if (rule && !ruleFor && !policy.isGiven) return refuse('status');
  if (policy.isMalformed) return refuse('cache-control-invalid');
  if (circumstances.otherRoute) return refuse('route');
  if (circumstances.otherOrigin) return refuse('origin');
  if (cacheControl.mustUnderstand && !UNDERSTOOD.has(status)) return refuse('must-understand');
  if (cacheControl.noStore && !cacheControl.mustUnderstand) return refuse('no-store');
  if (cacheControl.private === true) return refuse('private');
  const vary = parseVary(readHeaderText(res, 'vary'));
  if (vary === '*') return refuse('vary-star');
  if (vary === undefined) return refuse('vary-invalid');
  const explicitlyShared = cacheControl.public || cacheControl.sMaxage !== undefined;
  // §3.5: of all credentials, the standard knows `Authorization` alone.
  const { credential } = circumstances;
  if (credential === 'authorization' && !isSharedDespite(credential, cacheControl, explicitlyShared)) {
    return refuse(credential);
  }
  const fields = readFreshness(res, policy);
  const lastModified = readHeaderText(res, 'last-modified');
  const given = hints?.ttl ?? explicitLifetime(fields, now) ?? ttlWithJitter(ruleFor);
  // §3: without a lifetime, or `public`, only what the status itself allows; a validator is not enough.
  if (given === undefined && !cacheControl.public && !isHeuristicallyCacheable(status))
    return refuse('status');
  const lifetime = given ?? heuristicLifetime({ status, cacheControl, lastModified }, now);
  const reuse = readReuse(cacheControl, ruleFor);
  const age = initialAge(fields, now);
  const confirmable = res.hasHeader('etag') || lastModified !== undefined;
  if (lifetime === undefined && !confirmable) return refuse('no-lifetime');
  const lasts = (lifetime ?? 0) - age + Math.max(reuse.staleWhileRevalidate, reuse.staleIfError);
  if (lasts <= 0 && !confirmable) return refuse('no-lifetime');
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
    groups: said.groups,
    variance: said.variance,
  };
}

/** What a response tells this cache of caching. */
interface Policy {
  readonly cacheControl: CacheControlDirectives;
  readonly expires: string | undefined;
  /** It speaks to this very cache: what it tells all others in `Cache-Control` and `Expires` does not count. */
  readonly isTargeted: boolean;
  /** There is a field of directives at all. */
  readonly isGiven: boolean;
  /** A field of directives is malformed in a way that may hide a restriction. */
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
    typeof field === 'string' ? known.get(field, readField) : readField(field);
  return {
    cacheControl: directives,
    expires: read('expires'),
    isTargeted: false,
    isGiven: field !== undefined,
    isMalformed: hides || isMalformed,
  };
}

/** What one value of `Cache-Control` says. */
interface CacheControlField {
  readonly directives: CacheControlDirectives;
  readonly isMalformed: boolean;
}

function readField(field: string | readonly string[] | undefined): CacheControlField {
  return { directives: parseCacheControl(field), isMalformed: isMalformedCacheControl(field) };
}

/** An app has few values, and to read one takes half a microsecond. Characters. */
const MOST_REMEMBERED = 16 * 1024;
const known = new InternTable<CacheControlField>(MOST_REMEMBERED);

function readFreshness(
  res: ServerResponse,
  { cacheControl, expires }: Policy,
): FreshnessFields & { age?: string } {
  return { cacheControl, expires, age: readHeaderText(res, 'age'), date: readHeaderText(res, 'date') };
}

function readReuse(cacheControl: CacheControlDirectives, rule: CacheRuleSettings | undefined): Reuse {
  return {
    alwaysValidate: cacheControl.noCache === true,
    // s-maxage means proxy-revalidate as well (§5.2.2.10), unless the response allows staleness in so many words.
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

/** What of a response others may still change after it was judged. */
export interface DecidedHeaders {
  readonly status: number;
  /** `Cache-Control`, and the fields of the target list. */
  readonly policies: readonly (string | undefined)[];
  readonly groups: string | undefined;
  readonly search: string | undefined;
  readonly vary: string | undefined;
  readonly location: string | undefined;
}

/** Remembers what `vetoes` compares with. */
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
 * Whether what others changed after the headers were judged forbids storing: a session's cookie, a stricter
 * Cache-Control or targeted field, other groups, another Vary or status.
 */
export function findLateRefusal(
  res: ServerResponse,
  judged: DecidedHeaders,
  settings: CacheSettings,
): string | undefined {
  const { profile } = settings;
  if (res.statusCode !== judged.status) return 'status';
  const personal = profile === 'safe' ? personalField(res) : undefined;
  if (personal) return personal;
  if (profile === 'safe' && hasNonce(res)) return 'nonce';
  if (policyTexts(res, settings).some((text, at) => text !== judged.policies[at])) {
    const { cacheControl: now, isMalformed } = readPolicy(res, settings);
    if (isMalformed) return 'cache-control-invalid';
    if (now.noStore) return 'no-store';
    if (now.private === true || (now.private && profile === 'safe')) return 'private';
    if (now.noCache && profile === 'safe') return 'no-cache';
    if ((now.sMaxage ?? now.maxAge) === 0) return 'no-lifetime';
  }
  if (readHeaderText(res, 'cache-groups') !== judged.groups) return 'cache-groups';
  if (readHeaderText(res, 'no-vary-search') !== judged.search) return 'no-vary-search';
  if (readHeaderText(res, 'location') !== judged.location) return 'location';
  const vary = readHeaderText(res, 'vary');
  if (vary === judged.vary) return undefined;
  const before = parseVary(judged.vary);
  const after = parseVary(vary);
  if (!Array.isArray(before) || !Array.isArray(after)) return 'vary';
  // Compression, beneath us, adds its own; we record the identity body, so it does not concern the store.
  return after.every((name) => name === 'accept-encoding' || before.includes(name)) ? undefined : 'vary';
}

/**
 * Whether a response to a `Range` may be a part of the whole though it does not say so by its status, as those to
 * another unit than bytes are.
 */
function mayBePart(res: ServerResponse, { range, length }: StorageContext): boolean {
  // Without one, or with one that is malformed and so does not count, what is answered is the whole.
  if (range === undefined || res.statusCode === 206) return false; // refused for its status
  if (!isByteRange(range)) return true;
  if (isMalformedRange(range)) return false;
  if (res.hasHeader('content-range')) return true;
  if (/^multipart\/byteranges\b/i.test(readHeaderText(res, 'content-type') ?? '')) return true;
  // The whole is longer than the part that was asked for. Where the range is open at its end, nobody can tell.
  const selection = length === undefined ? undefined : selectRanges(range, length);
  return selection?.kind !== 'parts' || selection.parts.some(({ end }) => end === (length as number) - 1);
}

/** A nonce that is used twice protects from nothing (CSP 3, §2.3.1). */
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
  // Encoded for one visitor, and nothing says that others may differ.
  const encoding = readHeaderText(res, 'content-encoding');
  if (encoding && !/^identity$/i.test(encoding) && !vary.includes('accept-encoding')) return 'encoding';
  const origin = readHeaderText(res, 'access-control-allow-origin');
  if (origin && origin !== '*' && !vary.includes('origin') && !isKeyed(rule, 'origin')) return 'cors';
  return undefined;
}

function isKeyed(rule: CacheRuleSettings | undefined, name: string): boolean {
  return rule?.vary.headers.includes(name) === true;
}

/** RFC 9111 §3.5: what makes a response to a request with credentials everybody's. */
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
