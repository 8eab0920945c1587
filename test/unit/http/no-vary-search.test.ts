import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  equivalentQuery,
  isSameVariance,
  normaliseQuery,
  parseNoVarySearch,
} from '../../../src/http/no-vary-search.js';

describe('parseNoVarySearch', () => {
  it.each<[string, object]>([
    ['key-order', { anyOrder: true, mode: 'ignore', names: new Set() }],
    ['key-order=?1', { anyOrder: true, mode: 'ignore', names: new Set() }],
    ['params', { anyOrder: false, mode: 'keep', names: new Set() }],
    ['params=?1', { anyOrder: false, mode: 'keep', names: new Set() }],
    ['params=("a" "b")', { anyOrder: false, mode: 'ignore', names: new Set(['a', 'b']) }],
    ['params, except=("x")', { anyOrder: false, mode: 'keep', names: new Set(['x']) }],
    ['params, except=()', { anyOrder: false, mode: 'keep', names: new Set() }],
    ['params, key-order, except=("x")', { anyOrder: true, mode: 'keep', names: new Set(['x']) }],
    ['params=("a"), unknown="x"', { anyOrder: false, mode: 'ignore', names: new Set(['a']) }],
    ['params=("a";x);y, key-order;z', { anyOrder: true, mode: 'ignore', names: new Set(['a']) }],
  ])('reads %j', (value, variance) => {
    expect(parseNoVarySearch(value)).toEqual(variance);
  });

  it.each([
    undefined,
    '',
    'unknown-key',
    'key-order=?0',
    'params=?0',
    'params=()',
    'key-order="x"',
    'key-order=(a)',
    'params="x"',
    'params=("a"',
    'params=(a)',
    'params=("a" 1)',
    'params=("a"), except=("x")',
    'params=(), except=()',
    'params=?0, except=("x")',
    'params, except=(x)',
    'params, except="x"',
    'params, except=?1',
    'except=("x")',
    'except=()',
    'params=("a"), key-order=1',
    'Params',
  ])('returns nothing for %j, so every difference matters', (value) => {
    expect(parseNoVarySearch(value)).toBeUndefined();
  });
});

describe('equivalentQuery', () => {
  const equivalent = (field: string | undefined, a: string | undefined, b: string | undefined) =>
    equivalentQuery(a, b, parseNoVarySearch(field));

  it.each<[string, string | undefined, string | undefined]>([
    ['params=("utm")', 'id=1&utm=a', 'id=1'],
    ['params=("utm")', 'utm=a&id=1&utm', 'id=1'],
    ['params=("utm")', 'utm=1', undefined],
    ['params', 'a=1&b=2', ''],
    ['params, except=("id")', 'a=1&id=1', 'id=1&b=2'],
    ['params, except=("id")', '%69d=1', 'id=%31'],
    ['key-order', 'a=1&b=2', 'b=2&a=1'],
    ['key-order', 'b=1&a=1&b=2&a=2', 'a=1&a=2&b=1&b=2'],
    ['key-order', '', undefined],
    ['key-order', 'a=x&&&', 'a=x'],
    ['key-order', 'a', 'a='],
    ['key-order', 'a=+', 'a=%20'],
    ['key-order', 'a=%C3%A9', 'a=%c3%a9'],
    ['params=("%C3%A9+x")', '%c3%a9%20x=1', ''],
    ['params=("a=b")', 'a%3Db=1', ''],
  ])('with %j, equates %j and %j', (field, a, b) => {
    expect(equivalent(field, a, b)).toBe(true);
    expect(equivalent(field, b, a)).toBe(true);
  });

  it.each<[string | undefined, string | undefined, string | undefined]>([
    [undefined, 'a=1&b=2', 'b=2&a=1'],
    [undefined, '', undefined],
    [undefined, 'a', 'a='],
    [undefined, 'a=%31', 'a=1'],
    ['params=("utm")', 'id=1&utm=a', 'id=2&utm=a'],
    ['params=("utm")', 'a=1&b=2', 'b=2&a=1'],
    ['params=("utm")', 'UTM=1', ''],
    ['params=("utm")', 'utm[x]=1', ''],
    ['params, except=("id")', 'id=1', 'id=2'],
    ['params, except=("id")', 'id=1', 'id=1&id=1'],
    ['key-order', 'a=1&a=2', 'a=2&a=1'],
    ['key-order', 'a=1&b=2', 'a=2&b=1'],
    ['key-order', 'a=1%26b=2', 'a=1&b=2'],
    ['key-order', 'a%3Db=1', 'a=b%3D1'],
    ['key-order', 'a=%2B', 'a=+'],
    ['params=("__proto__")', 'constructor=1', ''],
  ])('with %j, separates %j and %j [B06]', (field, a, b) => {
    expect(equivalent(field, a, b)).toBe(false);
  });

  it.each([
    ['a=%FF', 'a=%FE'],
    ['a=%FF', 'a=%EF%BF%BD'],
    ['a=%FF', 'a=%25FF'],
    ['a=%zz', 'a=%25zz'],
    ['a=\u00e9', 'a=%C3%A9'],
    ['a=%', 'a=%25'],
  ])('keeps apart queries that parsers read differently: %j and %j [B06]', (a, b) => {
    expect(equivalent('key-order', a, b)).toBe(false);
    expect(equivalent('params, except=("a")', a, b)).toBe(false);
  });

  it('ignores nothing beyond the parameters that a parser reads [B06]', () => {
    const flood = 'utm=1&'.repeat(1000);
    expect(equivalent('params=("utm")', `${flood}id=1`, 'id=1')).toBe(false);
    expect(equivalent('params=("utm")', `${flood}id=1`, `${flood}id=1`)).toBe(true);
    expect(equivalent('params=("utm")', `${'utm=1&'.repeat(100)}id=1`, 'id=1')).toBe(true);
    expect(normaliseQuery(flood, parseNoVarySearch('key-order'))).toBe(`?${flood}`);
  });
});

