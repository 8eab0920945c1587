import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors, waitFor } from '../../helpers/http.js';

// The list does not depend on Express.
const [, express] = majors[0]!;

const shop = () =>
  cacheApp({
    express,
    cache: {
      // It stores responses that vary by cookie.
      profile: 'rfc9111',
      routes: {
        '/api/items/:id': { ttl: '1h', tags: ({ params }) => ['items', `item:${params.id}`] },
        '/me': { ttl: '1h', partition: ({ req }) => req.headers['x-user'] as string },
        '/all': { ttl: '1h', vary: { host: false } },
      },
    },
    routes: (app) => {
      app.get('/api/items/:id', (req, res) => res.send(`item ${req.params.id}`));
      app.get('/me', (_req, res) => res.send('me'));
      app.get('/all', (_req, res) => res.send('all'));
      app.get('/hello', (_req, res) => {
        res.set({ 'Cache-Control': 'public, max-age=60', Vary: 'Accept-Language, Cookie, X-Kind' });
        res.send('hello');
      });
    },
  });

describe('the list of keys', () => {
  it('describes the entries in memory as plain data, without credentials or partitions', async () => {
    const made = await shop();
    await made.get('/api/items/1?q=<b>');
    await made.get('/api/items/1?q=<b>');
    await made.get('/hello', { 'accept-language': 'de', cookie: 'session=secret' });
    await made.get('/me', { 'x-user': 'anna' });
    await made.get('/all');
    const list = made.cache.keys();
    expect(JSON.parse(JSON.stringify(list))).toEqual(list);
    expect(JSON.stringify(list)).not.toMatch(/secret|anna/);
    const byUrl = Object.fromEntries(list.keys.map((key) => [key.url, key]));
    expect(list.complete).toBe(true);
    expect(Object.keys(byUrl).sort()).toEqual(
      ['/api/items/1?q=<b>', '/hello', '/me']
        .map((path) => made.url + path)
        .concat('http://*/all')
        .sort(),
    );
    expect(list.keys[0]).toEqual({
      url: `${made.url}/api/items/1?q=<b>`,
      variant: {},
      partitioned: false,
      route: '/api/items/:id',
      status: 200,
      state: 'fresh',
      age: 0,
      ttl: 3599,
      tags: ['items', 'item:1'],
      bytes: expect.any(Number),
      bodyBytes: 6,
      encodings: {},
      used: true,
    });
    expect(byUrl[`${made.url}/hello`]?.variant).toEqual({
      'accept-language': 'de',
      cookie: '(hidden)',
      'x-kind': null,
    });
    expect(byUrl[`${made.url}/me`]).toMatchObject({ partitioned: true, used: false });
  });

  it('selects by prefix, route and tag, up to a limit, and leaves purged entries out', async () => {
    const made = await shop();
    for (let id = 0; id < 120; id++) await made.get(`/api/items/${id}`);
    await made.get('/all');
    const urls = (options: Parameters<typeof made.cache.keys>[0]) =>
      made.cache.keys(options).keys.map(({ url }) => url.slice(made.url.length));
    expect(made.cache.keys()).toMatchObject({ keys: { length: 100 }, complete: false });
    expect(made.cache.keys({ limit: 1000 })).toMatchObject({ keys: { length: 121 }, complete: true });
    expect(urls({ prefix: '/api/items/11', limit: 3 })).toEqual(
      [119, 118, 117].map((id) => `/api/items/${id}`),
    );
    expect(urls({ tag: 'item:7' })).toEqual(['/api/items/7']);
    expect(made.cache.keys({ route: '/all' }).keys).toMatchObject([{ url: 'http://*/all' }]);
    await made.cache.expire({ url: '/api/items/8' });
    expect(made.cache.keys({ tag: 'item:8' }).keys).toMatchObject([{ state: 'stale' }]);
    await made.cache.purge([{ tag: 'items' }, { url: 'http://*/all' }]);
    expect(made.cache.keys()).toEqual({ keys: [], complete: true });
  });

  it('previews a purge: the entries that match, 50 of them in full, and changes nothing', async () => {
    const made = await shop();
    for (let id = 0; id < 60; id++) await made.get(`/api/items/${id}`);
    await made.get('/all');
    const { cache } = made;
    const before = cache.stats();
    const all = cache.preview({ tag: 'items' });
    expect(all).toMatchObject({ count: 60, complete: true, keys: { length: 50 } });
    expect(cache.preview({ all: true }).bytes).toBeGreaterThan(all.bytes);
    const one = cache.preview([{ url: '/api/items/7' }, { tag: 'item:7' }]);
    expect(one).toMatchObject({ count: 1, keys: [{ url: `${made.url}/api/items/7`, state: 'fresh' }] });
    expect(cache.preview({ pattern: '/api/items/:id' }).count).toBe(60);
    expect(cache.stats()).toEqual(before);
    await cache.purge({ tag: 'item:7' });
    expect(cache.preview({ tag: 'items' }).count).toBe(59);
    expect(cache.preview({ tag: 'none' })).toEqual({ count: 0, bytes: 0, complete: true, keys: [] });
    expect(() => cache.preview({ tags: 'x' } as never)).toThrow(
      expect.objectContaining({ code: 'HOTPATH_SELECTOR_INVALID' }),
    );
  });

  it('shows the compressed forms, and cuts what clients made long', async () => {
    const { hotpath } = await import('hotpath');
    const made = await cacheApp({ express, routes: () => {} });
    const perf = hotpath({ routes: { '/text': { cache: { ttl: '1h' } } } });
    made.app.use(perf);
    made.app.get('/text', (_req, res) => void res.send('All work and no play. '.repeat(500)));
    const path = `/text?${'x'.repeat(5000)}`;
    await made.get(path);
    await waitFor(async () => {
      await made.get(path);
      return perf.cache.keys().keys[0]?.encodings.gzip;
    });
    expect(perf.cache.keys().keys[0]?.url).toMatch(/^.{1999}…$/);
    await perf.close();
    expect(perf.cache.keys()).toEqual({ keys: [], complete: true });
  });

  it.each([{ limit: 0 }, { limit: 1001 }, { prefix: 1 }, { tags: 'x' }])('rejects %j', async (options) => {
    const made = await shop();
    expect(() => made.cache.keys(options as never)).toThrow(
      expect.objectContaining({ code: 'HOTPATH_CONFIG_INVALID', message: expect.stringContaining('keys.') }),
    );
  });
});
