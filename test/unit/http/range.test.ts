import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type BodyPart,
  contentRange,
  ifRangeHolds,
  multipartBody,
  selectRanges,
} from '../../../src/http/range.js';

const whole = { kind: 'whole' };
const unsatisfiable = { kind: 'unsatisfiable' };
const parts = (...given: [start: number, end: number][]) => ({
  kind: 'parts',
  parts: given.map(([start, end]) => ({ start, end })),
});

describe('selectRanges', () => {
  it.each<[string, string, ReturnType<typeof selectRanges> | object]>([
    ['the first byte', 'bytes=0-0', parts([0, 0])],
    ['the last byte', 'bytes=9-9', parts([9, 9])],
    ['a beginning', 'bytes=0-4', parts([0, 4])],
    ['a rest', 'bytes=4-', parts([4, 9])],
    ['all of it', 'bytes=0-', parts([0, 9])],
    ['a suffix', 'bytes=-3', parts([7, 9])],
    ['a suffix longer than the body', 'bytes=-11', parts([0, 9])],
    ['an end beyond the body', 'bytes=8-10', parts([8, 9])],
    ['two parts', 'bytes=0-1,4-5', parts([0, 1], [4, 5])],
    ['parts in the order asked for', 'bytes=6-7, -1, 0-0', parts([6, 7], [9, 9], [0, 0])],
    ['parts that touch', 'bytes=0-4,5-9', parts([0, 4], [5, 9])],
    ['empty members', 'bytes=, 0-1 ,,', parts([0, 1])],
    ['the unit in another case', 'Bytes=0-1', parts([0, 1])],
    ['leading zeros', 'bytes=00-0001', parts([0, 1])],
    ['the satisfiable of several ranges', 'bytes=20-30,0-1,-0', parts([0, 1])],
    ['eight parts', 'bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7', { kind: 'parts' }],
  ])('selects %s [D11]', (_case, range, selection) => {
    expect(selectRanges(range, 10)).toMatchObject(selection);
  });

  it.each([
    ['ends before it begins', 'bytes=5-2'],
    ['ends before it begins, by a digit that no number holds', 'bytes=9007199254740993-9007199254740992'],
    ['is of another unit', 'items=0-1'],
    ['has no unit', '0-1'],
    ['has no member', 'bytes='],
    ['has only empty members', 'bytes=,,'],
    ['names nothing', 'bytes=-'],
    ['has no number', 'bytes=a-b'],
    ['has a sign', 'bytes=+1-2'],
    ['has two signs', 'bytes=--1'],
    ['has a fraction', 'bytes=0.5-1'],
    ['has white space within', 'bytes=0 - 1'],
    ['has hexadecimal digits', 'bytes=0x0-0x1'],
    ['has one bad member among good ones', 'bytes=0-1,x'],
    ['has nine members', 'bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8'],
    ['repeats one part 200 times', `bytes=${'0-,'.repeat(200)}`],
    ['overlaps itself', 'bytes=0-5,5-9'],
    ['overlaps itself from behind', 'bytes=8-9,0-8'],
    ['asks twice for the same', 'bytes=1-2,1-2'],
    ['has a bad member after many empty ones', `bytes=0-1${','.repeat(500)}5-2`],
  ])('serves the whole body to a range that %s [D11]', (_case, range) => {
    expect(selectRanges(range, 10)).toEqual(whole);
  });

  it.each([
    ['begins behind the end', 'bytes=10-'],
    ['begins far behind the end', `bytes=${'9'.repeat(400)}-`],
    ['lies behind the end as a whole', 'bytes=10-20,30-40'],
    ['is an empty suffix', 'bytes=-0'],
  ])('cannot satisfy a range that %s [D11]', (_case, range) => {
    expect(selectRanges(range, 10)).toEqual(unsatisfiable);
  });

  it('serves the whole body as one part for a suffix over the safe integer range [D11]', () => {
    expect(selectRanges('bytes=-99999999999999999999', 10)).toEqual(parts([0, 9]));
    expect(selectRanges(`bytes=-${'9'.repeat(400)}`, 10)).toEqual(parts([0, 9]));
  });

  it('has no part of an empty body [D11]', () => {
    expect(selectRanges('bytes=0-', 0)).toEqual(unsatisfiable);
    expect(selectRanges('bytes=0-0', 0)).toEqual(unsatisfiable);
    expect(selectRanges('bytes=-1', 0)).toEqual(whole);
    expect(selectRanges('bytes=-0', 0)).toEqual(unsatisfiable);
  });

  it('selects exactly the bytes that the numbers name, and never more than there are [D11]', () => {
    const digits = fc.oneof(
      fc.integer({ min: 0, max: 30 }).map(String),
      fc.stringMatching(/^[0-9]{1,25}$/),
      fc.constant(''),
    );
    const members = fc.array(fc.tuple(digits, digits), { minLength: 1, maxLength: 10 });
    fc.assert(
      fc.property(members, fc.integer({ min: 0, max: 24 }), (given, length) => {
        const range = `bytes=${given.map(([first, last]) => `${first}-${last}`).join(',')}`;
        const selection = selectRanges(range, length);
        const obvious = given.map(([first, last]) => bytesOf(first, last, length));
        if (obvious.includes(undefined) || given.length > 8) expect(selection).toEqual(whole);
        else if (selection.kind === 'unsatisfiable')
          expect(obvious.every((bytes) => bytes?.size === 0)).toBe(true);
        else if (selection.kind === 'parts') {
          const selected = selection.parts.map(({ start, end }) => numbers(start, end));
          expect(selected).toEqual(obvious.filter((bytes) => bytes!.size > 0));
          const all = selected.flatMap((bytes) => [...bytes]);
          expect(new Set(all).size).toBe(all.length);
        } else {
          const all = obvious.flatMap((bytes) => [...bytes!]);
          expect(length === 0 || new Set(all).size < all.length).toBe(true);
        }
      }),
      { numRuns: 2_000, seed: 14 },
    );
  });
});

