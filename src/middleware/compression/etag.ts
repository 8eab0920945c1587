import { readHeaderText } from '../../exchange/headers.js';
import type { ResponseHeaders } from '../../exchange/response-head.js';
import type { ContentEncoding } from '../../http/content-encoding.js';
import { CODED_FORMS, codedTag } from '../../http/entity-tag.js';

/**
 * Replaces the tag of the app by a weak one for the coding. A strong tag promises identical bytes (RFC 9110
 * §8.8.1), and the app computed it from the plain body. On a compressed body, clients could join ranges of
 * different forms.
 */
export function setCodedTag(res: ResponseHeaders, coding: ContentEncoding): void {
  const tag = readHeaderText(res, 'etag');
  if (tag !== undefined) res.setHeader('ETag', codedTag(tag, coding));
}

/**
 * Gives a 304 the tag of the copy that the client has. Compression or an intermediary may have changed that
 * tag.
 */
export function renameTags(
  res: ResponseHeaders,
  list: string | undefined,
  coding: ContentEncoding | undefined,
): void {
  const tag = readHeaderText(res, 'etag');
  if (tag === undefined || list === undefined) return;
  const held = findMatchingForm(tag, list, coding);
  if (held !== undefined) res.setHeader('ETag', held === 'weak' ? `W/${tag}` : codedTag(tag, held));
}

/**
 * The tag of a copy that the client has and that is a form of the response with this tag.
 *
 * @param list the `If-None-Match` value.
 * @param coding the coding that the client would get now.
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
