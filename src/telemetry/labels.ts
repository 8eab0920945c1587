/** The methods of RFC 9110 §9.3 and PATCH; a client can send many more. */
const METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'PATCH',
]);

/** Stands for every other method, and for every status that HTTP does not have. */
export const OTHER_LABEL = 'other';

/** A method as a label. */
export function labelOfMethod(method: string | undefined): string {
  return method !== undefined && METHODS.has(method) ? method : OTHER_LABEL;
}