/** The bytes of one range, one by one; `undefined` for an invalid range. */
function bytesOf(first: string, last: string, length: number): Set<number> | undefined {
  if (first === '' && last === '') return undefined;
  const bytes = Array.from({ length }, (_, at) => at);
  if (first === '') return new Set(bytes.filter((at) => BigInt(length - at) <= BigInt(last)));
  if (last !== '' && BigInt(last) < BigInt(first)) return undefined;
  return new Set(
    bytes.filter((at) => BigInt(at) >= BigInt(first) && (last === '' || BigInt(at) <= BigInt(last))),
  );
}

function numbers(start: number, end: number): Set<number> {
  return new Set(Array.from({ length: end - start + 1 }, (_, at) => start + at));
}

describe('contentRange', () => {
  it('names the part and the whole, or the whole alone [D11]', () => {
    expect(contentRange({ start: 2, end: 4 }, 10)).toBe('bytes 2-4/10');
    expect(contentRange(undefined, 10)).toBe('bytes */10');
  });
});

describe('ifRangeHolds', () => {
  const MODIFIED = 'Sun, 06 Nov 1994 08:49:37 GMT';
  const validators = {
    etag: '"a"',
    lastModified: MODIFIED,
    date: 'Sun, 06 Nov 1994 08:49:38 GMT',
  };

  it.each<[string, string, object]>([
    ['the strong tag', '"a"', validators],
    ['the strong tag, with white space', ' "a" ', validators],
    ['the date, a second before the response', MODIFIED, validators],
  ])('holds for %s [D11]', (_case, ifRange, given) => {
    expect(ifRangeHolds(ifRange, given)).toBe(true);
  });

  it.each<[string, string, object]>([
    ['another tag', '"b"', validators],
    ['a weak tag', 'W/"a"', validators],
    ['a weak tag for the same weak tag', 'W/"a"', { ...validators, etag: 'W/"a"' }],
    ['a strong tag for a weak one', '"a"', { ...validators, etag: 'W/"a"' }],
    ['a list of tags', '"a", "b"', { ...validators, etag: '"a", "b"' }],
    ['a tag where the response has none', '"a"', { lastModified: MODIFIED }],
    ['any tag', '*', validators],
    ['nothing', '', validators],
    ['a later date', 'Sun, 06 Nov 1994 08:49:39 GMT', validators],
    ['an earlier date', 'Sun, 06 Nov 1994 08:49:36 GMT', validators],
    ['the date where the response was made in the same second', MODIFIED, { ...validators, date: MODIFIED }],
    ['a date without a Date', MODIFIED, { lastModified: MODIFIED }],
    ['a date with an invalid Date', MODIFIED, { ...validators, date: 'today' }],
    ['a date without a Last-Modified', MODIFIED, { date: validators.date }],
    ['an invalid date, equal in both', 'today', { ...validators, lastModified: 'today' }],
  ])('does not hold for %s [D11]', (_case, ifRange, given) => {
    expect(ifRangeHolds(ifRange, given)).toBe(false);
  });
});

describe('multipartBody', () => {
  const body = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const text = (pieces: readonly Uint8Array[]) => Buffer.concat(pieces).toString('latin1');

  it('frames every part with its own type and place [D11]', () => {
    const given = [
      { start: 65, end: 67 },
      { start: 48, end: 48 },
    ];
    const made = multipartBody(given, body, 'text/plain; charset=utf-8', 'cut');
    expect(made.contentType).toBe('multipart/byteranges; boundary=cut');
    expect(text(made.pieces)).toBe(
      [
        '--cut',
        'Content-Type: text/plain; charset=utf-8',
        'Content-Range: bytes 65-67/256',
        '',
        'ABC',
        '--cut',
        'Content-Type: text/plain; charset=utf-8',
        'Content-Range: bytes 48-48/256',
        '',
        '0',
        '--cut--',
        '',
      ].join('\r\n'),
    );
  });

  it('names no type for a body without a type [D11]', () => {
    const made = multipartBody([{ start: 65, end: 65 }], body, undefined, 'cut');
    expect(text(made.pieces)).toBe('--cut\r\nContent-Range: bytes 65-65/256\r\n\r\nA\r\n--cut--\r\n');
  });

  it('counts what it writes, and copies no bytes of the body [D11]', () => {
    const part = fc.tuple(fc.nat(255), fc.nat(255)).map<BodyPart>(([a, b]) => ({
      start: Math.min(a, b),
      end: Math.max(a, b),
    }));
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 8 }), (given) => {
        const made = multipartBody(given, body, 'x/y', 'cut');
        expect(made.length).toBe(Buffer.concat(made.pieces).length);
        const views = made.pieces.filter((piece) => piece.buffer === body.buffer);
        expect(views.map((view) => [...view])).toEqual(
          given.map(({ start, end }) => [...numbers(start, end)]),
        );
      }),
      { numRuns: 200, seed: 14 },
    );
  });
});
