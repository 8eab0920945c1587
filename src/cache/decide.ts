import type { IncomingHttpHeaders } from 'node:http';
import type { Conditions } from '../http/conditional-request.js';
import type { StoredResponse } from '../store/stored-response.js';
import type { PendingFill } from './collapse/collapser.js';
import type { Lookup } from './lookup/lookup.js';
import { mayBecomeStorable, mayReplaceError } from './lookup/lookup.js';
import type { CacheRequest } from './request/cache-request.js';
import { BackgroundRefresher } from './revalidate/background-refresh.js';
import type { CacheState } from './state.js';

/** How often a request waits for others before it runs by itself. */
export const MAX_WAITS = 2;

/** What is to be done with a request. */
export type Decision =
  /** Serve what is stored; where it is near its end, have it refreshed afterwards. */
  | { readonly kind: 'hit'; readonly entry: StoredResponse; readonly isEager: boolean }
  /** Say that it is not stored, to whom that is all that counts (RFC 9111 §5.2.1.7). */
  | { readonly kind: 'gateway-timeout' }
  /** Serve it stale, and have it refreshed, unless the last refresh has just failed. */
  | { readonly kind: 'stale'; readonly entry: StoredResponse; readonly isPaused: boolean }
  /** Have it refreshed, and serve it stale where that fails. */
  | { readonly kind: 'refresh'; readonly entry: StoredResponse }
  /** Wait for another's fill. */
  | { readonly kind: 'wait'; readonly pending: PendingFill }
  /** Let the app answer; as the one fill that others wait for, or beside it for the reason given. */
  | { readonly kind: 'fill'; readonly leads: boolean; readonly detail?: string };

/**
 * Decides, and changes nothing.
 *
 * @param waits how often the request has waited for others already.
 * @param hasApp whether there is an app to send requests of our own into.
 */
export function decide(
  state: CacheState,
  request: CacheRequest,
  found: Lookup,
  waits: number,
  hasApp = BackgroundRefresher.canRefresh(request.context.req),
): Decision {
  const { key, credential, rule, directives, partition, context } = request;
  const { collapser } = state;
  const { entry, permission } = found;
  const canRefresh = partition === undefined && hasApp;
  if (entry && state.rangeUnits.mayApply(key, context.req.headers.range, entry)) {
    return { kind: 'fill', leads: false, detail: 'range' };
  }
  // A client may accept a stale response (`max-stale`), but not one whose stale serving has ended.
  const isEnded = entry && found.forward === 'stale' && state.refreshMarks.useOf(entry) === 'foreground';
  if (entry && permission === 'fresh' && !isEnded) {
    return { kind: 'hit', entry, isEager: canRefresh && isDueForEagerRefresh(state, request, entry) };
  }
  if (directives?.onlyIfCached) return { kind: 'gateway-timeout' };
  const isStaleUsable = permission === 'while-revalidate' || permission === 'if-error';
  if (entry && canRefresh && isStaleUsable) {
    const use = state.refreshMarks.useOf(entry);
    if (use === 'wait') return { kind: 'stale', entry, isPaused: true };
    if (use === 'refresh' && permission === 'while-revalidate')
      return { kind: 'stale', entry, isPaused: false };
    // A refresh that brings what the request can't use, such as what was purged at once, is not repeated for it.
    if (use === 'refresh' && waits < MAX_WAITS) return { kind: 'refresh', entry };
  }
  const isPersonal = credential !== undefined && !leadsForAll(request, found);
  const collapses =
    mayBecomeStorable(rule, found) && rule?.collapse !== false && !isPersonal && !directives?.noCache;
  const { method, headers } = context.req;
  if (headers.range !== undefined) return { kind: 'fill', leads: false, detail: 'range' };
  if (!collapses || method !== 'GET' || entry?.reuse.alwaysValidate || collapser.isRefused(key)) {
    return { kind: 'fill', leads: false };
  }
  const pending = collapser.current(key);
  if (!pending) return { kind: 'fill', leads: true };
  if (waits >= MAX_WAITS) return { kind: 'fill', leads: false, detail: 'collapse-failed' };
  return { kind: 'wait', pending };
}

/**
 * Whether a request with credentials may fill for all clients: the stored response that it found is stale and declares
 * itself shared, so the next one is expected to. One that does not is not stored.
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
export function mayBeInRedis({ shared, collapser }: CacheState, key: string): boolean {
  return shared?.isUsable === true && !collapser.isRefused(key);
}

/** Whether so much of its lifetime has gone that a fresh response is to be refreshed. */
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

/** How the handler is request, and what its answer may turn into. */
export interface FillMode {
  /**
   * The client's conditions are hidden from the handler, so that it answers with the whole. They are not where its
   * responses were refused lately: there is nothing to store, and a 304 would cost the whole body.
   */
  readonly whole: boolean;
  /** The stored response whose conditions the handler is shown instead; its 304 makes it fresh again. */
  readonly revalidates: StoredResponse | undefined;
  readonly shown: Conditions | undefined;
  /** The stored response that the answer to a HEAD is compared with (RFC 9111 §4.3.5). */
  readonly compares: StoredResponse | undefined;
  /** What stands in for a 5xx. */
  readonly standIn: StoredResponse | undefined;
}

export function chooseFillMode(state: CacheState, request: CacheRequest, found: Lookup): FillMode {
  const { credential, key, rule, context } = request;
  const { entry, forward } = found;
  const { method, headers } = context.req;
  const isPersonal = credential !== undefined && !leadsForAll(request, found);
  const mayStore =
    mayBecomeStorable(rule, found) && !isPersonal && method === 'GET' && headers.range === undefined;
  const whole = mayStore && !(isConditional(headers) && state.collapser.isRefused(key));
  const confirms = whole && (forward === 'stale' || forward === 'request');
  const shown = confirms && entry ? conditionsOf(entry) : undefined;
  // To a client who asked for another unit, the whole is the wrong page; an error is not.
  const isOtherUnit = entry && state.rangeUnits.mayApply(key, headers.range, entry);
  const standIn = entry && !isOtherUnit && mayReplaceError(state, request, entry) ? entry : undefined;
  const compares = method === 'HEAD' && entry?.status === 200 ? entry : undefined;
  return { whole, shown, revalidates: shown && entry, compares, standIn };
}

/** The client has a response, which the handler may confirm at less cost than it makes another. */
function isConditional(headers: IncomingHttpHeaders): boolean {
  return headers['if-none-match'] !== undefined || headers['if-modified-since'] !== undefined;
}

/** What the handler is shown to confirm a stored response by (RFC 9111 §4.3.1): validators that it gave itself. */
function conditionsOf(entry: StoredResponse): Conditions {
  return { ifNoneMatch: entry.ownEtag ? entry.etag : undefined, ifModifiedSince: entry.lastModified };
}
