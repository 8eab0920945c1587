import type { CacheRule } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors } from '../../helpers/http.js';

const LAST_YEAR = 'Tue, 01 Jan 2019 00:00:00 GMT';

describe.each(majors)('statuses (%s)', (_name, express) => {
  const app = (
    status: number,
    headers: Record<string, string>,
    rule?: CacheRule,
    profile: 'safe' | 'rfc9111' = 'rfc9111',
  ) =>
    cacheApp({
      express,
      cache: { profile, routes: rule ? { '/x': rule } : {} },
      routes: (inner, { count }) =>
        inner.get('/x', (_req, res) => {
          const isFirst = count() === 1;
          if (!isFirst) return void res.send('recovered');
          res.set(headers);
          res.status(status).end(status === 204 ? undefined : 'first');
        }),
    });

  const WITHOUT_LIFETIME: [string, Record<string, string>][] = [
    ['Last-Modified', { 'Last-Modified': LAST_YEAR }],
    ['an ETag', { ETag: '"a"' }],
    ['stale-while-revalidate', { 'Cache-Control': 'stale-while-revalidate=60', ETag: '"a"' }],
    ['stale-if-error', { 'Cache-Control': 'stale-if-error=60, no-transform', 'Last-Modified': LAST_YEAR }],
    ['no-cache', { 'Cache-Control': 'no-cache', ETag: '"a"' }],
    ['must-revalidate', { 'Cache-Control': 'must-revalidate', 'Last-Modified': LAST_YEAR }],
  ];
  it.each(WITHOUT_LIFETIME)(
    'are not stored by RFC 9111 §3 for %s only, unless cacheable by default [A10]',
    async (_case, headers) => {
      for (const status of [302, 303, 307, 400, 403, 429, 500, 502, 503, 599]) {
        for (const rule of [
          undefined,
          { ttl: '1m', staleWhileRevalidate: '1m', staleIfError: '1m' } as const,
        ]) {
          const made = await app(status, headers, rule);
          const first = await made.get('/x');
          expect([status, first.cacheStatus]).toEqual([status, expect.stringContaining('detail=status')]);
          expect(await made.get('/x')).toMatchObject({ status: 200, text: 'recovered' });
        }
      }
    },
  );

  it.each([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])(
    'are stored by RFC 9111 with a validator, like %i [A10]',
    async (status) => {
      expect((await (await app(status, { 'Last-Modified': LAST_YEAR })).get('/x')).cacheStatus).toContain(
        'stored',
      );
    },
  );

  it.each([302, 503])('are stored by RFC 9111 with their own lifetime, like %i [A10]', async (status) => {
    for (const cacheControl of ['max-age=60', 's-maxage=60', 'public'])
      for (const headers of [{ 'Cache-Control': cacheControl, 'Last-Modified': LAST_YEAR }])
        expect((await (await app(status, headers)).get('/x')).cacheStatus).toContain('stored');
    const expires = { Expires: new Date(Date.now() + 60_000).toUTCString() };
    expect((await (await app(status, expires)).get('/x')).cacheStatus).toContain('stored');
  });

  it.each([204, 404, 500, 503])(
    'are stored only when a rule lists them, like %i [A10, A13]',
    async (status) => {
      for (const profile of ['safe', 'rfc9111'] as const) {
        const plain = await app(status, {}, { ttl: '1m' }, profile);
        expect((await plain.get('/x')).cacheStatus).toContain('detail=status');
        const listed = await app(status, {}, { ttl: '1m', statuses: [200, status] }, profile);
        await listed.get('/x');
        expect(await listed.get('/x')).toMatchObject({ status, xCache: 'HIT' });
      }
    },
  );
});
