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
 * What is stored for a request, and what may be done with it.
 *
 * @param isUse whether it is looked for to be used; otherwise nothing is noted, or dropped.
 * @param brought from what instances share, just now: memory may be too small to hold it until it is looked up.
 */
export function lookUp(
  state: CacheState,
  request: CacheRequest,
  isUse = true,
  brought?: StoredResponse,
): Lookup {
  const { key, keys, directives, context } = request;
  const { entries, equivalents, clock } = state;
  const found = equivalents.find(key, keys, context.req, isUse);
  const { variesOtherwise } = found;
  const entry = found.entry ?? (brought && matchesRequest(state, request, brought) ? brought : undefined);
  if (!entry) return { forward: variesOtherwise ? 'vary-miss' : 'uri-miss' };
  const limit = validUntil(state, entry, request.target);
  if (limit === VOID) {
    entries.drop(entry);
    return { promising: true, forward: 'miss' };
  }
  // §3.5 is about storing; the safe profile will not serve what it would not have stored either.
  if (!mayShareWith(state, request, entry)) return { forward: 'bypass' };
  const now = clock();
  const permission = decideReuse(entry, limit, now, directives);
  // RFC 9211 §2.2: `request` where the response was fresh, and it is the visitor who will not have it.
  return { entry, permission, forward: isFresh(entry, limit, now) ? 'request' : 'stale' };
}

/** Whether the rule or the response itself says that it is the same for all, as to a cache in front of the app. */
export function isPublicResponse(entry: StoredResponse, rule: CacheRuleSettings | undefined): boolean {
  return rule?.shared === true || entry.explicitlyShared;
}

/** Whether a stored response depends on request headers, but for the coding of its body. */
export function dependsOnHeaders(
  { vary }: Pick<StoredResponse, 'vary'>,
  rule: CacheRuleSettings | undefined,
): boolean {
  if (vary.some((name) => name !== 'accept-encoding')) return true;
  return isKeyedByHeaders(rule);
}

/** Whether something may come of a fill: a lifetime is promised, or such a response was stored before. */
export function mayBecomeStorable(rule: CacheRuleSettings | undefined, found: Lookup): boolean {
  return rule?.ttl !== undefined || found.entry !== undefined || found.promising === true;
}

/** Whether what another's fill has stored may be given to this visitor, who may have come after a purge. */
export function isUsableFor(state: CacheState, request: CacheRequest, entry: StoredResponse): boolean {
  // Not only where the limit is infinite: while the log can't be read, every entry has one.
  const isValid = validUntil(state, entry, request.target) > state.clock();
  return isValid && mayShareWith(state, request, entry) && matchesRequest(state, request, entry);
}

/** Whether a response may be given to a client with this client's credentials, of which the safe profile takes care. */
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

/** How long a response may stand in for an error where nothing says so, and the standard decides. Seconds. */
const DEFAULT_STALE_IF_ERROR_SECONDS = 86_400;

/** Whether a stored response may take the place of an error. */
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
  // RFC 9111 §4.3.3: a 5xx may be taken for no answer at all, and a cache that gets none may serve what is stale,
  // unless that is forbidden (§4.2.4). Who sets a window means that one.
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

/** What is stored for a visit. */
export interface Lookup {
  readonly entry?: StoredResponse;
  readonly permission?: Permission;
  /** Such a response was stored before, so one may be again. */
  readonly promising?: boolean;
  readonly forward: ForwardReason;
}
