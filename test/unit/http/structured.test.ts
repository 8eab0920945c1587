import fc from 'fast-check';
import * as oracle from 'structured-headers';
import { describe, expect, it } from 'vitest';
import {
  type BareItem,
  type Member,
  type Parameters,
  parseDictionary,
  parseList,
} from '../../../src/http/structured-fields.js';

const RUNS = { numRuns: 3_000, seed: 9651 };

describe('parseList and parseDictionary', () => {
  it.each([
    ['', []],
    ['  ', []],
    ['"a", "b c"', ['a', 'b c']],
    ['"a"\t,\t"b"', ['a', 'b']],
    ['  a, *b/c:d  ', ['a', '*b/c:d']],
    ['"\\"\\\\"', ['"\\']],
    ['1, -1, 0, 999999999999999', [1, -1, 0, 999_999_999_999_999]],
    ['1.0, -0.125', [1, -0.125]],
    ['?1, ?0', [true, false]],
    ['@1659578233', [1_659_578_233]],
    ['%"f%c3%bc"', ['fü']],
    [':aGk=:', ['aGk=']],
    ['a;b;c=1', ['a']],
    ['"a", "a"', ['a', 'a']],
  ])('reads the list %j', (text, values) => {
    expect(parseList(text)?.map((member) => member.value)).toEqual(values);
  });

  it('reads inner lists, and parameters in any position', () => {
    expect(plainList(parseList('("a";x=1  b);y, ( )'))).toEqual([
      [
        'list',
        [
          ['string', 'a', [['x', 'integer', 1]]],
          ['token', 'b', []],
        ],
        [['y', 'boolean', true]],
      ],
      ['list', [], []],
    ]);
  });

  it('reads a dictionary, the last value of a key, and `true` for a key without value', () => {
    const members = parseDictionary('a=1, b;x, a=(c), *k_-.9="v"');
    expect([...members!].map(([key, member]) => [key, plain(member)])).toEqual([
      ['a', ['list', [['token', 'c', []]], []]],
      ['b', ['boolean', true, [['x', 'boolean', true]]]],
      ['*k_-.9', ['string', 'v', []]],
    ]);
    expect(parseDictionary('')?.size).toBe(0);
    expect(parseDictionary('__proto__=1')).toBeUndefined();
    expect(parseDictionary('constructor')?.get('constructor')?.value).toBe(true);
  });

  it.each([
    'a,',
    ',a',
    'a,,b',
    'a b',
    '\ta',
    '"a',
    '"a\\b"',
    '"é"',
    '"a\u0007"',
    '(a',
    '(a,b)',
    '(a"b")',
    '((a))',
    'a;',
    'a;B',
    'a;b=',
    'a ;b',
    '1234567890123456',
    '1.',
    '1.2345',
    '1234567890123.1',
    '-',
    '--1',
    '+1',
    '?2',
    '?',
    ':a',
    ':a b:',
    '@1.5',
    '@',
    '%"%C3%BC"',
    '%"%ff"',
    '%a',
    '&&&&&',
    'a\nb',
  ])('rejects %j', (text) => {
    expect(parseList(text)).toBeUndefined();
  });

  it.each(['A=1', 'a =1', 'a= 1', '1=a', 'a=', 'a=1 b=2', 'a=1;', '"a"', 'a=1,'])(
    'rejects %j as a dictionary',
    (text) => {
      expect(parseDictionary(text)).toBeUndefined();
    },
  );

  it('agrees with another implementation about any text', () => {
    // No dates: the other implementation rejects any text after one.
    const fragment = fc.constantFrom(
      ...['"', '\\', '(', ')', ',', ';', '=', ' ', '\t', '?1', '?0', '-', '.', '1', '25', '0', '*', '_'],
      ...['a', 'B', 'key', '"str"', 'a=1', ':aGk=:', '%"x%c3%bc"', '%"', ', ', 'a;b', '("x" y)', 'é', '\n'],
    );
    const text = fc.array(fragment, { maxLength: 8 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, (given) => {
        expect(plainList(parseList(given))).toEqual(plainOracleList(attempt(() => oracle.parseList(given))));
        const members = parseDictionary(given);
        const expected = attempt(() => oracle.parseDictionary(given));
        expect(members && [...members].map(([key, member]) => [key, plain(member)])).toEqual(
          expected && [...expected].map(([key, member]) => [key, plainOracle(member)]),
        );
      }),
      { ...RUNS, numRuns: 10_000 },
    );
  });

  it('reads values that another implementation writes', () => {
    const key = fc.stringMatching(/^[a-z*][a-z0-9_.*-]{0,6}$/);
    const bare: fc.Arbitrary<oracle.BareItem> = fc.oneof(
      fc.stringMatching(/^[ -~]{0,8}$/),
      fc.stringMatching(/^[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]{0,6}$/).map((text) => new oracle.Token(text)),
      fc.integer({ min: -999_999_999_999_999, max: 999_999_999_999_999 }),
      fc.integer({ min: -999_999, max: 999_999 }).map((thousandths) => (thousandths * 2 + 1) / 1000),
      fc.boolean(),
      fc.integer({ min: -9e9, max: 9e9 }).map((seconds) => new Date(seconds * 1000)),
      fc.string({ unit: 'grapheme', maxLength: 5 }).map((text) => new oracle.DisplayString(text)),
      fc.uint8Array({ maxLength: 5 }).map((bytes) => Uint8Array.from(bytes).buffer),
    );
    const parameters = fc.array(fc.tuple(key, bare), { maxLength: 2 }).map((entries) => new Map(entries));
    const item = fc.tuple(bare, parameters);
    const innerList = fc.tuple(fc.array(item, { maxLength: 3 }), parameters);
    const member: fc.Arbitrary<oracle.Item | oracle.InnerList> = fc.oneof(item, innerList);
    fc.assert(
      fc.property(fc.array(member, { minLength: 1, maxLength: 4 }), (list) => {
        expect(plainList(parseList(oracle.serializeList(list)))).toEqual(plainOracleList(list));
      }),
      RUNS,
    );
    const entries = fc.array(fc.tuple(key, member), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(entries, (given) => {
        const dictionary = new Map(given);
        const read = parseDictionary(oracle.serializeDictionary(dictionary));
        expect([...read!].map(([name, value]) => [name, plain(value)])).toEqual(
          [...dictionary].map(([name, value]) => [name, plainOracle(value)]),
        );
      }),
      RUNS,
    );
  });
});

