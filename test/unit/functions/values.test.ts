import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cloneValue } from '../../../src/functions/values/clone.js';
import { encodeKey } from '../../../src/functions/values/encode-key.js';
import { makeOwnCopy } from '../../../src/functions/values/own-copy.js';
import { decodeValue, encodeValue } from '../../../src/functions/values/value-codec.js';
import { anyText } from '../../helpers/any-text.js';

/** Values whose texts are easily confused. */
const leaves = fc.oneof(
  fc.constantFrom<unknown>(
    ...[0, -0, 1, Number.NaN, Number.POSITIVE_INFINITY, 0n, 1n, true, false, null, undefined],
    ...['', '0', '1', 'n1;', 's1:', 'u', 'undefined', '\ud800', '\udfff', 'ä', '2s0:', '__proto__'],
    ...[new Date(0), new Date(1), Buffer.alloc(1), new Uint8Array(1), new Int8Array(1), new ArrayBuffer(1)],
  ),
  fc.double(),
  anyText({ maxLength: 3 }),
  fc.bigInt({ min: -3n, max: 3n }),
);

const names = fc.constantFrom('a', 'b', '1', '', '__proto__', 'constructor', 'a1:');

const { value: values } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaves,
    fc.array(tie('value'), { maxLength: 3 }),
    fc
      .array(fc.option(tie('value'), { nil: undefined }), { maxLength: 3 })
      .map((items) => items.flatMap((item, at) => (at === 1 ? [] : [item])))
      .map((items) => Object.assign(new Array(items.length + 1), items)),
    fc.array(fc.tuple(names, tie('value')), { maxLength: 3 }).map((pairs) => Object.fromEntries(pairs)),
    fc
      .array(fc.tuple(names, tie('value')), { maxLength: 2 })
      .map((pairs) => Object.assign(Object.create(null), Object.fromEntries(pairs)) as object),
    fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 2 }).map((pairs) => new Map(pairs)),
    fc.array(tie('value'), { maxLength: 2 }).map((items) => new Set(items)),
  ),
}));

const runs = { numRuns: 2000 };

/** Deep equality that counts the order of a Map and a Set, which `isDeepStrictEqual` does not. */
function isSame(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(listed(a), listed(b));
}

function listed(value: unknown): unknown {
  if (value instanceof Map) return ['Map', [...value].map(listed)];
  if (value instanceof Set) return ['Set', [...value].map(listed)];
  if (Array.isArray(value))
    return [value.length, Object.entries(value).map(([at, item]) => [at, listed(item)])];
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  return [
    prototype === null,
    Object.keys(value)
      .sort()
      .map((name) => [name, listed((value as Record<string, unknown>)[name])]),
  ];
}

