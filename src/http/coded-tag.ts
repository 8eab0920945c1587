/** The codings that encoded forms are made in. */
export const CODED_FORMS = ['br', 'gzip', 'deflate'] as const;

/**
 * Entity tags of the encoded forms of one body (RFC 9110 §8.8.3.3: other content coding, other tag): that of
 * the plain form with two hyphens and the coding behind it. Always weak: the same coding may be made anew with
 * more effort, of other bytes.
 */
const CODED = /W\/("[^"]*)--(?:br|gzip|deflate)"/g;

/** The tag of a form: `"abc"` and `W/"abc"` become `W/"abc--br"`. What is no entity tag stays as it is. */
export function codedTag(etag: string, coding: string): string {
  return isEntityTag(etag) ? `W/${etag.slice(opaqueAt(etag), -1)}--${coding}"` : etag;
}

/** Whether it has the form of an entity tag (RFC 9110 §8.8.3). */
export function isEntityTag(etag: string): boolean {
  const begin = opaqueAt(etag);
  return etag[begin] === '"' && etag.indexOf('"', begin + 1) === etag.length - 1;
}

function opaqueAt(etag: string): number {
  return etag.startsWith('W/') ? 2 : 0;
}

/**
 * An `If-None-Match` value with the plain form of every coded tag added: whoever compares it knows only that.
 * Weak tags alone are taken for ours, since we make no others.
 */
export function withPlainTags(list: string): string {
  const added = new Set<string>();
  for (const [, opaque] of list.matchAll(CODED)) added.add(`W/${opaque}"`);
  return added.size === 0 ? list : [list, ...added].join(', ');
}