// Results of both implementations as arrays: kind, value, parameters.

function plain(member: Member): unknown {
  const parameters = plainParameters(member.parameters);
  if (member.kind === 'list') return ['list', member.value.map(plain), parameters];
  return [...plainBare(member), parameters];
}

function plainBare({ kind, value }: BareItem): [kind: string, value: unknown] {
  if (kind === 'bytes') return ['bytes', Buffer.from(value, 'base64').toString('hex')];
  // The other implementation has one kind for all numbers.
  return kind === 'decimal' && Number.isInteger(value) ? ['integer', value] : [kind, value];
}

function plainParameters(parameters: Parameters): unknown {
  return [...parameters].map(([key, value]) => [key, ...plainBare(value)]);
}

function plainList(members: readonly Member[] | undefined): unknown {
  return members?.map(plain);
}

function plainOracle([value, parameters]: oracle.Item | oracle.InnerList): unknown {
  const given = [...parameters].map(([key, item]) => [key, ...plainOracleBare(item)]);
  return Array.isArray(value)
    ? ['list', value.map(plainOracle), given]
    : [...plainOracleBare(value as oracle.BareItem), given];
}

function plainOracleBare(value: oracle.BareItem): [kind: string, value: unknown] {
  if (typeof value === 'string') return ['string', value];
  if (typeof value === 'boolean') return ['boolean', value];
  if (typeof value === 'number') return [Number.isInteger(value) ? 'integer' : 'decimal', value];
  if (value instanceof oracle.Token) return ['token', value.toString()];
  if (value instanceof oracle.DisplayString) return ['text', value.toString()];
  if (value instanceof Date) return ['date', value.getTime() / 1000];
  return ['bytes', Buffer.from(value as ArrayBuffer).toString('hex')];
}

function plainOracleList(members: oracle.List | undefined): unknown {
  return members?.map(plainOracle);
}

function attempt<Result>(run: () => Result): Result | undefined {
  try {
    return run();
  } catch {
    return undefined;
  }
}
