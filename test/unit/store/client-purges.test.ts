import { describe, expect, it } from 'vitest';
import { keyedHash } from '../../../src/runtime/keyed-hash.js';
import { ClientPurges } from '../../../src/store/invalidation/client-purges.js';
import { LogIndex, VOID } from '../../../src/store/invalidation/invalidation-index.js';
import { compileSelector } from '../../../src/store/invalidation/selector.js';
import type { Stamped } from '../../../src/store/stored-response.js';

const FRESH = Number.POSITIVE_INFINITY;
const entryAt = (stamp: number, path: string, tags: readonly string[] = []): Stamped => ({
  stamp,
  tags,
  url: path,
  path,
});

describe('keyed hash', () => {
  // From Linux, lib/tests/siphash_kunit.c: the bytes 0, 1, 2, … of even lengths, with the key 00 01 … 07.
  it.each([
    [0, 0x5814c896],
    [2, 0xbc4b0e30],
    [4, 0x7e059ea6],
    [6, 0xa0080b65],
    [8, 0x577999b1],
    [10, 0xe4fa32cf],
    [12, 0x6b28096c],
    [14, 0x16658a7c],
    [16, 0x8b31d501],
    [18, 0x06712339],
    [24, 0x57150ad7],
    [32, 0xbc6dda8d],
    [62, 0x74c1ebf8],
  ])('is HalfSipHash-1-3, for %i bytes', (length, hash) => {
    const bytes = Buffer.from(Array.from({ length }, (_, i) => i));
    expect(keyedHash(Buffer.from([0, 1, 2, 3, 4, 5, 6, 7]))(bytes.toString('utf16le'))).toBe(hash);
  });

  it('has a different key in each process, so clients cannot choose texts that collide', () => {
    const [one, other] = [keyedHash(), keyedHash()];
    const texts = Array.from({ length: 100 }, (_, i) => `/${i}`);
    expect(texts.map(one)).not.toEqual(texts.map(other));
  });
});

describe('purges caused by clients', () => {
  it('void their own entries and few others, in any number [I-BOUND]', () => {
    const index = new LogIndex();
    const others = Array.from({ length: 1000 }, (_, i) => entryAt(0, `/other/${i}`, [`t${i}`]));
    const records = 150_000;
    for (let i = 1; i <= records; i++) {
      index.apply('purge', { kind: 'url', value: `/page?t=${i}` }, i, 0, 'client');
    }
    for (const i of [1, 2, records - 1, records]) {
      expect(index.limit(entryAt(i - 1, `/page?t=${i}`), 0)).toBe(VOID);
      expect(index.limitOfUrl(`/page?t=${i}`, i - 1)).toBe(VOID);
    }
    expect(index.limit(entryAt(records, '/page?t=1'), 0)).toBe(FRESH);
    // One in seven shares its bucket.
    expect(others.filter((entry) => index.limit(entry, 0) === FRESH).length).toBeGreaterThan(800);
    expect(index.size).toBe(0);
  });

  it('of tags are kept apart from purges by the app, which stay exact', () => {
    const index = new LogIndex({ clientBuckets: 1 });
    index.apply('purge', { kind: 'tag', value: 'a' }, 5, 0, 'client');
    index.apply('purge', { kind: 'tag', value: 'b' }, 7, 0);
    expect(index.limit(entryAt(4, '/x', ['a']), 0)).toBe(VOID);
    expect(index.limit(entryAt(6, '/x', ['b']), 0)).toBe(VOID);
    // The only bucket is for tags alone, until a client purges a URL.
    expect(index.limit(entryAt(4, '/x'), 0)).toBe(FRESH);
    expect(index.limit(entryAt(6, '/x', ['a']), 0)).toBe(FRESH);
  });

  it('never make a voided entry valid, even when purges share a bucket', () => {
    const index = new LogIndex({ clientBuckets: 1 });
    index.apply('purge', { kind: 'url', value: '/a' }, 9, 0, 'client');
    index.apply('purge', { kind: 'url', value: '/b' }, 3, 0, 'client');
    expect(index.limit(entryAt(8, '/a'), 0)).toBe(VOID);
    expect(index.limit(entryAt(8, '/b'), 0)).toBe(VOID);
    expect(index.limit(entryAt(9, '/a'), 0)).toBe(FRESH);
  });

  it('void nothing new after the log restarts, and work again after that', () => {
    const index = new LogIndex({ clientBuckets: 1 });
    index.apply('purge', { kind: 'url', value: '/a' }, 9, 0, 'client');
    index.apply('purge', compileSelector({ pattern: '/a' }), 9, 0, 'client');
    index.restart(12);
    expect(index.limit(entryAt(11, '/a'), 0)).toBe(VOID);
    expect(index.limit(entryAt(12, '/a'), 0)).toBe(FRESH);
    index.apply('purge', { kind: 'url', value: '/a' }, 13, 0, 'client');
    expect(index.limit(entryAt(12, '/a'), 0)).toBe(VOID);
  });

  it('of patterns over the limit void paths with the same prefix, and nothing else', () => {
    const purges = new ClientPurges({ maxPatterns: 2 });
    const patterns = ['/users/1/*rest', '/Shop/:id', '/users/3/*rest', '/users/4/*rest'];
    for (const [i, value] of patterns.entries()) {
      purges.addPattern(value, compileSelector({ pattern: value }).matches, i + 1);
    }
    expect(purges.patterns).toBe(2);
    const isVoid = (path: string) => purges.hasPurgedPath(entryAt(0, path), 0);
    const paths = ['/users/1/a', '/USERS/1/a', '/users/1', '/shop/7', '/users/3/a', '/users/4/a', '/shop'];
    expect(paths.filter(isVoid)).toEqual(paths);
    expect(['/users/2/a', '/users', '/users/11/a', '/other', '/'].filter(isVoid)).toEqual([]);
    // In canonical spelling, which patterns are compared in, these begin alike as well.
    expect(['/us%65rs/1/a', '//users/1/a', '/users//1/a', '/us~é/1'].filter((path) => !isVoid(path))).toEqual(
      [],
    );
    expect(purges.hasPurgedPath(entryAt(0, '/users/1/a'), 1)).toBe(false);
  });

  it.each(['/:tenant/x', '/{a/}b', '/*rest', '/caf%C3%A9/x', '/a\\:b'])(
    'of the pattern %s, over the limit, void every path',
    (pattern) => {
      const purges = new ClientPurges({ maxPatterns: 0 });
      purges.addPattern(pattern, () => false, 1);
      expect(purges.hasPurgedPath(entryAt(0, '/anything'), 0)).toBe(true);
      expect(purges.hasPurgedPath(entryAt(0, '/anything'), 1)).toBe(false);
    },
  );

  it('compare a bounded number of path segments [B17, I-BOUND]', () => {
    const purges = new ClientPurges({ maxPatterns: 0 });
    const deep = '/a'.repeat(5000);
    purges.addPattern(`${deep}/b`, () => false, 1);
    expect(purges.hasPurgedPath(entryAt(0, `${deep}/b`), 0)).toBe(true);
    expect(purges.hasPurgedPath(entryAt(0, '/a/a'), 0)).toBe(false);
  });
});
