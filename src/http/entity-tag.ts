/** The codings of encoded bodies. */
export const CODED_FORMS = ['br', 'gzip', 'deflate'] as const;

/**
 * Entity tags of the encoded bodies of one response (RFC 9110 §8.8.3.3: another coding needs another tag): the
 * tag of the plain body, followed by two hyphens and the coding. Always weak, because a later encoding with a higher
 * quality has other bytes.
 */
const CODED = /W\/("[^"]*)--(?:br|gzip|deflate)"/g;

/** The tag of an encoded body: `"abc"` and `W/"abc"` become `W/"abc--br"`. Other text is unchanged. */
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
 * An `If-None-Match` value with the plain form of each coded tag added, because comparisons use only plain tags.
 * Only weak tags are converted: hotpath makes no strong ones.
 */
export function withPlainTags(list: string): string {
  const added = new Set<string>();
  for (const [, opaque] of list.matchAll(CODED)) added.add(`W/${opaque}"`);
  return added.size === 0 ? list : [list, ...added].join(', ');
}
