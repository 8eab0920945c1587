import { parseHttpDate } from './http-date.js';

/** A part of a body, in bytes from its start, with both ends included (RFC 9110 §14.1.2). */
export interface BodyPart {
  readonly start: number;
  readonly end: number;
}

/** The bytes that a `Range` selects: all (200), none (416), or parts in the requested order (206). */
export type RangeSelection =
  | { readonly kind: 'whole' }
  | { readonly kind: 'unsatisfiable' }
  | { readonly kind: 'parts'; readonly parts: readonly BodyPart[] };

/** No player and no resumed download needs more (RFC 9110 §17.15). */
const MOST_PARTS = 8;

const WHOLE: RangeSelection = { kind: 'whole' };

/**
 * Selects the bytes of a `Range` (RFC 9110 §14.1.2, §14.2).
 *
 * - A field with another unit, or with a malformed member (`5-2`, `a-b`, `-`), is ignored: the whole body is selected.
 * - So are more than 8 members, and overlapping members: §14.2 lets a server ignore ranges that only add work.
 * - Members beyond the end are left out; without any other, the range is unsatisfiable (§15.5.17).
 * - No part of an empty body can be named (§14.4), so its suffix is the whole body.
 *
 * @param range the field's value.
 * @param length the length of the whole body, in bytes.
 */
export function selectRanges(range: string, length: number): RangeSelection {
  // §14.1: unit names are case-insensitive, and an unknown unit is ignored (§14.2).
  if (!isByteRange(range)) return WHOLE;
  const members = membersOf(range);
  if (members.length === 0 || members.length > MOST_PARTS) return WHOLE;
  const parts: BodyPart[] = [];
  for (const member of members) {
    const part = readMember(member, length);
    if (part === 'malformed') return WHOLE;
    if (part !== 'beyond') parts.push(part);
  }
  if (parts.length === 0) return { kind: 'unsatisfiable' };
  return length === 0 || overlap(parts) ? WHOLE : { kind: 'parts', parts };
}

/** Whether the unit of a `Range` is bytes (RFC 9110 §14.1). */
export function isByteRange(range: string): boolean {
  const equals = range.indexOf('=');
  return equals >= 0 && range.slice(0, equals).trim().toLowerCase() === 'bytes';
}

/** Whether a byte range has a malformed member, so that it is ignored. */
export function isMalformedRange(range: string): boolean {
  const members = membersOf(range);
  return members.length === 0 || members.some((member) => readMember(member, 1) === 'malformed');
}

function membersOf(range: string): string[] {
  return range
    .slice(range.indexOf('=') + 1)
    .split(',')
    .map((member) => member.trim())
    .filter((member) => member !== ''); // empty members are allowed (§5.6.1)
}

/** `Content-Range` of a part, or of a 416 without one (RFC 9110 §14.4). */
export function contentRange(part: BodyPart | undefined, length: number): string {
  return part ? `bytes ${part.start}-${part.end}/${length}` : `bytes */${length}`;
}

/** The validators for `If-Range`. */
export interface RangeValidators {
  readonly etag?: string;
  readonly lastModified?: string | undefined;
  /** The `Date` of the response; without it no modification date is a strong validator. */
  readonly date?: string;
}

const STRONG_TAG = /^"[\x21\x23-\x7e\x80-\xff]*"$/;

/**
 * Whether an `If-Range` matches, so that `Range` applies (RFC 9110 §13.1.5). A tag matches by strong comparison
 * (§8.8.3.2). A date matches if it equals `Last-Modified` and that is a strong validator: at least one second older
 * than the response (§8.8.2.2).
 */
export function ifRangeHolds(ifRange: string, validators: RangeValidators): boolean {
  const condition = ifRange.trim();
  if (condition.includes('"')) return STRONG_TAG.test(condition) && condition === validators.etag;
  const { lastModified, date } = validators;
  if (lastModified === undefined || date === undefined || condition !== lastModified) return false;
  const modified = parseHttpDate(lastModified);
  const made = parseHttpDate(date);
  return modified !== undefined && made !== undefined && made - modified >= 1000;
}

/** The body of a 206 with several parts. */
export interface MultipartBody {
  /** The `Content-Type` of the response; each part has the type of the whole body. */
  readonly contentType: string;
  /** The total length in bytes. */
  readonly length: number;
  /** The chunks to write, in order. Parts are views of the body, not copies. */
  readonly pieces: readonly Uint8Array[];
}

/**
 * Joins parts into `multipart/byteranges` (RFC 9110 §14.6).
 *
 * @param contentType the type of the whole body; without one, the parts have none (§15.3.7.2).
 * @param boundary 1 to 70 token characters that do not occur in the body (RFC 2046 §5.1.1): random text of the
 * caller.
 */
export function multipartBody(
  parts: readonly BodyPart[],
  body: Uint8Array,
  contentType: string | undefined,
  boundary: string,
): MultipartBody {
  const pieces: Uint8Array[] = [];
  const type = contentType === undefined ? '' : `Content-Type: ${contentType}\r\n`;
  for (const [index, part] of parts.entries()) {
    const before = index === 0 ? '' : '\r\n';
    const fields = `${type}Content-Range: ${contentRange(part, body.length)}\r\n\r\n`;
    pieces.push(latin1(`${before}--${boundary}\r\n${fields}`), body.subarray(part.start, part.end + 1));
  }
  pieces.push(latin1(`\r\n--${boundary}--\r\n`));
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  return { contentType: `multipart/byteranges; boundary=${boundary}`, length, pieces };
}

function readMember(member: string, length: number): BodyPart | 'malformed' | 'beyond' {
  const found = /^(\d*)-(\d*)$/.exec(member);
  if (!found) return 'malformed';
  const first = found[1]!;
  const last = found[2]!;
  if (first === '') {
    if (last === '') return 'malformed';
    const suffix = Number(last);
    return suffix === 0 ? 'beyond' : { start: Math.max(0, length - suffix), end: length - 1 };
  }
  if (last !== '' && isLess(last, first)) return 'malformed';
  // A number too large to be exact, or `Infinity`, is still beyond every length.
  const start = Number(first);
  if (start >= length) return 'beyond';
  return { start, end: last === '' ? length - 1 : Math.min(Number(last), length - 1) };
}

/** Compares digits, because there may be more than a number can hold. */
function isLess(a: string, b: string): boolean {
  const [x, y] = [a.replace(/^0+/, ''), b.replace(/^0+/, '')];
  return x.length === y.length ? x < y : x.length < y.length;
}

function overlap(parts: readonly BodyPart[]): boolean {
  const sorted = [...parts].sort((a, b) => a.start - b.start);
  return sorted.some((part, index) => index > 0 && part.start <= sorted[index - 1]!.end);
}

/** Header text in wire format. */
function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
