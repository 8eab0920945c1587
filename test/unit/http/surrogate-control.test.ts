import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_DELTA_SECONDS, parseCacheControl } from '../../../src/http/cache-control.js';
import { surrogateDirectives } from '../../../src/http/surrogate-control.js';
import { targetedPolicy } from '../../../src/http/targeted-cache-control.js';

const nothing = parseCacheControl(undefined);

describe('surrogateDirectives', () => {
  it.each<[string, object]>([
    ['max-age=60', { maxAge: 60 }],
    ['MaX-aGe=60', { maxAge: 60 }],
    ['max-age="60"', { maxAge: 60 }],
    ['max-age=600+60', { maxAge: 600 }],
    ['max-age=99999999999', { maxAge: MAX_DELTA_SECONDS }],
    [`max-age=${'9'.repeat(400)}`, { maxAge: MAX_DELTA_SECONDS }],
    ['max-age=60, max-age=30', { maxAge: 30 }],
    ['foobar, max-age=60, content="ESI/1.0, max-age=5"', { maxAge: 60 }],
    ['no-store', { noStore: true }],
    ['no-store="x"', { noStore: true }],
    ['private="a", No-Cache', { private: true, noCache: true }],
    ['max-age=60;hotpath', { maxAge: 60 }],
    ['max-age=60 ; hotpath', { maxAge: 60 }],
    ['max-age=60;edge;hotpath', { maxAge: 60 }],
    ['max-age=60;hotpath, max-age=5', { maxAge: 60 }],
    ['max-age=5, max-age=60;hotpath', { maxAge: 60 }],
    ['max-age=60, no-store;edge', { maxAge: 60 }],
    ['max-age=60, stale-while-revalidate=5', { maxAge: 60, staleWhileRevalidate: 5 }],
  ])('reads %j', (value, directives) => {
    expect(surrogateDirectives(value)).toEqual({ ...nothing, ...directives });
  });

  it.each([
    '',
    ' , ',
    'foo',
    'content="ESI/1.0"',
    'content="x, no-store"',
    'no-store-remote',
    'max-age=60;edge',
    'no-store;edge, max-age=60;other',
    'max-age',
    'max-age=',
    'max-age =60',
    'max-age= 60',
    'max-age=abc',
    'max-age=-1',
    'max-age=1.5',
    'no-store, max-age=abc',
    '"max-age=60',
  ])('finds no directive for this cache in %j', (value) => {
    expect(surrogateDirectives(value)).toBeUndefined();
  });

  it('reads any input without an exception [K08]', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (value) => {
        surrogateDirectives(value);
      }),
      { numRuns: 2_000, seed: 2001 },
    );
  });

  it('is used for `surrogate-control` in a target list, and for no other name', () => {
    const policy = (field: string) => targetedPolicy([field], () => 'MAX-AGE=60;hotpath');
    expect(policy('surrogate-control')).toMatchObject({ directives: { maxAge: 60 } });
    expect(policy('cdn-cache-control')).toBeUndefined();
  });
});
