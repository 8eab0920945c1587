import { describe, expect, it } from 'vitest';
import { matchesEtagList } from '../../../src/http/conditional-request.js';
import { codedTag, withPlainTags } from '../../../src/http/entity-tag.js';
import { expectLinear } from '../../helpers/linear.js';

describe('entity tags of encoded bodies', () => {
  it.each([
    ['"abc"', 'W/"abc--br"'],
    ['W/"abc"', 'W/"abc--w-br"'],
    ['""', 'W/"--br"'],
    ['"a,b c"', 'W/"a,b c--br"'],
    ['abc', 'abc'],
    ['W/abc', 'W/abc'],
    ['"abc', '"abc'],
  ])('makes the Brotli tag of %s: %s', (tag, coded) => {
    expect(codedTag(tag, 'br')).toBe(coded);
  });

  it.each([
    ['"abc"', '"abc"'],
    ['*', '*'],
    ['"abc--br"', '"abc--br"'], // strong, so not made by hotpath
    ['W/"abc--zip"', 'W/"abc--zip"'],
    ['W/"abc--br"', 'W/"abc--br", "abc"'],
    ['W/"abc--w-zstd"', 'W/"abc--w-zstd", W/"abc"'],
    ['"x", W/"a--gzip", W/"a--br"', '"x", W/"a--gzip", W/"a--br", "a"'],
    ['W/"a--w-gzip", W/"a--br"', 'W/"a--w-gzip", W/"a--br", W/"a", "a"'],
    ['W/"a--b--deflate"', 'W/"a--b--deflate", "a--b"'],
    ['W/"abc--br', 'W/"abc--br'],
  ])('reads the tags of the app in %s: %s', (list, compared) => {
    expect(withPlainTags(list)).toBe(compared);
  });

  it('selects a tag by each of its encoded forms, and by no other [E05]', () => {
    for (const tag of ['"one"', 'W/"one"', '"a--b"', '"a,b"', '"W/"', '"a--w"']) {
      for (const coding of ['br', 'gzip', 'deflate', 'zstd']) {
        expect(matchesEtagList(withPlainTags(codedTag(tag, coding)), tag)).toBe(true);
        expect(withPlainTags(codedTag(tag, coding))).toBe(`${codedTag(tag, coding)}, ${tag}`);
        expect(matchesEtagList(withPlainTags(codedTag('"two"', coding)), tag)).toBe(false);
      }
    }
  });

  it.each(['W/"', 'W/"a--br', '--br"', '"', 'W/"--br"', 'W/"a--'])(
    'reads 16 kB of %j in linear time [K08]',
    (piece) => {
      expectLinear(withPlainTags, (length) => piece.repeat(length / piece.length));
    },
  );
});