describe('isSameVariance', () => {
  const fields = [
    'key-order',
    'params',
    'params, key-order',
    'params=("a")',
    'params=("b")',
    'params=("a" "b")',
    'params=("a"), key-order',
    'params, except=("a")',
    'params, except=("a"), key-order',
  ];

  it('distinguishes different rules, and equates equal ones', () => {
    for (const a of fields) {
      for (const b of fields) {
        expect(isSameVariance(parseNoVarySearch(a)!, parseNoVarySearch(b)!), `${a} | ${b}`).toBe(a === b);
      }
    }
    const [one, other] = ['params=("b" "%61")', 'key-order=?0, params=("a" "b" "a")'];
    expect(isSameVariance(parseNoVarySearch(one)!, parseNoVarySearch(other)!)).toBe(true);
  });
});

describe('normaliseQuery', () => {
  // Delimiters, quotes and escapes of a query, plain and encoded.
  const text = fc
    .array(
      fc.constantFrom(
        'a',
        'b',
        'id',
        '=',
        '%3D',
        '%26',
        '+',
        '%20',
        '%',
        '%FF',
        '%C3%A9',
        ':',
        '?',
        '?1',
        '',
      ),
      {
        maxLength: 3,
      },
    )
    .map((parts) => parts.join(''));
  const query = fc
    .array(fc.tuple(text, text), { maxLength: 4 })
    .map((pairs) => pairs.map((p) => p.join('=')).join('&'));
  const names = fc.subarray(['a', 'b', 'id', '%3D']);
  const rule = fc.oneof(
    names.map((list) => `params=(${list.map((name) => `"${name}"`).join(' ')})`),
    names.map((list) => `params, except=(${list.map((name) => `"${name}"`).join(' ')})`),
    fc.constant('key-order'),
  );
  const field = fc.tuple(rule, fc.constantFrom('', ', key-order')).map((parts) => parts.join(''));

  it('equates two queries only where a literal reading of the draft does [B06]', () => {
    fc.assert(
      fc.property(query, query, field, (a, b, value) => {
        if (equivalentQuery(a, b, parseNoVarySearch(value)))
          expect(obvious(a, value)).toEqual(obvious(b, value));
      }),
      { numRuns: 20_000, seed: 6 },
    );
  });

  it('equates a query with its reordered parameters and ignored additions', () => {
    const plainText = fc.constantFrom('a', 'b', 'id', 'c', '%C3%A9', '%20', '1');
    const pairs = fc.uniqueArray(fc.tuple(plainText, plainText), {
      selector: ([name]) => name,
      maxLength: 5,
    });
    fc.assert(
      fc.property(pairs, fc.nat(), (given, seed) => {
        const written = (list: readonly string[][]) => list.map((pair) => pair.join('=')).join('&');
        const turned = given.map((_, at) => given[(at + seed) % given.length]!);
        const variance = parseNoVarySearch('key-order, params=("x")');
        expect(equivalentQuery(written(given), `x=1&${written(turned)}&x`, variance)).toBe(true);
      }),
      { numRuns: 1_000, seed: 6 },
    );
  });

  it('has at most three times the length of the query', () => {
    fc.assert(
      fc.property(query, field, (given, value) => {
        const length = normaliseQuery(given, parseNoVarySearch(value))?.length ?? 0;
        expect(length).toBeLessThanOrEqual(3 * given.length);
      }),
      { numRuns: 2_000, seed: 6 },
    );
  });
});

/** A literal reading of the draft (§6), for pairs that the form parser of the platform reads. */
function obvious(query: string, value: string): [string, string][] {
  let pairs = [...new URLSearchParams(`?${query}`)];
  const list = /\((.*?)\)/.exec(value)?.[1]?.split(' ') ?? [];
  const given = list.filter((name) => name !== '').map((name) => decodeURIComponent(name.slice(1, -1)));
  if (value.includes('except')) pairs = pairs.filter(([name]) => given.includes(name));
  else if (value.includes('params')) pairs = pairs.filter(([name]) => !given.includes(name));
  if (value.includes('key-order')) pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return pairs;
}
