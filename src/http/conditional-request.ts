import { parseHttpDate } from './http-date.js';

/** The conditions of a request that allow a 304 (RFC 9110 §13.1.2, §13.1.3). */
export interface Conditions {
  readonly ifNoneMatch?: string | undefined;
  readonly ifModifiedSince?: string | undefined;
}

/** The validators of a response (RFC 9110 §8.8). */
export interface Validators {
  readonly etag?: string | undefined;
  readonly lastModified?: string | undefined;
}

const ENTITY_TAG = /^(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"$/;

/**
 * Whether a GET or HEAD with these conditions gets a 304 (RFC 9110 §13.2.2): `If-None-Match` by weak
 * comparison; `If-Modified-Since` only without `If-None-Match`.
 */
export function notModified(conditions: Conditions, validators: Validators): boolean {
  if (conditions.ifNoneMatch !== undefined) {
    return validators.etag !== undefined && matchesEtagList(conditions.ifNoneMatch, validators.etag);
  }
  if (conditions.ifModifiedSince === undefined || validators.lastModified === undefined) return false;
  const since = parseHttpDate(conditions.ifModifiedSince);
  const modified = parseHttpDate(validators.lastModified);
  return since !== undefined && modified !== undefined && modified <= since;
}

/** Whether an `If-None-Match` value is `*` or lists the tag, by weak comparison (RFC 9110 §8.8.3.2). */
export function matchesEtagList(list: string, etag: string): boolean {
  if (list.trim() === '*') return true;
  if (!ENTITY_TAG.test(etag)) return false;
  const opaque = etag.startsWith('W/') ? etag.slice(2) : etag;
  // A tag may contain commas, so the list is read from quote to quote.
  let at = 0;
  while (at < list.length) {
    const open = list.indexOf('"', at);
    if (open < 0) return false;
    const close = list.indexOf('"', open + 1);
    if (close < 0) return false;
    if (close - open + 1 === opaque.length && list.startsWith(opaque, open)) return true;
    at = close + 1;
  }
  return false;
}
