/** The codings of encoded bodies. */
export const CODED_FORMS = ['br', 'gzip', 'deflate', 'zstd'] as const;

/**
 * Entity tags of the encoded bodies of one response (RFC 9110 §8.8.3.3: another coding needs another tag). Each is the
 * tag of the plain body, followed by two hyphens, `w-` where that tag is weak, and the coding. Always weak, because a
 * later encoding with a higher quality has other bytes.
 */
const CODED = /W\/("[^"]*)--(w-)?(?:br|gzip|deflate|zstd)"/g;

/**
 * The tag of an encoded body: `"abc"` becomes `W/"abc--br"`, and `W/"abc"` becomes `W/"abc--w-br"`. Other text is
 * unchanged.
 */
export function codedTag(etag: string, coding: string): string {
  if (!isEntityTag(etag)) return etag;
  const opaque = etag.slice(opaqueAt(etag), -1);
  return etag.startsWith('W/') ? `W/${opaque}--w-${coding}"` : `W/${opaque}--${coding}"`;
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
 * The value of `If-Match` or `If-None-Match` with the tag of the app added for each coded tag, strong or weak as the
 * app made it. The tags that came stay: a server behind this one may use the same suffix. Only weak tags are read,
 * because hotpath makes no strong ones.
 */
export function withPlainTags(list: string): string {
  const added = new Set<string>();
  for (const [, opaque, weak] of list.matchAll(CODED)) added.add(weak ? `W/${opaque}"` : `${opaque}"`);
  return added.size === 0 ? list : [list, ...added].join(', ');
}
