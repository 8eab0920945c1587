import type { IncomingHttpHeaders } from 'node:http';
import type { Conditions } from '../http/conditional-request.js';
import type { StoredResponse } from '../store/stored-response.js';
import type { PendingFill } from './collapse/collapser.js';
import type { Lookup } from './lookup/lookup.js';
import { mayBecomeStorable, mayReplaceError } from './lookup/lookup.js';
import type { CacheRequest } from './request/cache-request.js';
import { hasIgnoredCookie } from './request/credentials.js';
import { BackgroundRefresher } from './revalidate/background-refresh.js';
import type { CacheState } from './state.js';

/** How often a request waits for other fills before it fills alone. */
export const MAX_WAITS = 2;

/** The decision about a request. */
export type Decision =
  /** Serve the entry. `isEager`: refresh it afterwards, because most of its lifetime has passed. */
  | { readonly kind: 'hit'; readonly entry: StoredResponse; readonly isEager: boolean }
  /** Respond with 504 to `only-if-cached` (RFC 9111 §5.2.1.7). */
  | { readonly kind: 'gateway-timeout' }
  /**
   * Serve the stale entry, and refresh it in the background. `isPaused`: no refresh, because the last one has failed.
   */
  | { readonly kind: 'stale'; readonly entry: StoredResponse; readonly isPaused: boolean }
  /** Wait for a background refresh; serve the stale entry if it fails. */
  | { readonly kind: 'refresh'; readonly entry: StoredResponse }
  /** Wait for the fill of another request. */
  | { readonly kind: 'wait'; readonly pending: PendingFill }
  /** Run the handler. `leads`: other requests wait for this fill; otherwise `detail` may say why not. */
  | {
      readonly kind: 'fill';
      readonly leads: boolean;
      readonly detail?: string;
      /** A background request without cookies is to fill the entry meanwhile. */
      readonly fillsAnonymously?: boolean;
    };

/**
 * Decides what to do with a request. Changes nothing.
 *
 * @param waits how often the request has waited for other fills.
 * @param hasApp whether background refreshes are possible: there is an app to send them through.
 */
export function decide(
  state: CacheState,
  request: CacheRequest,
  found: Lookup,
  waits: number,
  hasApp = BackgroundRefresher.canRefresh(request.context.req),
): Decision {
  const { key, rule, directives, partition, context } = request;
  const { collapser } = state;
  const { entry, permission } = found;
  const canRefresh = partition === undefined && hasApp;
  if (entry && state.rangeUnits.mayApply(key, context.req.headers.range, entry)) {
    return { kind: 'fill', leads: false, detail: 'range' };
  }
  if (entry && isServable(state, found)) {
    return { kind: 'hit', entry, isEager: canRefresh && isDueForEagerRefresh(state, request, entry) };
  }
  if (directives?.onlyIfCached) return { kind: 'gateway-timeout' };
  const isStaleUsable = permission === 'while-revalidate' || permission === 'if-error';
  if (entry && canRefresh && isStaleUsable) {
    const use = state.refreshMarks.useOf(entry);
    if (use === 'wait') return { kind: 'stale', entry, isPaused: true };
    if (use === 'refresh' && permission === 'while-revalidate')
      return { kind: 'stale', entry, isPaused: false };
    // Limited: a refresh may return a response that this request can't use, such as one that was purged at once.
    if (use === 'refresh' && waits < MAX_WAITS) return { kind: 'refresh', entry };
  }
  const isPersonal = isForClientOnly(request, found);
  const collapses =
    mayBecomeStorable(rule, found) && rule?.collapse !== false && !isPersonal && !directives?.noCache;
  const { method, headers } = context.req;
  if (headers.range !== undefined) return { kind: 'fill', leads: false, detail: 'range' };
  if (hasIgnoredCookie(context.req, rule)) return decideWithCookie(state, request, found, waits, canRefresh);
  if (!collapses || method !== 'GET' || entry?.reuse.alwaysValidate || collapser.isRefused(key)) {
    return { kind: 'fill', leads: false };
  }
  const pending = collapser.current(key);
  if (!pending) return { kind: 'fill', leads: true };
  if (waits >= MAX_WAITS) return { kind: 'fill', leads: false, detail: 'collapse-failed' };
  return { kind: 'wait', pending };
}

/**
 * Whether a stored response may be served at once. A client may accept a stale one (`max-stale`), but not one whose
 * stale serving has ended.
 */
export function isServable({ refreshMarks }: CacheState, { entry, permission, forward }: Lookup): boolean {
  if (!entry || permission !== 'fresh') return false;
  return forward !== 'stale' || refreshMarks.useOf(entry) !== 'foreground';
}

/**
 * Decides about a request with an ignored cookie that gets no stored response: it waits for a pending fill,
 * or gets its own response. The first one of a key has a background request without cookies fill the entry, unless the
 * last such request was refused.
 */
