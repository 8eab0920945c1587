import type { Request, Response } from 'express';
import { type CacheRule, responseCache, type StandaloneCacheOptions } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors } from '../../helpers/http.js';

type Handler = (run: number, req: Request, res: Response) => unknown;

describe.each(majors)('options of a rule (%s)', (_name, express) => {
  const make = (
    rule: CacheRule,
    handler: Handler = (run, _req, res) => res.send(`run ${run}`),
    cache: StandaloneCacheOptions = {},
  ) =>
    cacheApp({
      express,
      cache: { ...cache, routes: { '/x': rule } },
      routes: (app, { count }) => app.get('/x', (req, res) => handler(count(), req, res)),
    });

  describe('vary.host', () => {
    it.each([false, 'www.example.com'] as const)(
      '%j lets two hosts of one app share entries',
      async (host) => {
        const made = await make({ ttl: 600, vary: { host } });
        await made.get('/x', { host: 'a.example' });
        expect(await made.get('/x', { host: 'b.example' })).toMatchObject({ xCache: 'HIT', text: 'run 1' });
        expect(made.runs()).toBe(1);
      },
    );

    it('keeps the entries of each host apart by default', async () => {
      const made = await make({ ttl: 600 });
      await made.get('/x', { host: 'a.example' });
      expect((await made.get('/x', { host: 'b.example' })).xCache).toBe('MISS');
    });

    it.each([false, 'www.example.com'] as const)(
      '%j: a purge by the URL of any host reaches them',
      async (host) => {
        const made = await make({ ttl: 600, vary: { host } });
        for (const url of ['http://b.example/x', 'http://a.example/x', '/x', 'https://www.example.com/X/']) {
          await made.get('/x', { host: 'a.example' });
          await made.cache.purge({ url });
          expect([url, (await made.get('/x', { host: 'a.example' })).xCache]).toEqual([url, 'MISS']);
        }
      },
    );

    it.each([false, 'b.example'] as const)(
      '%j: a redirect from one host to another is not stored',
      async (host) => {
        const made = await make({ ttl: 600, vary: { host } }, (_run, req, res) =>
          req.headers.host === 'a.example' ? res.redirect(301, 'http://b.example/x') : res.send('here'),
        );
        expect((await made.get('/x', { host: 'a.example' })).cacheStatus).toContain('detail=redirect-loop');
        expect(await made.get('/x', { host: 'b.example' })).toMatchObject({ text: 'here' });
      },
    );

    it('shows the host under which entries are stored', async () => {
      const made = await make({ ttl: 600, vary: { host: 'www.example.com' } }, undefined, {
        statusHeader: 'key',
      });
      for (let i = 0; i < 2; i++) {
        expect((await made.get('/x', { host: 'a.example' })).cacheStatus).toContain(
          'key="http://www.example.com/x"',
        );
      }
      expect(made.cache.explain({ url: 'http://b.example/x', headers: { accept: '*/*' } })).toMatchObject({
        result: 'HIT',
        key: { url: 'http://www.example.com/x' },
      });
    });

    it.each([true, '', 'a b', 'http://a.example', 'a.example/x'])('rejects %j', (host) => {
      const rule = { ttl: 60, vary: { host: host as never } };
      expect(() => responseCache({ routes: { '/x': rule } })).toThrow(
        /vary\.host: expected false, or the name/,
      );
    });
  });

  describe("ignoreQuery: 'tracking'", () => {
    it('ignores parameters that only track clients, and hides them from the handler', async () => {
      const seen: string[] = [];
      const made = await make({ ttl: 600, ignoreQuery: 'tracking' }, (_run, req, res) => {
        seen.push(req.originalUrl);
        res.send('x');
      });
      await made.get('/x?utm_source=a&gclid=1&page=2');
      for (const query of [
        'page=2',
        'fbclid=1&page=2&mc_eid=7',
        'page=2&msclkid=1&_ga=2',
        '&page=2&gclid[]=1&',
      ]) {
        expect([query, (await made.get(`/x?${query}`)).xCache]).toEqual([query, 'HIT']);
      }
      expect((await made.get('/x?page=3')).xCache).toBe('MISS');
      expect(seen).toEqual(['/x?page=2', '/x?page=3']);
    });

    it('is a name like any other in a list', async () => {
      const made = await make({ ttl: 600, ignoreQuery: ['tracking'] });
      await made.get('/x?tracking=1');
      expect((await made.get('/x')).xCache).toBe('HIT');
      expect((await made.get('/x?utm_source=1')).xCache).toBe('MISS');
    });
  });

  describe('statuses: { except }', () => {
    it.each([
      [404, 'HIT'],
      [410, 'MISS'],
      [302, 'MISS'],
      [500, 'MISS'],
    ] as const)('with { except: [410] }, a second %i is a %s', async (status, second) => {
      const made = await make({ ttl: 600, statuses: { except: [410] } }, (_run, _req, res) =>
        res.status(status).set('Location', '/y').send('x'),
      );
      await made.get('/x');
      expect((await made.get('/x')).xCache).toBe(second);
    });

    it.each([{ except: [] }, { except: [500] }, { except: [404], only: 1 }, {}])('rejects %j', (statuses) => {
      const rule = { ttl: 60, statuses: statuses as never };
      expect(() => responseCache({ routes: { '/x': rule } })).toThrow(
        /statuses: expected \{ except: \[…\] \}/,
      );
    });
  });

  describe('omitHeaders', () => {
    it('leaves response headers out of the stored response', async () => {
      const made = await make({ ttl: 600, omitHeaders: ['X-Served-By', 'x-debug-*'] }, (_run, _req, res) =>
        res.set({ 'X-Served-By': 'a', 'X-Debug-Sql': '7', 'X-Kept': 'yes' }).send('x'),
      );
      const first = await made.get('/x');
      const hit = await made.get('/x');
      const read = ({ headers }: typeof hit) =>
        ['x-served-by', 'x-debug-sql', 'x-kept'].map((name) => headers.get(name));
      expect([read(first), read(hit)]).toEqual([
        ['a', '7', 'yes'],
        [null, null, 'yes'],
      ]);
    });

    it('does not make a response with Set-Cookie storable', async () => {
      const made = await make({ ttl: 600, omitHeaders: ['set-cookie'] }, (_run, _req, res) =>
        res.cookie('sid', '1').send('x'),
      );
      await made.get('/x');
      expect((await made.get('/x')).cacheStatus).toContain('detail=set-cookie');
    });

    it.each(['Vary', 'content-type', 'v*', 'content*', 'Content-Encoding'])('rejects %s', (name) => {
      const rule = { ttl: 60, omitHeaders: [name] };
      expect(() => responseCache({ routes: { '/x': rule } })).toThrow(/omitHeaders\[0\]: expected the name/);
    });
  });
});
