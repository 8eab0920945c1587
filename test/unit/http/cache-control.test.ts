import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatCacheControl, MAX_DELTA_SECONDS, parseCacheControl } from '../../../src/http/cache-control.js';
import { expectLinear } from '../../helpers/linear.js';

const nothing = parseCacheControl(undefined);

describe('parseCacheControl', () => {
  it('reads every directive of RFC 9111, RFC 5861 and RFC 8246', () => {
    const flags =
      'public, private, no-store, no-cache, no-transform, must-revalidate, proxy-revalidate, must-understand, immutable, only-if-cached';
    const lifetimes =
      'max-age=1, s-maxage=2, stale-while-revalidate=3, stale-if-error=4, min-fresh=5, max-stale=6';
    expect(parseCacheControl(`${flags}, ${lifetimes}`)).toEqual({
      public: true,
      private: true,
      noStore: true,
      noCache: true,
      noTransform: true,
      mustRevalidate: true,
      proxyRevalidate: true,
      mustUnderstand: true,
      immutable: true,
      onlyIfCached: true,
      maxAge: 1,
      sMaxage: 2,
      staleWhileRevalidate: 3,
      staleIfError: 4,
      minFresh: 5,
      maxStale: 6,
    });
  });

  it.each([
    ['names in any case', 'No-Store, MAX-AGE=5', { noStore: true, maxAge: 5 }],
    [
      'tabs, empty members and trailing commas',
      '\t,, no-store\t,\tmax-age=5 ,,',
      { noStore: true, maxAge: 5 },
    ],
    ['several lines as one list', ['max-age=5', 'private'], { private: true, maxAge: 5 }],
    ['a number, as setHeader allows', 5, {}],
    ['quoted lifetimes', 'max-age="60"', { maxAge: 60 }],
    ['an escaped quoted lifetime', 'max-age="6\\0"', { maxAge: 60 }],
    ['a flag that was given an argument', 'no-store=1, public=""', { noStore: true, public: true }],
    ['max-stale without a bound', 'max-stale', { maxStale: Number.POSITIVE_INFINITY }],
    ['no directive inside a quoted string', 'x="a,no-store,max-age=1", max-age=2', { maxAge: 2 }],
    ['an escaped quote inside a quoted string', 'x="a\\",no-store", public', { public: true }],
    ['a quoted string that never ends', 'public, x="a, no-store', { public: true }],
    ['lines on their own, where a quotation never ends', ['x="a', 'no-store'], { noStore: true }],
    [
      'fields of no-cache and private',
      'private="Set-Cookie, X-A", no-cache=x-b',
      { private: ['set-cookie', 'x-a'], noCache: ['x-b'] },
    ],
    ['a bare private over one with fields', 'private="a", private', { private: true }],
    ['a bare private over one with fields, in either order', 'private, private="a"', { private: true }],
    ['fields of both of two', 'no-cache="a", no-cache="b"', { noCache: ['a', 'b'] }],
    ['an empty list of fields as none', 'private=""', { private: true }],
    ['the shortest of a lifetime given twice', 'max-age=60, max-age=5, max-age=3600', { maxAge: 5 }],
    ['nothing in names of Object.prototype', 'constructor, __proto__=1, toString, hasOwnProperty=2', {}],
    ['nothing in an empty value', '', {}],
    ['nothing in names that only begin alike', 'no-storeage, max-ages=5, xpublic', {}],
  ] as const)('takes %s', (_, value, expected) => {
    expect(parseCacheControl(value)).toEqual({ ...nothing, ...expected });
  });

  it.each(['abc', '-1', '1.5', '', '+5', '5s', '0x10', '1e3', '5 5', '"', '""', '٣'])(
    'treats the malformed lifetime %j as stale',
    (argument) => {
      expect(parseCacheControl(`max-age=${argument}`).maxAge).toBe(0);
      expect(parseCacheControl(`max-age=60, max-age=${argument}`).maxAge).toBe(0);
    },
  );

  it('treats a lifetime without argument as stale', () => {
    expect(parseCacheControl('max-age').maxAge).toBe(0);
  });

  it('limits a lifetime that overflows to 2^31', () => {
    expect(parseCacheControl('max-age=2147483648').maxAge).toBe(MAX_DELTA_SECONDS);
    expect(parseCacheControl(`max-age=${'9'.repeat(400)}`).maxAge).toBe(MAX_DELTA_SECONDS);
  });

  it('reads a hostile value in linear time', () => {
    const hostile: ((length: number) => string)[] = [
      (length) => '"\\'.repeat(length / 2),
      (length) => ','.repeat(length),
      (length) => 'private="a",'.repeat(length / 12),
      (length) => `max-age=${' '.repeat(length)}x`,
    ];
    for (const make of hostile) expectLinear(parseCacheControl, make);
  });

  it('never throws for any input', () => {
    fc.assert(fc.property(fc.string(), (value) => void parseCacheControl(value)));
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('"', '\\', ',', '=', 'private', 'max-age', '1', ' ') }),
        (value) => {
          parseCacheControl(value);
        },
      ),
    );
  });
});

describe('formatCacheControl', () => {
  it('writes the given directives, and leaves out those that are off', () => {
    expect(formatCacheControl({ public: true, private: false, maxAge: 60, immutable: true })).toBe(
      'public, max-age=60, immutable',
    );
    expect(formatCacheControl({ private: ['a', 'b'], noCache: true, maxAge: 0 })).toBe(
      'private="a, b", no-cache, max-age=0',
    );
    expect(formatCacheControl({})).toBe('');
  });

  it('is read back as it was written', () => {
    const fields = fc.oneof(
      fc.boolean(),
      fc.array(fc.stringMatching(/^[a-z-]{1,8}$/), { minLength: 1, maxLength: 3 }),
    );
    const seconds = fc.integer({ min: 0, max: MAX_DELTA_SECONDS });
    const directives = fc.record(
      {
        public: fc.boolean(),
        private: fields,
        noStore: fc.boolean(),
        noCache: fields,
        noTransform: fc.boolean(),
        mustRevalidate: fc.boolean(),
        proxyRevalidate: fc.boolean(),
        mustUnderstand: fc.boolean(),
        immutable: fc.boolean(),
        onlyIfCached: fc.boolean(),
        maxAge: seconds,
        sMaxage: seconds,
        staleWhileRevalidate: seconds,
        staleIfError: seconds,
        minFresh: seconds,
        maxStale: fc.oneof(seconds, fc.constant(Number.POSITIVE_INFINITY)),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(directives, (given) => {
        expect(parseCacheControl(formatCacheControl(given))).toEqual({ ...nothing, ...given });
      }),
    );
  });
});
