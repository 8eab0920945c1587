import type { ResponseHeaders } from '../../exchange/response-head.js';
import type { ContentEncoding } from '../../http/content-encoding.js';
import { CODED_FORMS, codedTag } from '../../http/entity-tag.js';

/**
 * A strong tag promises that two bodies are the same, byte for byte (RFC 9110 §8.8.1), and the app made it of
 * the plain body. Kept on the compressed one, a range or a delta could be joined with the wrong form.
 */
export function setCodedTag(res: ResponseHeaders, coding: ContentEncoding): void {
  const tag = res.getHeader('etag');
  if (typeof tag === 'string') res.setHeader('ETag', codedTag(tag, coding));
}

/** A 304 names the copy that the client has: a compressed one has a tag of its own, or was weakened on its way. */
export function renameTags(
  res: ResponseHeaders,
  list: string | undefined,
  coding: ContentEncoding | undefined,
): void {
  const tag = res.getHeader('etag');
  if (typeof tag !== 'string' || list === undefined) return;
  const held = findMatchingForm(tag, list, coding);
  if (held !== undefined) res.setHeader('ETag', held === 'weak' ? `W/${tag}` : codedTag(tag, held));
}

/**
 * Which copy of a response the client has, other than the one of this tag.
 *
 * @param list the `If-None-Match` value.
 * @param coding that the client would get now.
 */
export function findMatchingForm(
  tag: string,
  list: string,
  coding: ContentEncoding | undefined,
): ContentEncoding | 'weak' | undefined {
  if (list === tag) return undefined;
  const codings = coding === undefined ? CODED_FORMS : [coding, ...CODED_FORMS];
  const held = codings.find((each) => {
    const copy = codedTag(tag, each);
    return copy !== tag && list.includes(copy);
  });
  return held ?? (tag.startsWith('"') && list.includes(`W/${tag}`) ? 'weak' : undefined);
}
