/**
 * What the answer to a background refresh means for the stale entry:
 *
 * - `failed`: it says nothing of the resource (a 5xx, a break, a time-out), so the stale entry may be served;
 * - `ended`: the resource has changed and its answer may not be stored, so stale serving ends (RFC 9111 §4.3.3);
 * - `refused`: the app refused the refresh itself, which says nothing of what a client would get.
 */
export type RefreshVerdict = 'failed' | 'ended' | 'refused';

/** Reasons of a fill that are no answer to the refresh: it broke off, or a purge or another response has made it void. */
const NO_ANSWER: ReadonlySet<string> = new Set(['broken', 'length', 'purged', 'superseded', 'fault']);

/** The request that arrived was another than the one that the entry answers, or another route answered it. */
const OTHER_REQUEST: ReadonlySet<string> = new Set([
  ...['route', 'origin', 'method', 'body'],
  ...['header-changed', 'when-changed', 'partition-changed'],
]);

/** Final answers besides 2xx and 3xx that speak of the resource and not of the request. */
const GONE: ReadonlySet<number> = new Set([404, 410, 451]);

/** Status codes by which apps shed load and gates turn requests away; `refreshRefused: 'stale'` means these. */
const SHED: ReadonlySet<number> = new Set([401, 403, 429]);

/** The answer to a background refresh, once it is complete. */
export interface RefreshAnswer {
  /** As the app wrote it. */
  readonly status: number;
  /** Why it was not stored, by the fill; `undefined` where the request never came to the cache. */
  readonly refusal: string | undefined;
  /** The refresh has its own credential (`refreshHeaders`), and the answer may be for that alone. */
  readonly credential: string | undefined;
}

/** @param keepsStale `refreshRefused: 'stale'`: apps that shed load so keep being served stale. */
export function judgeRefresh(
  { status, refusal, credential }: RefreshAnswer,
  keepsStale: boolean,
): RefreshVerdict {
  if (refusal !== undefined && NO_ANSWER.has(refusal)) return 'failed';
  if (status >= 500 && status <= 599) return 'failed';
  if (keepsStale && SHED.has(status)) return 'failed';
  if (refusal !== undefined && (OTHER_REQUEST.has(refusal) || refusal === credential)) return 'refused';
  // Answered before the cache, by something that never runs for the entry's own request: a gate.
  if (status >= 200 && status <= 299) return refusal === undefined ? 'refused' : 'ended';
  return (status >= 300 && status <= 399) || GONE.has(status) ? 'ended' : 'refused';
}

/** The word under which a refused or ended refresh is counted: what the fill said, or the status code. */
export function reasonFor({ status, refusal }: RefreshAnswer): string {
  if (refusal !== undefined && refusal !== 'status') return refusal;
  return status >= 200 && status <= 299 && refusal === undefined ? 'route' : String(status);
}
