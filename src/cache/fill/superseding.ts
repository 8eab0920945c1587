/** By which a client's own request is refused, or sent to a login page (threats A11, B21). */
const ALONE: ReadonlySet<number> = new Set([
  ...[302, 303, 307],
  ...[400, 401, 403, 406, 412, 413, 414, 415, 416, 417, 429, 431],
]);

/** Why a response was not stored that takes the place of a stored one (RFC 9111 §4.3.3, §4.3.4). */
const SUPERSEDING: ReadonlySet<string> = new Set(['no-store', 'private', 'vary-star']);

/** Whether a refused response is meant for its client alone: another may get the one that is stored. */
export function isForClientAlone(refusal: string, status: number): boolean {
  return refusal === 'status' && ALONE.has(status);
}

/** Whether a response that is not stored takes the place of the stored one: 404, 410 and redirects as well. */
export function isSuperseding(refusal: string, status: number): boolean {
  if (refusal !== 'status') return SUPERSEDING.has(refusal);
  return status === 404 || status === 410 || (status >= 300 && status <= 399);
}
