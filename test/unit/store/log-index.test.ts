import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  LogIndex,
  type RecordKind,
  shortName,
  VOID,
} from '../../../src/store/invalidation/invalidation-index.js';
import { compileSelector, type Selector } from '../../../src/store/invalidation/selector.js';
import type { Stamped } from '../../../src/store/stored-response.js';

const FRESH = Number.POSITIVE_INFINITY;
const entryAt = (stamp: number, fields: Partial<Stamped> = {}): Stamped => ({
  stamp,
  tags: ['t'],
  url: '/a?q=1',
  path: '/a',
  ...fields,
});

describe('invalidation index', () => {
  const selector = fc.constantFrom<Selector>(
    { tag: 't' },
    { url: '/a?q=1' },
    { pattern: '/:x' },
    { all: true },
  );
  const record = fc.record({ kind: fc.constantFrom<RecordKind>('purge', 'expire'), selector });

  it('gives the same result for records in any order and any number of repeats [H07]', () => {
    const order = fc.array(fc.nat(), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 12 }),
        order,
        fc.nat(12),
        (records, picks, stamp) => {
          const apply = (index: LogIndex, i: number) =>
            index.apply(records[i]!.kind, compileSelector(records[i]!.selector), i + 1, i + 1);
          const straight = new LogIndex();
          records.forEach((_, i) => {
            apply(straight, i);
          });
          const shuffled = new LogIndex();
          for (const pick of picks) apply(shuffled, pick % records.length);
          records.forEach((_, i) => {
            apply(shuffled, records.length - 1 - i);
          });
          expect(shuffled.limit(entryAt(stamp), 0)).toBe(straight.limit(entryAt(stamp), 0));
          expect(shuffled.size).toBe(straight.size);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('moves a stamp to the applied position, not to the last known record [H08]', () => {
    const index = new LogIndex();
    index.apply('purge', { kind: 'tag', value: 'other' }, 9, 0);
    const entry = entryAt(5);
    expect(index.limit(entry, 7)).toBe(FRESH);
    expect(entry.stamp).toBe(7);
    index.apply('purge', { kind: 'tag', value: 't' }, 8, 0);
    expect(index.limit(entry, 9)).toBe(VOID);
  });

  it('stores a pattern once that is purged a thousand times', () => {
    const index = new LogIndex({ maxPatterns: 2 });
    const pattern = compileSelector({ pattern: '/a' });
    for (let position = 1; position <= 1000; position++) index.apply('purge', pattern, position, 0);
    expect(index.size).toBe(1);
    expect(index.limit(entryAt(999), 0)).toBe(VOID);
    expect(index.limit(entryAt(0, { path: '/b' }), 0)).toBe(FRESH);
  });

  it('stores a URL of 16 kB as its hash [I-BOUND, B17]', () => {
    const url = `/a?${'x'.repeat(16_000)}`;
    expect(shortName(url).length).toBeLessThan(50);
    const index = new LogIndex();
    index.apply('purge', { kind: 'url', value: url }, 1, 0);
    expect(index.limit(entryAt(0, { url }), 0)).toBe(VOID);
    expect(index.limit(entryAt(0, { url: `${url}y` }), 0)).toBe(FRESH);
  });

  it.each<[RecordKind, RecordKind]>([
    ['purge', 'expire'],
    ['expire', 'purge'],
  ])('forgets the oldest of names that were %sd and %sd over the limit [I-BOUND]', (first, second) => {
    const index = new LogIndex({ maxNames: 2 });
    index.apply(first, { kind: 'tag', value: 'a' }, 1, 0);
    index.apply(second, { kind: 'tag', value: 'b' }, 2, 0);
    index.apply(second, { kind: 'tag', value: 'c' }, 3, 0);
    expect(index.size).toBe(2);
    expect([index.limit(entryAt(0), 0), index.limit(entryAt(1), 0)]).toEqual([VOID, FRESH]);
  });

  it('applies a record of a full URL only to entries of its host [H07]', () => {
    const index = new LogIndex();
    index.apply('purge', compileSelector({ url: 'https://one.example/a?q=1' }), 5, 0);
    expect(index.limit(entryAt(1, { host: 'one.example' }), 5)).toBe(VOID);
    expect(index.limit(entryAt(1, { host: 'other.example' }), 5)).toBe(FRESH);
    expect(index.limit(entryAt(1), 5)).toBe(FRESH);
    expect(index.limitOfUrl('/A?q=1', 1, { host: 'one.example' })).toBe(VOID);
    expect(index.limitOfUrl('/A?q=1', 1)).toBe(FRESH);
    expect(index.limitOfUrl('/a?q=1', 5, { host: 'one.example' })).toBe(FRESH);
  });

  it('reads the URL and host of an entry only once such records exist [H14]', () => {
    const index = new LogIndex();
    let asked = 0;
    const entry = (): Stamped => ({
      stamp: 1,
      tags: [],
      path: '/a',
      get url() {
        asked++;
        return '/a';
      },
      get host() {
        asked += 100;
        return 'one.example';
      },
    });
    index.apply('purge', compileSelector({ tag: 't' }), 5, 0);
    index.limit(entry(), 5);
    expect(asked).toBe(0);
    index.apply('purge', compileSelector({ url: '/b' }), 6, 0);
    index.limit(entry(), 6);
    expect(asked).toBe(1);
    index.apply('purge', compileSelector({ url: 'https://one.example/b' }), 7, 0);
    index.limit(entry(), 7);
    expect(asked).toBe(102);
  });
});
