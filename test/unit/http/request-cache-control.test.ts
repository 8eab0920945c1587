import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCacheControl } from '../../../src/http/cache-control.js';
import {
  mayReuseStored,
  parseRequestDirectives,
  type StoredFreshness,
} from '../../../src/http/request-directives.js';

describe('requestDirectives', () => {
  it.each([
    ['Pragma alone', undefined, 'no-cache', true],
    ['Pragma in capitals', undefined, 'No-Cache', true],
    ['Pragma among extensions', undefined, 'x="y" , no-cache', true],
    ['another Pragma', undefined, 'no-cached', false],
    ['Pragma beside a Cache-Control that says otherwise', 'max-age=60', 'no-cache', false],
    ['Pragma beside an empty Cache-Control', '', 'no-cache', false],
    ['Cache-Control', 'no-cache', undefined, true],
    ['neither', undefined, undefined, false],
  ])('reads no-cache from %s', (_case, cacheControl, pragma, noCache) => {
    expect(parseRequestDirectives(cacheControl, pragma).noCache).toBe(noCache);
  });
});

describe('mayUseStored', () => {
  const fresh = { age: 10, lifetime: 60 };
  const stale = { age: 70, lifetime: 60 };

  it.each<[string, StoredFreshness | undefined, string]>([
    ['', fresh, 'fresh'],
    ['', { age: 0, lifetime: 1 }, 'fresh'],
    ['', { age: 60, lifetime: 60 }, 'revalidate'],
    ['', { age: 0, lifetime: 0 }, 'revalidate'],
    ['', stale, 'revalidate'],
    ['', undefined, 'forward'],
    ['no-store', fresh, 'forward'],
    ['no-cache', fresh, 'revalidate'],
    ['no-cache, max-stale', fresh, 'revalidate'],
    ['max-age=10', fresh, 'fresh'],
    ['max-age=9', fresh, 'revalidate'],
    ['max-age=0', { age: 0.2, lifetime: 60 }, 'revalidate'],
    ['max-age=nonsense', fresh, 'revalidate'],
    ['max-age=100', stale, 'revalidate'],
    ['min-fresh=50', fresh, 'fresh'],
    ['min-fresh=51', fresh, 'revalidate'],
    ['min-fresh=0, max-stale', stale, 'revalidate'],
    ['max-stale', stale, 'stale'],
    ['max-stale', fresh, 'fresh'],
    ['max-stale=10', stale, 'stale'],
    ['max-stale=9', stale, 'revalidate'],
    ['max-stale=nonsense', stale, 'revalidate'],
    ['max-stale', { ...stale, neverStale: true }, 'revalidate'],
    ['max-age=60, max-stale', stale, 'revalidate'],
    ['max-age=70, max-stale', stale, 'stale'],
    ['only-if-cached', undefined, 'refuse'],
    ['only-if-cached', fresh, 'fresh'],
    ['only-if-cached', stale, 'refuse'],
    ['only-if-cached, max-stale', stale, 'stale'],
    ['only-if-cached, no-cache', fresh, 'refuse'],
    ['only-if-cached, max-age=5', fresh, 'refuse'],
    ['only-if-cached, no-store', fresh, 'fresh'],
  ])('a request with %j and %j: %s', (header, stored, reuse) => {
    expect(mayReuseStored(parseCacheControl(header), stored)).toBe(reuse);
  });

  it('allows a stored response only if the request and the response both allow it', () => {
    const seconds = fc.integer({ min: 0, max: 5 });
    const maybe = fc.option(seconds, { nil: undefined });
    fc.assert(
      fc.property(
        fc.record({ maxAge: maybe, minFresh: maybe, maxStale: maybe, noCache: fc.boolean() }),
        fc.record({ age: seconds, lifetime: seconds, neverStale: fc.boolean() }),
        (asked, stored) => {
          const { age, lifetime } = stored;
          const left = lifetime - age;
          const accepted = [
            !asked.noCache,
            asked.maxAge === undefined || age <= asked.maxAge,
            asked.minFresh === undefined || left >= asked.minFresh,
            left > 0 || (!stored.neverStale && asked.maxStale !== undefined && -left <= asked.maxStale),
          ];
          const reuse = mayReuseStored({ ...parseCacheControl(undefined), ...asked }, stored);
          const expected = !accepted.every(Boolean) ? 'revalidate' : left > 0 ? 'fresh' : 'stale';
          expect(reuse).toBe(expected);
        },
      ),
      { numRuns: 2_000, seed: 521 },
    );
  });
});
