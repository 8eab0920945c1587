import { describe, expect, it } from 'vitest';
import { matchesEtagList, notModified } from '../../../src/http/conditional-request.js';
import { expectLinear } from '../../helpers/linear.js';

const LATER = 'Mon, 07 Nov 1994 08:49:37 GMT';
const THEN = 'Sun, 06 Nov 1994 08:49:37 GMT';
const EARLIER = 'Sat, 05 Nov 1994 08:49:37 GMT';

describe('listsTag', () => {
  it.each([
    ['the tag itself', '"a"', '"a"'],
    ['a weak one for a strong one', 'W/"a"', '"a"'],
    ['a strong one for a weak one', '"a"', 'W/"a"'],
    ['any', '*', '"a"'],
    ['any, with white space', ' * ', 'W/"a"'],
    ['one of a list', '"x", W/"a" ,"y"', '"a"'],
    ['without white space', '"x","a"', '"a"'],
    ['a tag with a comma', '"x", "a,b"', '"a,b"'],
    ['the empty tag', '"x", ""', '""'],
    ['a tag of Latin-1', '"é"', '"é"'],
  ])('finds %s [D12]', (_case, list, etag) => {
    expect(matchesEtagList(list, etag)).toBe(true);
  });

  it.each([
    ['another tag', '"b"', '"a"'],
    ['a part of a tag', '"ab"', '"a"'],
    ['another case', '"A"', '"a"'],
    ['nothing', '', '"a"'],
    ['a tag without quotes', 'a', '"a"'],
    ['a tag that never ends', '"a', '"a"'],
    ['a tag inside another tag', '"x, a, y"', '"a"'],
    ['text between two tags', '"x"a"y"', '"a"'],
    ['a response with an invalid tag', '"a"', 'a'],
    ['a response whose tag holds a quote', '"a"b"', '"a"b"'],
    ['an asterisk in a list', '"x", *', '"a"'],
  ])('does not find %s [D12]', (_case, list, etag) => {
    expect(matchesEtagList(list, etag)).toBe(false);
  });

  it('reads 16 kB of any input in linear time [K08]', () => {
    for (const part of ['"', '"",', 'W/', '"a",', ',', '\\"']) {
      expectLinear(
        (list) => matchesEtagList(list, '"z"'),
        (length) => part.repeat(length / part.length),
      );
    }
  });
});

describe('notModified', () => {
  it.each([
    ['no condition', {}, { etag: '"a"', lastModified: THEN }, false],
    ['the tag', { ifNoneMatch: '"a"' }, { etag: '"a"' }, true],
    ['another tag', { ifNoneMatch: '"b"' }, { etag: '"a"' }, false],
    ['a tag where there is none', { ifNoneMatch: '"a"' }, { lastModified: THEN }, false],
    ['the same time', { ifModifiedSince: THEN }, { lastModified: THEN }, true],
    ['a later time', { ifModifiedSince: LATER }, { lastModified: THEN }, true],
    ['an earlier time', { ifModifiedSince: EARLIER }, { lastModified: THEN }, false],
    ['a time in another form', { ifModifiedSince: 'Sun Nov  6 08:49:37 1994' }, { lastModified: THEN }, true],
    ['no date', { ifModifiedSince: 'yesterday' }, { lastModified: THEN }, false],
    ['a time where there is none', { ifModifiedSince: LATER }, { etag: '"a"' }, false],
    [
      'another tag beside a later time: the tag counts',
      { ifNoneMatch: '"b"', ifModifiedSince: LATER },
      { etag: '"a"', lastModified: THEN },
      false,
    ],
    [
      'the tag beside an earlier time: the tag counts',
      { ifNoneMatch: '"a"', ifModifiedSince: EARLIER },
      { etag: '"a"', lastModified: THEN },
      true,
    ],
    [
      'an empty list of tags beside a later time',
      { ifNoneMatch: '', ifModifiedSince: LATER },
      { etag: '"a"', lastModified: THEN },
      false,
    ],
  ])('%s [D12]', (_case, conditions, validators, expected) => {
    expect(notModified(conditions, validators)).toBe(expected);
  });
});
