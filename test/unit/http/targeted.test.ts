import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_DELTA_SECONDS, parseCacheControl } from '../../../src/http/cache-control.js';
import { targetedDirectives, targetedPolicy } from '../../../src/http/targeted-cache-control.js';

const nothing = parseCacheControl(undefined);

describe('targetedDirectives', () => {
  it.each<[string, object]>([
    ['max-age=60', { maxAge: 60 }],
    ['max-age=0', { maxAge: 0 }],
    ['max-age=-1', { maxAge: 0 }],
    ['max-age=99999999999', { maxAge: MAX_DELTA_SECONDS }],
    ['max-age=60, max-age=30', { maxAge: 30 }],
    ['max-age=30, max-age=60', { maxAge: 60 }],
    ['max-age=60;x="y";z', { maxAge: 60 }],
    ['foobar, max-age=60, ext=(a b), no="1"', { maxAge: 60 }],
    [
      's-maxage=5, stale-while-revalidate=6, stale-if-error=7',
      { sMaxage: 5, staleWhileRevalidate: 6, staleIfError: 7 },
    ],
    ['no-store', { noStore: true }],
    ['no-store=?1', { noStore: true }],
    ['no-store=?0', {}],
    ['no-store="x"', { noStore: true }],
    ['private, must-revalidate', { private: true, mustRevalidate: true }],
    ['private="a, B"', { private: ['a', 'b'] }],
    ['private="\\"a\\""', { private: ['"a"'] }],
    ['private="a\\", public"', { private: ['a"', 'public'] }],
    ['private=""', { private: true }],
    ['private=(a b)', { private: true }],
    ['private=?0', {}],
    ['no-cache=set-cookie', { noCache: ['set-cookie'] }],
    ['no-cache=1', { noCache: true }],
    ['public, immutable, proxy-revalidate', { public: true, immutable: true, proxyRevalidate: true }],
    ['none', {}],
  ])('reads %j', (value, directives) => {
    expect(targetedDirectives(value)).toEqual({ ...nothing, ...directives });
  });

  it.each([
    '',
    '  ',
    'max-age=60,',
    'max-age=60, &&&&&',
    'max-age =60',
    'max-age= 60',
    'MaX-aGe=60',
    'max-age="60"',
    'max-age',
    'max-age=1.5',
    'max-age=abc',
    'max-age=?1',
    'no-store, max-age="60"',
    'max-age=1234567890123456',
    'no-store no-cache',
  ])('ignores all of %j', (value) => {
    expect(targetedDirectives(value)).toBeUndefined();
  });

  it('reads values that Cache-Control has too like Cache-Control', () => {
    const directive = fc.oneof(
      fc.constantFrom(
        'no-store',
        'no-cache',
        'private',
        'public',
        'must-revalidate',
        'private="a, b"',
        'ext="x"',
      ),
      fc
        .tuple(fc.constantFrom('max-age', 's-maxage', 'stale-if-error'), fc.nat())
        .map((pair) => pair.join('=')),
    );
    const name = (text: string) => text.split('=')[0];
    const field = fc.uniqueArray(directive, { minLength: 1, maxLength: 5, selector: name });
    fc.assert(
      fc.property(field, (given) => {
        expect(targetedDirectives(given.join(', '))).toEqual(parseCacheControl(given.join(', ')));
      }),
      { numRuns: 1_000, seed: 9213 },
    );
  });
});

describe('targetedPolicy', () => {
  const policy = (fields: Record<string, string>) =>
    targetedPolicy(['hotpath-cache-control', 'cdn-cache-control'], (name) => fields[name]);

  it('uses the first field of the list that is present and valid', () => {
    const both = { 'cdn-cache-control': 'max-age=1', 'hotpath-cache-control': 'max-age=2' };
    expect(policy(both)).toMatchObject({ field: 'hotpath-cache-control', directives: { maxAge: 2 } });
    expect(policy({ ...both, 'hotpath-cache-control': 'max-age=' })).toMatchObject({
      field: 'cdn-cache-control',
      directives: { maxAge: 1 },
    });
    expect(policy({ ...both, 'hotpath-cache-control': '' })).toMatchObject({ field: 'cdn-cache-control' });
    expect(policy({ 'cdn-cache-control': 'none' })).toMatchObject({ directives: nothing });
  });

  it('has no policy without a present and valid field of the list', () => {
    expect(policy({})).toBeUndefined();
    expect(policy({ 'cache-control': 'max-age=1', 'other-cache-control': 'max-age=1' })).toBeUndefined();
    expect(policy({ 'cdn-cache-control': '&' })).toBeUndefined();
  });
});
