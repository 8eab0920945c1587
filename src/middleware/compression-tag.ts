import type { ContentEncoding } from '../config/compression.js';
import type { Headers } from '../exchange/heading.js';
import { codedTag } from '../http/coded-tag.js';

const CODINGS: readonly ContentEncoding[] = ['br', 'gzip', 'deflate'];

/**
 * A strong tag promises that two bodies are the same, byte for byte (RFC 9110 §8.8.1), and the app made it of
 * the plain body. Kept on the compressed one, a range or a delta could be joined with the wrong form.
 */
export function setTag(res: Headers, coding: ContentEncoding): void {
  const tag = res.getHeader('etag');
  if (typeof tag === 'string') res.setHeader('ETag', codedTag(tag, coding));
}

/** A 304 names the copy that the client has: a compressed one has a tag of its own, or was weakened on its way. */
export function nameCopy(res: Headers, list: string | undefined, coding: ContentEncoding | undefined): void {
  const tag = res.getHeader('etag');
  if (typeof tag !== 'string' || list === undefined) return;
  const copies = [coding, ...CODINGS].map((each) => (each ? codedTag(tag, each) : tag));
  if (tag.startsWith('"')) copies.push(`W/${tag}`);
  const held = copies.find((copy) => copy !== tag && list.includes(copy));
  if (held !== undefined) res.setHeader('ETag', held);
}
