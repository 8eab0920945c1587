import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors, waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';

let server: RedisServer;
beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(() => server.stop());

describe.each(majors)('hit-for-miss with Redis (%s)', (_major, express) => {
  it.each([
    ['a range', { Range: 'bytes=0-1' }, 206],
    ['a range that nothing satisfies', { Range: 'bytes=9-' }, 416],
    ['a condition', { 'If-None-Match': '"v1"' }, 304],
  ])(
    'marks no key after a response to %s, so other requests still look in Redis [H03]',
    async (_name, headers, status) => {
      const made = await cacheApp({
        express,
        // No lifetime in the rule: conditional requests reach the handler.
        cache: { redis: { url: server.url, readTimeout: 5 }, routes: { '/x': {} } },
        routes: (app) =>
          app.get('/x', (req, res) => {
            res.set({ ETag: '"v1"', 'Cache-Control': 'public, max-age=60' });
            if (req.get('range') || req.get('if-none-match')) res.status(status).end();
            else res.send('body');
          }),
      });
      await waitFor(() => made.cache.stats().redis?.log.shares === true);
      const refusal = () =>
        made.cache.explain({ url: '/x', headers: { host: `127.0.0.1:${made.port}` } }).hitForMiss;
      expect((await made.get('/x', headers as Record<string, string>)).status).toBe(status);
      expect(refusal()).toBeUndefined();
    },
  );

  it('marks a key after a complete response that is not storable, until one is stored [H03]', async () => {
    let isStorable = false;
    const made = await cacheApp({
      express,
      cache: { redis: { url: server.url, readTimeout: 5 }, routes: { '/x': { ttl: 60, collapse: false } } },
      routes: (app) =>
        app.get('/x', (_req, res) => {
          if (!isStorable) res.set('Cache-Control', 'no-store');
          res.send('body');
        }),
    });
    await waitFor(() => made.cache.stats().redis?.log.shares === true);
    const refusal = () =>
      made.cache.explain({ url: '/x', headers: { host: `127.0.0.1:${made.port}` } }).hitForMiss;
    await made.get('/x');
    expect(refusal()).toBe('no-store');
    isStorable = true;
    await made.get('/x');
    expect(refusal()).toBeUndefined();
  });
});
