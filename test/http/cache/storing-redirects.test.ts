import type { Express } from 'express';
import type { CacheRule } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors } from '../../helpers/http.js';

describe.each(majors)('redirects (%s)', (_name, express) => {
  const app = (location: string, status = 301, rule: CacheRule = {}, before?: (app: Express) => void) =>
    cacheApp({
      express,
      cache: { routes: { '/*path': { ttl: '1m', statuses: [200, 301, 302, 303, 307, 308], ...rule } } },
      before,
      routes: (inner, { count }) =>
        inner.use((_req, res) => {
          count();
          res.writeHead(status, { Location: location }).end();
        }),
    });
  const ask = (made: Awaited<ReturnType<typeof app>>, target = '/a/b?c=1', host = 'shop.example') =>
    made.raw(`GET ${target} HTTP/1.1\nHost: ${host}\nConnection: close`);
  const status = async (...given: Parameters<typeof ask>) =>
    (await ask(...given)).header('cache-status') ?? '';

  it.each<[string, number]>([
    ['https://shop.example/a/b?c=1', 308],
    ['../a/b?c=1', 302],
  ])('are not stored when they lead back to their own URL: %j [A14]', async (location, code) => {
    const made = await app(location, code);
    expect(await status(made)).toContain('detail=redirect-loop');
    expect(made.cache.stats().entries).toBe(0);
  });

  it('are not stored when their target has the same key, and stored otherwise [A14, B13]', async () => {
    const rule = { ignoreQuery: ['utm_*'] };
    expect(await status(await app('/a?utm_source=x', 301, rule), '/a')).toContain('detail=redirect-loop');
    expect(await status(await app('/a?page=2', 301, rule), '/a?page=1')).toContain('stored');
  });

  it('are not stored behind a proxy that terminates TLS, trusted or not [A14]', async () => {
    for (const trust of [false, true]) {
      const made = await app('https://shop.example/a', 301, {}, (outer) => outer.set('trust proxy', trust));
      const lines = 'GET /a HTTP/1.1\nHost: shop.example\nX-Forwarded-Host: shop.example\nConnection: close';
      expect((await made.raw(lines)).header('cache-status')).toContain('detail=redirect-loop');
    }
  });

  it('are not stored when a custom port leads back [A14]', async () => {
    const made = await app('https://shop.example:3000/a');
    expect(await status(made, '/a', 'shop.example:3000')).toContain('detail=redirect-loop');
  });

  it('are not stored when a middleware changes Location in writeHead [A21]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/a': { ttl: '1m' } } },
      before: (outer) =>
        outer.use((_req, res, next) => {
          const { writeHead } = res;
          res.writeHead = function (this: typeof res, ...given: unknown[]) {
            this.setHeader('Location', '/a');
            return writeHead.apply(this, given as never);
          } as never;
          next();
        }),
      routes: (inner) => inner.get('/a', (_req, res) => res.redirect(301, '/b')),
    });
    await made.get('/a');
    expect(made.cache.stats().entries).toBe(0);
  });
});
