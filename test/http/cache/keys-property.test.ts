import type { IncomingMessage } from 'node:http';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { resolveCacheRule } from '../../../src/cache/options.js';
import {
  joinParts,
  type KeyParts,
  RequestKeys,
  readCookies,
  variantKey,
} from '../../../src/cache/request/key.js';
import { normaliseQuery, parseNoVarySearch } from '../../../src/http/no-vary-search.js';

// Separators, quotes and escapes, the digits and `-` that keys are joined with, and wide characters.
const ALPHABET = [
  '|',
  ':',
  ',',
  '&',
  '=',
  '?',
  '#',
  '$',
  '%',
  '\\',
  '\n',
  ' ',
  '{',
  '}',
  '-',
  '1',
  '2',
  '10',
  'a',
  'é',
  '€',
  '😀',
  '',
];
const text = fc.array(fc.constantFrom(...ALPHABET), { maxLength: 4 }).map((parts) => parts.join(''));
const maybe = fc.option(text, { nil: undefined });

const headers = fc.record({ x: maybe, y: maybe, cookie: maybe }).map((given) => {
  const present = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(present) as Record<string, string>;
});
const tuples = fc.record({
  scope: fc.constantFrom('shared', 'route:1', 'route:10'),
  scheme: fc.constantFrom('http', 'https'),
  rawHost: text,
  host: text,
  path: text,
  query: fc.array(text, { maxLength: 3 }),
  rewritten: maybe,
  partition: maybe,
  headers,
});
type Tuple = typeof tuples extends fc.Arbitrary<infer T> ? T : never;

const rule = resolveCacheRule({ ttl: 60, vary: { headers: ['x', 'y'], cookies: ['a', '|'] } });
const requestWith = (given: Record<string, string>) => ({ headers: given }) as unknown as IncomingMessage;

function keyOf(tuple: Tuple): string {
  const { scope, scheme, rawHost, host, rewritten, partition } = tuple;
  const parts: KeyParts = {
    scope,
    origin: { scheme, rawHost, host },
    target: targetOf(tuple),
    rewritten,
    partition,
  };
  return new RequestKeys(parts, requestWith(tuple.headers), rule).exact;
}
const targetOf = ({ path, query }: Tuple) => `/${path}?${query.join('&')}`;
const trimmed = (value: string | undefined) => value?.trim().replace(/[ \t]*,[ \t]*/g, ',');

/** `expect` costs far more than the comparison, so it only reports values that differ. */
function expectSame(actual: unknown, expected: unknown): void {
  if (!Object.is(actual, expected)) expect(actual).toBe(expected);
}

/** The meaning of the tuple, written without ambiguity. */
function meaningOf(tuple: Tuple): string {
  const cookies = readCookies(tuple.headers.cookie);
  const { scope, scheme, rawHost, host, rewritten, partition } = tuple;
  const values = [trimmed(tuple.headers.x), trimmed(tuple.headers.y), cookies.get('a'), cookies.get('|')];
  const all = [scope, scheme, rawHost, host, targetOf(tuple), rewritten, partition, ...values];
  return JSON.stringify(all.map((part) => part ?? null));
}

describe('the key', () => {
  it('is equal for two of 100,000 random tuples exactly when they are equal [B06]', () => {
    const byKey = new Map<string, string>();
    const byMeaning = new Map<string, string>();
    fc.assert(
      fc.property(tuples, (tuple) => {
        const key = keyOf(tuple);
        const meaning = meaningOf(tuple);
        expectSame(byKey.get(key) ?? meaning, meaning);
        expectSame(byMeaning.get(meaning) ?? key, key);
        byKey.set(key, meaning);
        byMeaning.set(meaning, key);
      }),
      { numRuns: 100_000, seed: 20_261 },
    );
    expect(byKey.size).toBe(byMeaning.size);
    expect(byKey.size).toBeGreaterThan(50_000);
  }, 300_000);

  it('marks unambiguously where one part ends and the next begins [B06]', () => {
    const parts = fc.array(maybe, { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(parts, fc.nat({ max: 4 }), fc.nat({ max: 4 }), (one, at, length) => {
        // The same characters in the same order, cut at another place: a join that is not injective confuses them.
        const other = [...one];
        const [left = '', right = ''] = [one[at], one[at + 1]];
        const cut = Math.max(0, left.length - length);
        other[at] = left.slice(0, cut);
        other[at + 1] = left.slice(cut) + right;
        expectSame(joinParts(one) === joinParts(other), JSON.stringify(one) === JSON.stringify(other));
      }),
      { numRuns: 50_000, seed: 7 },
    );
  });

  it('is shared for equivalent queries that differ in nothing else [B06]', () => {
    const noteOf = (generation: number, field: string) =>
      ({ kind: 'variance', generation, variance: parseNoVarySearch(field)! }) as const;
    const notes = [noteOf(1, 'params=("a" "1")'), noteOf(2, 'key-order'), noteOf(10, 'params=("a" "1")')];
    const pair = fc.constantFrom('a=1', 'a=2', 'b=1', '1=a', 'b', '', '1:/', '-:', 'a&b=1');
    const request = fc.record({
      scope: fc.constantFrom('shared', 'route:1'),
      path: fc.constantFrom('/', '/x', '/1:', '/x/-:', '/path:/x'),
      query: fc.option(
        fc.array(pair, { maxLength: 3 }).map((pairs) => pairs.join('&')),
        { nil: undefined },
      ),
      rewritten: fc.constantFrom(undefined, '/r', '/r?a=1', '/x', '1:/x?'),
      note: fc.constantFrom(...notes),
    });
    const seen = new Map<string, string>();
    const learn = (key: string, meaning: string) => {
      expectSame(seen.get(key) ?? meaning, meaning);
      seen.set(key, meaning);
    };
    const origin = { scheme: 'http', rawHost: 'h', host: 'h' };
    fc.assert(
      fc.property(request, ({ scope, path, query, rewritten, note }) => {
        const target = query === undefined ? path : `${path}?${query}`;
        const keys = new RequestKeys(
          { scope, origin, target, rewritten, partition: undefined },
          requestWith({}),
          rule,
        );
        const [madePath, madeQuery] = rewritten?.split('?') ?? [];
        const made = madeQuery === query ? madePath : rewritten;
        const { generation, variance } = note;
        learn(keys.exact, JSON.stringify(['exact', scope, target, rewritten]));
        learn(keys.path, JSON.stringify(['path', scope, path, madePath]));
        learn(
          keys.under(note),
          JSON.stringify(['under', scope, path, normaliseQuery(query, variance), generation, made]),
        );
      }),
      { numRuns: 20_000, seed: 9530 },
    );
    expect(new Set(seen.values()).size).toBe(seen.size);
    expect(seen.size).toBeGreaterThan(1_000);
  });

  it('of a variant depends exactly on its names and values [B06]', () => {
    const names = fc.uniqueArray(fc.constantFrom('x', 'y', 'cookie', 'x-y'), { maxLength: 3 });
    const seen = new Map<string, string>();
    fc.assert(
      fc.property(text, names, headers, (primary, listed, given) => {
        const sorted = [...listed].sort();
        // The primary key is length-prefixed, so it cannot be a prefix of another key with names.
        const key = variantKey(joinParts([primary]), sorted, requestWith(given));
        const meaning = JSON.stringify([primary, sorted.map((name) => [name, trimmed(given[name]) ?? null])]);
        expectSame(seen.get(key) ?? meaning, meaning);
        seen.set(key, meaning);
      }),
      { numRuns: 30_000, seed: 11 },
    );
    expect(seen.size).toBeGreaterThan(10_000);
  });
});
