import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import type { StandaloneCacheOptions } from 'hotpath/cache';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { FaultProxy } from '../../helpers/fault-proxy.js';
import { gate } from '../../helpers/gate.js';
import { crowdOf, express5, majors, waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';

const rule = { ttl: 60, tags: ['x'] };
// On a shared machine, Redis itself may need longer than the default.
const patient = { readTimeout: 5, writeTimeout: 5 };

let server: RedisServer;
beforeEach(async () => {
  server = await RedisServer.start();
});
afterEach(() => server.stop());

/** The response for one client; instances behind one balancer have one host name. */
async function ask(made: CacheApp, path: string, headers: Record<string, string> = {}) {
  const sent = request({ port: made.port, host: '127.0.0.1', path, agent: false });
  for (const [name, value] of Object.entries({ Host: 'shop.example', ...headers }))
    sent.setHeader(name, value);
  sent.end();
  const res = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
    sent.once('response', resolve).once('error', reject);
  });
  return { status: res.statusCode, headers: res.headers, text: await text(res) };
}

const shares = (made: CacheApp) => waitFor(() => made.cache.stats().redis?.log.shares === true);
const written = (made: CacheApp, count = 1) =>
  waitFor(() => (made.cache.stats().redis?.operations.set?.answered ?? 0) >= count);