describe('keys of arguments', () => {
  it('are the same only if the arguments are equal', () => {
    fc.assert(
      fc.property(fc.array(values, { maxLength: 2 }), fc.array(values, { maxLength: 2 }), (one, other) => {
        expect(encodeKey(one) === encodeKey(other)).toBe(isSame(one, other));
      }),
      runs,
    );
  });

  it('are the same for copies, and for properties in another order', () => {
    const reversed = (value: unknown): unknown => {
      if (Array.isArray(value)) return Object.assign(new Array(value.length), value.map(reversed));
      if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
        return value;
      return Object.fromEntries(
        Object.entries(value)
          .reverse()
          .map(([name, item]) => [name, reversed(item)]),
      );
    };
    fc.assert(
      fc.property(values, (value) => {
        expect(encodeKey([reversed(value)])).toBe(encodeKey([value]));
        expect(encodeKey([makeOwnCopy(value, 1e6).value])).toBe(encodeKey([value]));
      }),
      runs,
    );
  });

  it.each<[unknown[], unknown[]]>([
    [[], [undefined]],
    [[1], [1, undefined]],
    [[0], [-0]],
    [[1], ['1']],
    [[1], [1n]],
    [[null], [undefined]],
    [[{}], [{ a: undefined }]],
    [[{}], [Object.create(null)]],
    [[[]], [{}]],
    [[[undefined]], [new Array(1)]],
    [[['a', 'b']], [['a,b']]],
    [['a', 'b'], ['a1:b']],
    [[new Date(0)], [0]],
    [[new Date(Number.NaN)], [new Date(0)]],
    [[new Map([[1, 2]])], [new Set([1, 2])]],
    [[new Map([[1, 2]])], [{ 1: 2 }]],
    [[new Set([1, 2])], [new Set([2, 1])]],
    [[Buffer.from('a')], [new Uint8Array([97])]],
    [[new Float64Array([0])], [new Float64Array([-0])]],
    [['\ud800'], ['\udfff']],
    [['x'.repeat(5000)], [`${'x'.repeat(4999)}y`]],
    [[`${'x'.repeat(600)}\ud800`], [`${'x'.repeat(600)}\udfff`]],
  ])('differ for %o and %o', (one, other) => {
    expect(encodeKey(one)).not.toBe(encodeKey(other));
  });

  it('stop at huge arguments, quickly', () => {
    let twice: unknown = ['x'];
    for (let n = 0; n < 60; n++) twice = [twice, twice];
    const large = 'x'.repeat(900_000);
    const started = performance.now();
    for (const value of [twice, [large, large], new Array(2 ** 32 - 1), Buffer.alloc(2 ** 21)]) {
      expect(() => encodeKey([value])).toThrow(/longer than/);
    }
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

describe('stored results', () => {
  it('deeply equal those of the function, from memory and from bytes', () => {
    fc.assert(
      fc.property(values, (value) => {
        const copy = makeOwnCopy(value, 1e6);
        // The memory tier refuses an entry of any other size.
        expect(copy.bytes).toSatisfy(Number.isSafeInteger);
        expect(isSame(copy.value, value)).toBe(true);
        expect(isSame(cloneValue(copy.value, copy.isTree), value)).toBe(true);
        expect(isSame(cloneValue(copy.value, false), value)).toBe(true);
        const decoded = decodeValue(encodeValue(copy));
        expect(decoded && isSame(decoded.value, value)).toBe(true);
      }),
      runs,
    );
  });

  it('share no object with the result or with each other', () => {
    const objectsIn = (value: unknown, found = new Set<object>()): Set<object> => {
      if (typeof value !== 'object' || value === null || found.has(value)) return found;
      found.add(value);
      if (ArrayBuffer.isView(value)) found.add(value.buffer);
      const items = value instanceof Map ? [...value].flat() : value instanceof Set ? [...value] : [];
      for (const item of [...items, ...Object.values(value)]) objectsIn(item, found);
      return found;
    };
    fc.assert(
      fc.property(values, (value) => {
        const copy = makeOwnCopy(value, 1e6);
        const clone = cloneValue(copy.value, copy.isTree);
        const all = [value, copy.value, clone].map((each) => objectsIn(each));
        expect(new Set(all.flatMap((each) => [...each])).size).toBe(
          all.reduce((sum, { size }) => sum + size, 0),
        );
      }),
      { numRuns: 500 },
    );
  });

  it('keep references, cycles and views, and pollute no prototype', () => {
    const row = { n: 1 };
    const cyclic: unknown[] = [row, row];
    cyclic.push(cyclic, new Map([[row, cyclic]]));
    const copy = makeOwnCopy({ cyclic, evil: JSON.parse('{"__proto__":{"polluted":1}}') }, 1e6);
    for (const value of [cloneValue(copy.value, copy.isTree), decodeValue(encodeValue(copy))?.value]) {
      const { cyclic: list, evil } = value as { cyclic: unknown[]; evil: object };
      expect(list[0]).toBe(list[1]);
      expect(list[2]).toBe(list);
      expect([...(list[3] as Map<unknown, unknown>)]).toEqual([[list[0], list]]);
      expect(Object.keys(evil)).toEqual(['__proto__']);
      expect(({} as { polluted?: number }).polluted).toBeUndefined();
    }
  });

  it.each<[string, unknown]>([
    ['a.b[1] is a function', { a: { b: [0, () => 1] } }],
    ['a is a symbol', { a: Symbol('x') }],
    ['[0] is an instance of URL', [new URL('https://a.example')]],
    ['a is a promise', { a: Promise.resolve() }],
    ['a is a proxy', { a: new Proxy({}, {}) }],
    ['an instance of List', new (class List extends Array {})()],
    ['an instance of RegExp', /x/],
    ['an array with further properties', /x/.exec('x')],
    ['an object with symbols as keys', { [Symbol('x')]: 1 }],
    ['an instance of Number', Object(1)],
    ['an instance of Error', new Error('x')],
    ['larger than', new Array(2 ** 32 - 1)],
    ['larger than', 'x'.repeat(2 ** 21)],
  ])('say where they cannot be stored: %s', (message, value) => {
    expect(() => makeOwnCopy(value, 2 ** 20)).toThrow(message);
  });

  it('are read from foreign bytes without an exception', () => {
    const frame = (json: string, kind = 1) => {
      const text = Buffer.from(json);
      const head = Buffer.alloc(5);
      head[0] = kind;
      head.writeUInt32BE(text.length, 1);
      return Buffer.concat([head, text]);
    };
    const deep = `${'[0,'.repeat(5000)}1${']'.repeat(5000)}`;
    const malformed = ['[0,[1,1099511627776]]', '[0,[1,-1]]', '[10,7]', '[8,"Buffer",9]', '[8,"Evil",0]'];
    for (const json of [deep, ...malformed, '[6,1]', '[99]', '[4,"x"]', '[3]', '{', '']) {
      expect(decodeValue(frame(json))).toBeUndefined();
    }
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void decodeValue(Buffer.from(bytes))));
    const good = encodeValue(makeOwnCopy({ a: [1n, Buffer.from('x')] }, 1e6));
    for (let length = 0; length < good.length; length++) {
      expect(decodeValue(good.subarray(0, length))).toBeUndefined();
    }
  });
});
