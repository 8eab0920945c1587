import type { HotpathConfig } from 'hotpath';
import { responseCache } from 'hotpath/cache';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bytesOf, head, type Site, type SiteOptions, site, still } from '../../front/helper.js';
import { majors, waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';

let server: RedisServer;
beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(() => server.stop());

const shared = { ttl: 600, shared: true, tags: ['x'] } as const;

describe.each(majors)('front door of two instances on one Redis (%s)', (name, express) => {
  const instance = async (
    rule: object = shared,
    readTimeout = 5,
    memory: object = {},
    before?: SiteOptions['before'],
  ): Promise<Site> => {
    const config: HotpathConfig = {
      cache: { memory, redis: { url: server.url, prefix: `${name}:`, readTimeout, writeTimeout: 5 } },
      routes: { '/:name': { cache: rule } },
    };
    const made = await site({
      express,
      way: 'door',
      before,
      config,
      routes: (app, count) => {
        app.get('/:name', ({ params }, res) => {
          const length = /^bytes-(\d+)$/.exec(params.name!)?.[1];
          if (length !== undefined) return void res.type('bin').send(bytesOf(Number(length)));
          res.send(`run ${count()}${params.name === 'large' ? ' and on'.repeat(1000) : ''}`);
        });
      },
    });
    await waitFor(() => made.perf.cache.stats().redis?.log.shares);
    return made;
  };
  const redis = (made: Site) => made.perf.cache.stats().redis!;
  const stored = (made: Site, times: number) =>
    waitFor(() => (redis(made).operations.set?.answered ?? 0) >= times);

  it('serves an entry of the other instance before the app runs, and counts it once', async () => {
    const [a, b] = [await instance(), await instance()];
    expect((await a.ask(head('/hit'))).text).toBe('run 1');
    await stored(a, 1);
    const first = await b.ask(head('/hit'));
    expect([first.text, first.header('x-cache'), b.runs()]).toEqual(['run 1', 'HIT', 0]);
    expect(b.perf.cache.stats()).toMatchObject({ frontDoor: { hits: 1 }, hits: 1, misses: 0 });
    // The next hit comes from memory and is the same.
    expect(still(await b.ask(head('/hit')))).toEqual(still(first));
    expect(redis(b).operations.get).toMatchObject({ sent: 1 });
    expect(await a.perf.cache.purge({ tag: 'x' })).toMatchObject({ acknowledged: true });
    await waitFor(async () => (await b.ask(head('/hit'))) && b.runs() === 1);
  });

  it('looks up a missing entry once, then continues into the app', async () => {
    const made = await instance();
    const answer = await made.ask(head('/miss'));
    expect([answer.text, answer.header('x-cache')]).toEqual(['run 1', 'MISS']);
    expect(redis(made).operations.get).toMatchObject({ sent: 1 });
    expect(made.perf.cache.stats()).toMatchObject({ misses: 1, memory: { hits: 0, misses: 1 } });
  });

  it('leaves unshared rules and requests with cookies to Express', async () => {
    const [a, b] = [await instance({ ttl: 600 }), await instance({ ttl: 600 })];
    await a.ask(head('/inside'));
    await stored(a, 1);
    const answer = await b.ask(head('/inside'));
    expect([answer.header('x-cache'), b.runs()]).toEqual(['HIT', 0]);
    expect(b.perf.cache.stats().frontDoor.hits).toBe(0);
    await a.ask(head('/inside', { Cookie: 'a=1' }));
    expect(a.perf.cache.stats()).toMatchObject({ frontDoor: { hits: 0 }, bypasses: { cookie: 1 } });
  });

  it.each([
    ['at the front door', true],
    ['in Express', false],
  ])('serves %s what a memory of one entry has no room for', async (_where, isShared) => {
    const rule = { ttl: 600, shared: isShared };
    const [a, b] = [await instance(rule), await instance(rule, 5, { maxEntries: 1 })];
    const targets = Array.from({ length: 20 }, (_, i) => `/${isShared}-${i}`);
    for (const target of targets) await a.ask(head(target));
    await stored(a, targets.length);
    const answers = await Promise.all(targets.map((target) => b.ask(head(target))));
    expect(answers.map(({ text }) => text)).toEqual(targets.map((_, i) => `run ${i + 1}`));
    expect([b.runs(), b.perf.cache.stats().frontDoor.hits]).toEqual([0, isShared ? targets.length : 0]);
  });

  it('keeps an entry on its second request when memory is full', async () => {
    const [a, b] = [await instance(), await instance(shared, 5, { maxEntries: 1 })];
    for (const target of ['/room', '/none']) await a.ask(head(target));
    await stored(a, 2);
    for (const target of ['/room', '/none', '/none', '/none', '/none']) await b.ask(head(target));
    // The first entry had room; the other is fetched twice.
    expect(redis(b).operations.get).toMatchObject({ sent: 3 });
    const expected = { hits: 5, frontDoor: { hits: 5 }, memory: { hits: 2, misses: 3 } };
    expect([b.runs(), b.perf.cache.stats()]).toMatchObject([0, expected]);
  });

  it('sends bodies of any length and value unchanged, with or without room in memory [G14]', async () => {
    const [a, b] = [await instance(), await instance(shared, 5, { maxEntries: 1 })];
    // Below and above the limit for sending as text: 16 kB with the head.
    const lengths = [0, 1, 4096, 10_000, ...Array.from({ length: 21 }, (_, i) => 15_400 + i * 50), 100_000];
    const targets = lengths.map((length) => `/bytes-${length}`);
    for (const target of targets) await a.ask(head(target));
    await stored(a, targets.length);
    for (const times of [1, 2]) {
      for (const [at, target] of targets.entries()) {
        const answer = await b.ask(head(target));
        expect([answer.header('x-cache'), answer.body.equals(bytesOf(lengths[at]!))]).toEqual(['HIT', true]);
        expect(answer.header('content-length')).toBe(String(lengths[at]));
      }
      expect(b.perf.cache.stats().frontDoor.hits).toBe(times * targets.length);
    }
    const { body } = await b.ask(head('/bytes-10000', {}, 'HEAD'));
    expect(body.length).toBe(0);
  });

  it('passes an entry on to Express when the front door cannot serve it', async () => {
    const [a, b] = [await instance(), await instance(shared, 5, { maxEntries: 1 })];
    for (const target of ['/first', '/large']) await a.ask(head(target));
    await stored(a, 2);
    await b.ask(head('/first'));
    const answer = await b.ask(head('/large', { 'Accept-Encoding': 'gzip' }));
    expect(answer.headers).toContainEqual(['Content-Encoding', 'gzip']);
    expect([answer.header('x-cache'), b.runs(), redis(b).operations.get?.sent]).toEqual(['HIT', 0, 2]);
    expect(b.perf.cache.stats()).toMatchObject({ frontDoor: { hits: 1 }, hits: 2, misses: 0 });
  });

  it('keeps its Redis lookup apart from another cache in the app', async () => {
    const other = responseCache({
      redis: { url: server.url, prefix: `other ${name}:`, readTimeout: 5, writeTimeout: 5 },
      routes: { '/:name': { ttl: 600 } },
    });
    try {
      const made = await instance(shared, 5, {}, (app) => app.use(other));
      await waitFor(() => other.stats().redis?.log.shares);
      const answer = await made.ask(head('/two-caches'));
      expect([answer.text, made.runs()]).toEqual(['run 1', 1]);
      expect(redis(made).operations.get).toMatchObject({ sent: 1 });
      expect(other.stats().redis?.operations.get).toMatchObject({ sent: 1 });
    } finally {
      await other.close();
    }
  });

  it('continues into the app after one read timeout while Redis hangs', async () => {
    const made = await instance(shared, 0.05);
    server.pause();
    try {
      const answer = await made.ask(head('/hangs'));
      expect(answer.text).toBe('run 1');
      // The response time includes the wait.
      expect(Number.parseFloat(answer.header('x-response-time')!)).toBeGreaterThanOrEqual(49);
      expect(redis(made).operations.get).toMatchObject({ sent: 1, answered: 0 });
    } finally {
      server.resume();
    }
  });
});