describe.each(majors)('two instances on one Redis (%s)', (major, express) => {
  const crowd = crowdOf(major);
  const instance = async (
    name: string,
    {
      cache,
      redis,
      path = '/x',
    }: { cache?: StandaloneCacheOptions; redis?: { writeTimeout: number }; path?: string } = {},
  ) =>
    cacheApp({
      express,
      cache: { redis: { url: server.url, ...patient, ...redis }, routes: { [path]: rule }, ...cache },
      routes: (app, { count }) =>
        app.get(path, (_req, res) => {
          res.vary('Accept-Language').send(`${name} ${count()}`);
        }),
    });
  const two = async (options?: Parameters<typeof instance>[1]) => {
    const both = [await instance('a', options), await instance('b', options)] as const;
    await Promise.all(both.map(shares));
    return both;
  };

  it('serves entries of the other instance with their age, without a handler run', async () => {
    const [a, b] = await two();
    await ask(a, '/x', { 'Accept-Language': 'de' });
    await written(a, 2);
    const got = await ask(b, '/x', { 'Accept-Language': 'de' });
    expect([got.text, got.headers['x-cache']]).toEqual(['a 1', 'HIT']);
    expect(Number(got.headers.age)).toBeGreaterThanOrEqual(0);
    expect(got.headers['cache-status']).toMatch(/^hotpath; hit; ttl=\d+$/);
    // The second time it is in local memory.
    const { hits } = b.cache.stats().redis!;
    expect((await ask(b, '/x', { 'Accept-Language': 'de' })).text).toBe('a 1');
    expect(b.cache.stats().redis!.hits).toBe(hits);
    expect(b.runs()).toBe(0);
    // Another variant is missing.
    expect((await ask(b, '/x', { 'Accept-Language': 'fr' })).text).toBe('b 1');
  });

  it('separates responses of one URL by all headers that they name, on both [B01]', async () => {
    const made = async (name: string) =>
      cacheApp({
        express,
        cache: { redis: { url: server.url, ...patient }, routes: { '/x': rule } },
        routes: (app, { count }) =>
          app.get('/x', (req, res) => {
            const { 'x-kind': kind, 'accept-language': language } = req.headers;
            res.vary(kind ? 'X-Kind' : 'Accept-Language').send(`${name} ${count()} ${kind ?? language}`);
          }),
      });
    const [a, b] = [await made('a'), await made('b')];
    await Promise.all([a, b].map(shares));
    const requests: Record<string, string>[] = [
      { 'Accept-Language': 'de' },
      { 'X-Kind': 'k' },
      { 'Accept-Language': 'fr' },
    ];
    for (const made of [a, b, a, b]) {
      for (const headers of requests) {
        const { text } = await ask(made, '/x', headers);
        expect(text.split(' ')[2]).toBe(Object.values(headers)[0]);
      }
    }
    await written(a, 4);
    const runs = a.runs() + b.runs();
    for (const made of [a, b]) for (const headers of requests) await ask(made, '/x', headers);
    expect(a.runs() + b.runs()).toBe(runs);
  });

  it.each([
    ['tag', { tag: 'x' }],
    ['URL', { url: '/x' }],
    ['pattern', { pattern: '/:name' }],
    ['everything', { all: true }],
  ] as const)(
    'serves no older response on either instance after a purge by %s [H07]',
    async (_by, selector) => {
      const [a, b] = await two();
      await ask(a, '/x');
      await written(a, 2);
      await ask(b, '/x');
      expect(b.runs()).toBe(0);
      expect(await a.cache.purge(selector)).toMatchObject({ acknowledged: true });
      await waitFor(() => b.cache.stats().redis!.log.records === a.cache.stats().redis!.log.records);
      expect([(await ask(b, '/x')).text, (await ask(a, '/x')).text].sort()).not.toContain('a 1');
    },
  );

  it.each([
    ['in another spelling', { url: '/WIKI/Zürich/?utm_b=2' }],
    ['on its host', { url: 'https://Shop.Example/wiki/Z%c3%bcrich' }],
    ['by a pattern', { pattern: '/wiki/Zürich' }],
    ['by a write', undefined],
  ] as const)('purges a URL %s on both instances and in Redis [H07, B08]', async (_by, selector) => {
    const cache = { routes: { '/wiki/:page': { ttl: 60, ignoreQuery: ['utm_*'] } } };
    const [a, b] = await two({ cache, path: '/wiki/:page' });
    a.app.post('/wiki/:page', (_req, res) => void res.status(204).end());
    const path = '/wiki/Z%C3%BCrich?utm_a=1';
    await ask(a, path);
    await ask(a, '/wiki/other');
    await written(a, 4);
    expect((await ask(b, path)).text).toBe('a 1');
    if (selector) expect(await a.cache.purge(selector)).toMatchObject({ acknowledged: true });
    else await a.raw(`POST /wiki/z%c3%bcrich?utm_c=3 HTTP/1.1\nHost: shop.example\nContent-Length: 0`);
    await waitFor(() => b.cache.stats().redis!.log.records === a.cache.stats().redis!.log.records);
    expect((await ask(b, path)).text).toBe('b 1');
    expect((await ask(b, '/wiki/other')).text).toBe('a 2');
  });

  it('completes the purge of a write on the other instance before the response', async () => {
    const [a, b] = await two();
    a.app.post('/x', a.cache.purgeAfter({ tag: 'x' }), (_req, res) => res.status(204).end());
    await ask(b, '/x');
    await written(b, 2);
    const answer = await a.raw('POST /x HTTP/1.1\nHost: shop.example\nContent-Length: 0\n');
    expect(answer.status).toBe(204);
    expect((await ask(a, '/x')).text).toBe('a 1');
  });

  it('works with Redis down at start, and joins when it is up [G01]', async () => {
    await server.kill();
    // The purge waits for a first connection as long as a write may.
    const a = await instance('a', { redis: { writeTimeout: 1 } });
    const answers = [await ask(a, '/x'), await ask(a, '/x')];
    expect(answers.map(({ status, text }) => [status, text])).toEqual([
      [200, 'a 1'],
      [200, 'a 1'],
    ]);
    expect(a.cache.stats().redis).toMatchObject({ ready: false });
    expect(await a.cache.purge({ tag: 'x' })).toMatchObject({ acknowledged: false });
    expect((await ask(a, '/x')).text).toBe('a 2');
    await server.restart();
    await shares(a);
    const b = await instance('b');
    await shares(b);
    await a.cache.purge({ tag: 'x' });
    await ask(a, '/x');
    await written(a, 2);
    expect((await ask(b, '/x')).text).toBe('a 3');
  });

  it('serves from memory and stores new entries when Redis goes down [G02]', async () => {
    const [a, b] = await two();
    await ask(a, '/x');
    await ask(b, '/x');
    await server.kill();
    for (let i = 0; i < 50; i++) {
      for (const made of [a, b]) expect((await ask(made, '/x')).status).toBe(200);
    }
    expect(a.runs() + b.runs()).toBeLessThanOrEqual(2);
    expect((await ask(a, '/x', { 'Accept-Language': 'new' })).text).toMatch(/^a /);
  });

  it(`runs the handler once for ${crowd} requests to each instance with collapse: 'cluster'`, async () => {
    const routes = { '/x': { ttl: 60, collapse: 'cluster' as const } };
    const { opened, open } = gate();
    const make = (name: string) =>
      cacheApp({
        express,
        cache: { redis: { url: server.url, ...patient }, routes, waitTimeout: 60 },
        routes: (app, { count }) =>
          app.get('/x', async (_req, res) => {
            count();
            await opened;
            res.send(name);
          }),
      });
    const both = [await make('a'), await make('b')] as const;
    await Promise.all(both.map(shares));
    const answers = both.flatMap((made) => Array.from({ length: crowd }, () => ask(made, '/x')));
    await waitFor(() => both.every((made) => made.requests() === crowd));
    await waitFor(() => both.some((made) => made.runs() === 1));
    open();
    const texts = new Set((await Promise.all(answers)).map(({ text }) => text));
    expect(texts.size).toBe(1);
    expect(both[0].runs() + both[1].runs()).toBe(1);
  });

  it('does not wait for a silent Redis a second time in one request [G03]', async () => {
    const proxy = await FaultProxy.start(server.port);
    const a = await cacheApp({
      express,
      cache: {
        redis: { url: proxy.url, readTimeout: 0.2 },
        routes: { '/x': { ttl: 60, collapse: 'cluster' } },
      },
      routes: (app) => app.get('/x', (_req, res) => void res.send('x')),
    });
    try {
      await shares(a);
      proxy.set({ blackHole: 'replies' });
      expect((await ask(a, '/x')).text).toBe('x');
      const { operations } = a.cache.stats().redis!;
      expect([operations.get?.sent, operations.lease?.sent]).toEqual([1, undefined]);
    } finally {
      await proxy.stop();
    }
  });

  it('looks a private route up in Redis once, not on every request', async () => {
    const a = await cacheApp({
      express,
      cache: { redis: { url: server.url, ...patient } },
      routes: (app) => app.get('/me', (_req, res) => void res.set('Cache-Control', 'private').send('me')),
    });
    await shares(a);
    for (let i = 0; i < 10; i++) await ask(a, '/me');
    expect(a.cache.stats().redis!.operations.get!.sent).toBe(1);
  });
});

it("renews the lease of a handler that runs for long, with collapse: 'cluster'", async () => {
  const { opened, open } = gate();
  const made = await cacheApp({
    express: express5,
    cache: {
      redis: { url: server.url, ...patient },
      routes: { '/x': { ttl: 60, collapse: 'cluster' } },
      waitTimeout: 60,
    },
    routes: (app) =>
      app.get('/x', async (_req, res) => {
        await opened;
        res.send('x');
      }),
  });
  await shares(made);
  const answer = ask(made, '/x');
  // A lease lasts 10 s, and is renewed three times in that.
  await waitFor(() => (made.cache.stats().redis?.operations.renew?.answered ?? 0) > 0);
  open();
  expect((await answer).text).toBe('x');
  await waitFor(() => (made.cache.stats().redis?.operations.release?.answered ?? 0) > 0);
});
