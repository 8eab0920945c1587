import type { StandaloneCacheOptions } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { isMalformedCacheControl } from '../../../src/http/cache-control.js';
import { cacheApp } from '../../helpers/cache.js';
import { majors } from '../../helpers/http.js';

const MALFORMED = [
  'public, max-age=60, ext="a, no-store',
  'public, max-age=60, ext="a\\", no-store',
  'public, max-age=60, "no-store"',
  'public, max-age=60, "private',
  'public, max-age=60; no-store',
  'public; max-age=60, s-maxage=60',
  'public max-age=60, s-maxage=60',
  'public, max-age=60, no-store no-cache',
  'public, max-age=60, =no-store',
  'public, max-age=60, (private)',
  'public, max-age=60, private="a"b',
  'public, max-age=60, no-store/',
  'public=bad, max-age=60',
  'public="", max-age=60',
  'max-age=60, must-revalidate=bad',
  'must-understand=1, no-store, max-age=60',
  'public, max-age=60, n\u00f6-store',
];

const WELL_FORMED = [
  'public, max-age=60',
  'public,, max-age="60" ,',
  'public , max-age =60',
  'public, max-age=60, ext="a, no-store"',
  'public, max-age=60, ext="\\""',
  "public, max-age=60, 'x'=1",
  'public, max-age=60, community="UCI", x-y',
  'public, max-age=60, s-maxage=abc, no-cache=""',
  'public, max-age=',
  '',
];

describe('isMalformedCacheControl', () => {
  it.each(MALFORMED)('finds %j malformed [A05]', (value) => {
    expect(isMalformedCacheControl(value)).toBe(true);
    expect(isMalformedCacheControl(['max-age=60', value])).toBe(true);
  });

  it.each(WELL_FORMED)('finds %j well-formed', (value) => {
    expect(isMalformedCacheControl(value)).toBe(false);
    expect(isMalformedCacheControl([value, 'public'])).toBe(false);
  });
});

describe.each(majors)('malformed Cache-Control (%s)', (_name, express) => {
  const app = (headers: Record<string, string | string[]>, cache: StandaloneCacheOptions = {}) =>
    cacheApp({
      express,
      cache,
      routes: (inner, { count }) =>
        inner.get('/x', (_req, res) => {
          count();
          for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
          res.setHeader('ETag', '"v1"');
          res.end('x');
        }),
    });
  const profiles = ['safe', 'rfc9111'] as const;
  const ruled = { routes: { '/x': { ttl: '1m' as const } } };

  it.each(MALFORMED)('is not stored: %j [A05]', async (value) => {
    for (const profile of profiles) {
      for (const rule of [{}, ruled]) {
        for (const headers of [
          { 'Cache-Control': value },
          { 'Cache-Control': ['public, max-age=60', value] },
        ]) {
          const made = await app(headers, { profile, ...rule });
          const { cacheStatus } = await made.get('/x', { authorization: 'a' });
          expect(cacheStatus).toContain('detail=cache-control-invalid');
          await made.get('/x');
          expect(made.cache.stats().entries).toBe(0);
        }
      }
    }
  });

  it.each([
    'max-age=60, no-store, x="',
    'no-store, max-age="60"',
    'no-store no-cache',
    'max-age=60; private, no-store;',
    'PRIVATE, Max-Age=60',
    'public; no-store, max-age=60',
    'max-age=60;private',
    'max-age=60; no-cache=1',
  ])('is not stored when a malformed targeted field hides a restriction: %j [A05]', async (value) => {
    for (const field of ['cdn-cache-control', 'surrogate-control']) {
      const made = await app(
        { [field]: value, 'Cache-Control': 'public, max-age=60' },
        { targets: [field], profile: 'rfc9111' },
      );
      await made.get('/x');
      expect([field, made.cache.stats().entries]).toEqual([field, 0]);
    }
  });

  it.each<[string, Record<string, string>]>([
    ['only a lifetime', { 'CDN-Cache-Control': 'max-age="60"' }],
    ['directives for other surrogates', { 'Surrogate-Control': 'no-store;edge, max-age=5;edge' }],
    ['a capability', { 'Surrogate-Control': 'content="x, no-store"' }],
    ['a valid field before it', { 'CDN-Cache-Control': 'max-age=60', 'Surrogate-Control': 'no-store, x="' }],
  ])('is ignored in a targeted field with %s; the next field applies', async (_case, headers) => {
    const made = await app({ ...headers, 'Cache-Control': 'public, max-age=60' }, { profile: 'rfc9111' });
    expect((await made.get('/x')).cacheStatus).toContain('stored');
  });

  it.each(['public=bad, max-age=60', 'public="x", max-age=60', 'must-revalidate=1, max-age=60'])(
    'does not share with credentials by a targeted field with invalid arguments: %j [A02]',
    async (value) => {
      const made = await app({ 'CDN-Cache-Control': value }, { profile: 'rfc9111' });
      const { cacheStatus } = await made.get('/x', { authorization: 'a' });
      expect(cacheStatus).toContain('detail=authorization');
    },
  );
});
