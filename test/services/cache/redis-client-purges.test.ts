import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors, waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';

let server: RedisServer;
beforeEach(async () => {
  server = await RedisServer.start();
});
afterEach(() => server.stop());

describe.each(majors)('purges caused by clients, with two instances (%s)', (_, express) => {
  const instance = () =>
    cacheApp({
      express,
      cache: {
        redis: { url: server.url, readTimeout: 5, writeTimeout: 5 },
        routes: { '/items/:id': { ttl: 600, tags: ['items'] } },
      },
      routes(app, { count, cache }) {
        app.get('/items/:id', (_req, res) => {
          res.send(String(count()));
        });
        app.put('/items/:id', (_req, res) => {
          res.location('/items/2').status(204).end();
        });
        app.post('/static', cache.purgeAfter({ tag: 'items' }), (_req, res) => {
          res.status(204).end();
        });
        app.post(
          '/chosen/:id',
          cache.purgeAfter(({ params }) => [
            { tag: `item:${params.id}` },
            { pattern: `/items/${params.id}` },
          ]),
          (_req, res) => {
            res.status(204).end();
          },
        );
      },
    });

  it('are marked in the Redis log, unlike purges of the app, and hold everywhere [H08, A16]', async () => {
    const [a, b] = [await instance(), await instance()];
    for (const { cache } of [a, b]) {
      await waitFor(() => cache.stats().redis!.ready && cache.stats().redis!.log.shares);
    }
    const get = (id: number) => b.get(`/items/${id}`);
    for (const id of [1, 2, 3]) await get(id);
    const ran = b.runs();
    const isVoid = async (id: number) => {
      const before = b.runs();
      await get(id);
      return b.runs() > before;
    };
    expect(await isVoid(1)).toBe(false);
    await a.get('/items/1', {}, { method: 'PUT' });
    await waitFor(() => b.cache.stats().redis!.log.records >= 2);
    expect([await isVoid(1), await isVoid(2), await isVoid(3)]).toEqual([true, true, false]);
    await a.get('/chosen/3', {}, { method: 'POST' });
    await waitFor(() => b.cache.stats().redis!.log.records >= 5);
    expect(await isVoid(3)).toBe(true);
    await a.get('/static', {}, { method: 'POST' });
    await a.cache.purge({ url: '/items/9' });
    await waitFor(() => b.cache.stats().redis!.log.records >= 8);
    expect([await isVoid(1), await isVoid(2)]).toEqual([true, true]);
    expect(b.runs()).toBe(ran + 5);
    const entries = (await server.command('XRANGE', 'hotpath:log', '-', '+')) as [string, string[]][];
    const records = entries.map(([, [, text]]) =>
      text!.replace(/^1 \S+ /, '').replace(/[1-9]\d{12}/, 'TIME'),
    );
    expect(records.filter((text) => !text.startsWith('e ')).sort()).toEqual(
      [
        'pn 0TIME /items/1',
        'pn 0TIME /items/2',
        'pt 0TIME item:3',
        'pp 0TIME /items/3',
        'pn 0TIME /chosen/3',
        'pt TIME items',
        'pn 0TIME /static',
        'pn TIME /items/9',
      ].sort(),
    );
  });
});
