/**
 * The outcome of a background refresh for its stale entry:
 *
 * - `failed`: the response shows nothing about the resource (a 5xx, an abort, a timeout), so the stale entry may be
 *   served;
 * - `ended`: the resource has changed and its response is not storable, so stale serving ends (RFC 9111 §4.3.3);
 * - `refused`: the app refused the refresh itself, which shows nothing about the response that a client would get.
 */
export type RefreshVerdict = 'failed' | 'ended' | 'refused';

/** Refusals of a good response that a purge, or another response of the same URL, made void while the handler ran. */
const VOIDED: ReadonlySet<string> = new Set(['purged', 'superseded']);

/** Refusals of a fill that has no valid response: it was aborted, or it is void. */
const NO_RESPONSE: ReadonlySet<string> = new Set([...VOIDED, 'broken', 'length', 'fault', 'rule']);

/** Refusals because the request that arrived differs from the request of the entry, or another route responded. */
const OTHER_REQUEST: ReadonlySet<string> = new Set([
  ...['route', 'origin', 'method', 'body'],
  ...['header-changed', 'when-changed', 'partition-changed'],
]);

/** Status codes besides 2xx and 3xx that describe the resource and not the request. */
const GONE: ReadonlySet<number> = new Set([404, 410, 451]);

/** Status codes that apps use to shed load or to deny access. `refreshRefused: 'stale'` applies to these. */
const SHED: ReadonlySet<number> = new Set([401, 403, 429]);

/** The complete response to a background refresh. */
export interface RefreshAnswer {
  /** The status as the app wrote it. */
  readonly status: number;
  /** Why the fill did not store it; `undefined` if the request never reached the cache. */
  readonly refusal: string | undefined;
  /** The refresh's own credential (`refreshHeaders`). The response may be valid for it alone. */
  readonly credential: string | undefined;
}

/** @param keepsStale `refreshRefused: 'stale'`: the stale entry is still served after a 401, 403 or 429. */
export function judgeRefresh(
  { status, refusal, credential }: RefreshAnswer,
  keepsStale: boolean,
): RefreshVerdict {
  if (refusal !== undefined && NO_RESPONSE.has(refusal)) return 'failed';
  if (status >= 500 && status <= 599) return 'failed';
  if (keepsStale && SHED.has(status)) return 'failed';
  if (refusal !== undefined && (OTHER_REQUEST.has(refusal) || refusal === credential)) return 'refused';
  // A middleware before the cache responded. It does not respond to the entry's own request, so it is an access check.
  if (status >= 200 && status <= 299) return refusal === undefined ? 'refused' : 'ended';
  return (status >= 300 && status <= 399) || GONE.has(status) ? 'ended' : 'refused';
}

/** Whether something else made the response void while the handler ran, so that the app has not failed. */
export function isVoided(refusal: string | undefined): boolean {
  return refusal !== undefined && VOIDED.has(refusal);
}

/** The reason under which a refused or ended refresh is counted: that of the fill, or the status code. */
export function reasonFor({ status, refusal }: RefreshAnswer): string {
  if (refusal !== undefined && refusal !== 'status') return refusal;
  return status >= 200 && status <= 299 && refusal === undefined ? 'route' : String(status);
}
