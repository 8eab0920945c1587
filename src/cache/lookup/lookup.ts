import type { ForwardReason } from '../../http/cache-status.js';
import { VOID } from '../../store/invalidation/invalidation-log.js';
import type { ResponseHead, StoredResponse } from '../../store/stored-response.js';
import type { CacheRuleSettings } from '../options.js';
import type { CacheRequest } from '../request/cache-request.js';
import { isKeyedByHeaders } from '../request/key.js';
import type { CacheState } from '../state.js';
import { validUntil } from './invalidated.js';
import { decideReuse, freshnessLeft, isFresh, type Permission } from './reuse.js';

/**
 * Finds the entry for a request, and how it may be used.
 *
 * @param isUse `false`: counts no use and drops nothing, as for `explain`.
 * @param fromRedis the entry that a Redis lookup has just returned; memory may have had no room for it.
 */
export function lookUp(
  state: CacheState,
  request: CacheRequest,
  isUse = true,
  fromRedis?: StoredResponse,
): Lookup {
  const { key, keys, directives, context } = request;
  const { entries, equivalents, clock } = state;
  const found = equivalents.find(key, keys, context.req, isUse);
  const { variesOtherwise } = found;
  const entry =
    found.entry ?? (fromRedis && matchesRequest(state, request, fromRedis) ? fromRedis : undefined);
  if (!entry) return { forward: variesOtherwise ? 'vary-miss' : 'uri-miss' };
  const limit = validUntil(state, entry, request.target);
  if (limit === VOID) {
    entries.drop(entry);
    return { promising: true, forward: 'miss' };
  }
  // RFC 9111 §3.5 limits storing only; the safe profile limits serving in the same way.
  if (!mayShareWith(state, request, entry)) return { forward: 'bypass' };
  const now = clock();
  const permission = decideReuse(entry, limit, now, directives);
  // RFC 9211 §2.2: `request` if the response is fresh but the request's directives reject it.
  return { entry, permission, forward: isFresh(entry, limit, now) ? 'request' : 'stale' };
}

/** Whether the rule or the response declares the response the same for all clients, so the front door may serve it. */
export function isPublicResponse(entry: StoredResponse, rule: CacheRuleSettings | undefined): boolean {
  return rule?.shared === true || entry.explicitlyShared;
}

/** Whether a stored response depends on request headers other than `Accept-Encoding`. */
export function dependsOnHeaders(
  { vary }: Pick<StoredResponse, 'vary'>,
  rule: CacheRuleSettings | undefined,
): boolean {
  if (vary.some((name) => name !== 'accept-encoding')) return true;
  return isKeyedByHeaders(rule);
}

/** Whether a fill may be storable: the rule has a lifetime, or such a response was stored before. */
export function mayBecomeStorable(rule: CacheRuleSettings | undefined, found: Lookup): boolean {
  return rule?.ttl !== undefined || found.entry !== undefined || found.promising === true;
}

/** Whether a request may get the entry of the fill it waited for; it may have come after a purge. */
export function isUsableFor(state: CacheState, request: CacheRequest, entry: StoredResponse): boolean {
  // Compared with the clock, since every entry has a finite limit while the log can't be read.
  const isValid = validUntil(state, entry, request.target) > state.clock();
  return isValid && mayShareWith(state, request, entry) && matchesRequest(state, request, entry);
}

/** Whether a client with these credentials may get the response; the safe profile requires `explicitlyShared`. */
export function mayShareWith(
  { settings }: CacheState,
  { credential }: Pick<CacheRequest, 'credential'>,
  { explicitlyShared }: Pick<ResponseHead, 'explicitlyShared'>,
): boolean {
  return settings.profile !== 'safe' || credential === undefined || explicitlyShared;
}

function matchesRequest(
  { equivalents }: CacheState,
  { keys, context }: CacheRequest,
  entry: StoredResponse,
): boolean {
  return equivalents.matches(keys, entry, context.req);
}

/** How long a stale response may replace an error by default, in the profile `rfc9111`. */
const DEFAULT_STALE_IF_ERROR_SECONDS = 86_400;

/** Whether a stored response may replace an error. */
export function mayReplaceError(
  state: CacheState,
  request: Pick<CacheRequest, 'rule' | 'target'>,
  entry: StoredResponse,
): boolean {
  const { clock, settings } = state;
  if (entry.status >= 500) return false;
  const limit = validUntil(state, entry, request.target);
  const permission = decideReuse(entry, limit, clock(), undefined);
  if (permission !== 'validate') return permission !== 'fresh';
  // RFC 9111 §4.3.3: a 5xx may count as a failure to reach the origin. Then stale responses may be served unless
  // they forbid it (§4.2.4). A declared window replaces this default.
  if (
    settings.profile !== 'rfc9111' ||
    request.rule?.staleIfError !== undefined ||
    declaresStaleIfError(entry)
  )
    return false;
  const { alwaysValidate, mustRevalidate } = entry.reuse;
  const left = freshnessLeft(entry, limit, clock()) / 1000;
  return !alwaysValidate && !mustRevalidate && -left <= DEFAULT_STALE_IF_ERROR_SECONDS;
}

function declaresStaleIfError({ headers }: StoredResponse): boolean {
  return headers.some(
    ([name, value]) => /(?:cache|surrogate)-control$/i.test(name) && /stale-if-error/i.test(String(value)),
  );
}

/** The result of a lookup. */
export interface Lookup {
  readonly entry?: StoredResponse;
  readonly permission?: Permission;
  /** Such a response was stored before, so the next one may be storable. */
  readonly promising?: boolean;
  readonly forward: ForwardReason;
}
