/** Status codes that refuse one client's request, or redirect it to a login page (threats A11, B21). */
const ONE_CLIENT_STATUSES: ReadonlySet<number> = new Set([
  ...[302, 303, 307],
  ...[400, 401, 403, 406, 412, 413, 414, 415, 416, 417, 429, 431],
]);

/** Refusals of a response that still replaces the stored one (RFC 9111 §4.3.3, §4.3.4). */
const SUPERSEDING_REFUSALS: ReadonlySet<string> = new Set(['no-store', 'private', 'vary-star']);

/** Refusals after which another request should try to fill. A 5xx is one too. */
const FAILED_REFUSALS: ReadonlySet<string> = new Set([
  ...['broken', 'length', 'purged', 'superseded', 'fault', 'stale-result'],
]);

/** Refusals caused by the request. Refusals for its credential are handled separately. */
const REQUEST_REFUSALS: ReadonlySet<string> = new Set(['head', 'range', 'request-no-store']);

/** Whether the fill failed, so that another request should try. */
export function isFailure(refusal: string, status: number): boolean {
  return FAILED_REFUSALS.has(refusal) || (refusal === 'status' && status >= 500);
}

/** Whether the request itself caused the refusal, so that other requests may well fill. */
export function isForRequestAlone(refusal: string): boolean {
  return REQUEST_REFUSALS.has(refusal);
}

/** Whether a refused response applies to its client alone, so that others may get the stored one. */
export function isForClientAlone(refusal: string, status: number): boolean {
  return refusal === 'status' && ONE_CLIENT_STATUSES.has(status);
}

/** Whether a response that is not stored replaces the stored one. 404, 410 and redirects do as well. */
export function isSuperseding(refusal: string, status: number): boolean {
  if (refusal !== 'status') return SUPERSEDING_REFUSALS.has(refusal);
  return status === 404 || status === 410 || (status >= 300 && status <= 399);
}
