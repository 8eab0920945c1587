import fc from 'fast-check';
import { serializeList } from 'structured-headers';
import { describe, expect, it } from 'vitest';
import { parseCacheGroups } from '../../../src/http/cache-groups.js';

describe('parseCacheGroups', () => {
  it.each<[string | undefined, string[]]>([
    [undefined, []],
    ['', []],
    ['"scripts"', ['scripts']],
    ['"scripts", "Scripts"', ['scripts', 'Scripts']],
    ['"a", "b", "a"', ['a', 'b']],
    ['"a";revalidate, "b";x=1', ['a', 'b']],
    ['"a, b"', ['a, b']],
    ['"say \\"a\\""', ['say "a"']],
    ['""', ['']],
  ])('reads %j', (value, groups) => {
    expect(parseCacheGroups(value)).toEqual(groups);
  });

  it.each(['a', '"a", b', '"a", 1', '("a" "b")', '"a",', '"a', '"é"', "'a'", '?1'])(
    'ignores %j, which is no list of strings',
    (value) => {
      expect(parseCacheGroups(value)).toEqual([]);
    },
  );

  it('accepts 32 groups of 32 characters, as every cache must, and detects more', () => {
    const list = (count: number, length: number) =>
      Array.from({ length: count }, (_, i) => `"${String(i).padEnd(length, '-')}"`).join(', ');
    expect(parseCacheGroups(list(32, 32))).toHaveLength(32);
    expect(parseCacheGroups(list(128, 256))).toHaveLength(128);
    expect(parseCacheGroups(list(129, 3))).toBeUndefined();
    expect(parseCacheGroups(list(1, 257))).toBeUndefined();
  });

  it('reads the groups that another implementation writes', () => {
    const groups = fc.uniqueArray(fc.stringMatching(/^[ -~]{0,32}$/), { maxLength: 32 });
    fc.assert(
      fc.property(groups, (given) => {
        expect(parseCacheGroups(serializeList(given.map((group) => [group, new Map()])))).toEqual(given);
      }),
      { numRuns: 1_000, seed: 9875 },
    );
  });
});