function decideWithCookie(
  state: CacheState,
  request: CacheRequest,
  found: Lookup,
  waits: number,
  canRefresh: boolean,
): Decision {
  const { key, credential, rule, directives, context } = request;
  const { collapser, anonymousFills } = state;
  if (context.req.method !== 'GET' || credential !== undefined) return { kind: 'fill', leads: false };
  const pending = collapser.current(key);
  const mayWait = rule?.collapse !== false && !directives?.noCache && !found.entry?.reuse.alwaysValidate;
  const isRefused = collapser.isRefused(key);
  if (pending && mayWait && !isRefused && waits < MAX_WAITS) return { kind: 'wait', pending };
  if (pending || anonymousFills.has(key)) return { kind: 'fill', leads: false, detail: 'anonymous-fill' };
  if (!canRefresh || isRefused || !state.refreshMarks.mayRefresh(markKeyFor(state, request, found)))
    return { kind: 'fill', leads: false, detail: 'no-anonymous-fill' };
  return { kind: 'fill', leads: false, detail: 'anonymous-fill', fillsAnonymously: true };
}

/** The key by which refused refreshes of what a request found, or would fill, are remembered. */
function markKeyFor({ entries }: CacheState, { key, context }: CacheRequest, { entry }: Lookup): string {
  return entry?.key ?? entries.keyFor(key, [], context.req);
}

/** Whether the response to a request is for its client only, so that it is not stored and nobody waits for it. */
function isForClientOnly(request: CacheRequest, found: Lookup): boolean {
  return request.credential !== undefined && !leadsForAll(request, found);
}

/**
 * Whether a request with credentials may fill for all clients. The stored response that it found is stale and declares
 * itself public, so the next one is expected to do so too. Otherwise it is not stored.
 */
function leadsForAll({ partition }: CacheRequest, { entry, permission }: Lookup): boolean {
  return partition === undefined && entry?.explicitlyShared === true && permission !== 'validate';
}

/** Whether to look a request up in Redis before the handler runs. */
export function shouldAskRedis(state: CacheState, { key }: CacheRequest, plan: Decision): boolean {
  const needsHandler = plan.kind === 'fill' || plan.kind === 'refresh' || plan.kind === 'gateway-timeout';
  return needsHandler && mayBeInRedis(state, key);
}

/** Whether Redis may have a response for the key: the tier is usable, and no response was refused lately. */
export function mayBeInRedis({ redisLookups, collapser }: CacheState, key: string): boolean {
  return redisLookups?.isUsable === true && !collapser.isRefused(key);
}

/** Whether a fresh response is old enough for the rule's `eagerRefresh`. */
export function isDueForEagerRefresh(
  { clock, collapser, refreshMarks }: CacheState,
  { key, rule }: Pick<CacheRequest, 'key' | 'rule'>,
  entry: StoredResponse,
): boolean {
  if (rule?.eagerRefresh === undefined || collapser.current(key)) return false;
  const age = entry.initialAge * 1000 + clock() - entry.storedAt;
  const left = entry.freshUntil - clock();
  return age >= rule.eagerRefresh * (age + left) && refreshMarks.mayRefresh(entry.key);
}

/** How the handler is run for a fill, and how stored responses take part. */
export interface FillMode {
  /**
   * Whether the client's conditions are hidden from the handler, so that it sends a whole response. They are not if
   * responses were refused lately: nothing will be stored, and a 304 is cheaper.
   */
  readonly whole: boolean;
  /** The stored response whose validators the handler sees instead; a 304 makes it fresh again. */
  readonly revalidates: StoredResponse | undefined;
  readonly shown: Conditions | undefined;
  /** The stored response to compare the response to a HEAD with (RFC 9111 §4.3.5). */
  readonly compares: StoredResponse | undefined;
  /** The stored response that replaces a 5xx. */
  readonly standIn: StoredResponse | undefined;
}

export function chooseFillMode(state: CacheState, request: CacheRequest, found: Lookup): FillMode {
  const { key, rule, context } = request;
  const { entry, forward } = found;
  const { method, headers } = context.req;
  const isPersonal = isForClientOnly(request, found) || hasIgnoredCookie(context.req, rule);
  const mayStore =
    mayBecomeStorable(rule, found) && !isPersonal && method === 'GET' && headers.range === undefined;
  const whole = mayStore && !(isConditional(headers) && state.collapser.isRefused(key));
  const revalidates = whole && (forward === 'stale' || forward === 'request');
  const shown = revalidates && entry ? conditionsOf(entry) : undefined;
  // A request for another range unit must not get the whole response in place of an error.
  const isOtherUnit = entry && state.rangeUnits.mayApply(key, headers.range, entry);
  const standIn = entry && !isOtherUnit && mayReplaceError(state, request, entry) ? entry : undefined;
  const compares = method === 'HEAD' && entry?.status === 200 ? entry : undefined;
  return { whole, shown, revalidates: shown && entry, compares, standIn };
}

/** Whether the client has a response that a 304 may revalidate. */
function isConditional(headers: IncomingHttpHeaders): boolean {
  return headers['if-none-match'] !== undefined || headers['if-modified-since'] !== undefined;
}

/** Conditions to revalidate an entry with (RFC 9111 §4.3.1): only validators that the handler set. */
function conditionsOf(entry: StoredResponse): Conditions {
  return { ifNoneMatch: entry.ownEtag ? entry.etag : undefined, ifModifiedSince: entry.lastModified };
}
