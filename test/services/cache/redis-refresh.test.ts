import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import type { CacheRule } from 'hotpath/cache';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { gate } from '../../helpers/gate.js';
import { majors, waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';

const hour = 3600;
// On a shared machine, Redis itself may need longer than the default.
const patient = { readTimeout: 5, writeTimeout: 5 };

let server: RedisServer;
beforeEach(async () => {
  server = await RedisServer.start();
});
afterEach(() => server.stop());

/** The response for one client; instances behind one balancer have one host name. */
async function ask(made: CacheApp, headers: Record<string, string> = {}) {
  const given = { Host: 'shop.example', ...headers };
  const sent = request({
    port: made.port,
    host: '127.0.0.1',
    path: '/x',
    agent: false,
    headers: given,
  }).end();
  const res = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
    sent.once('response', resolve).once('error', reject);
  });
  return { xCache: res.headers['x-cache'], text: await text(res), encoding: res.headers['content-encoding'] };
}

const redisOf = (made: CacheApp) => made.cache.stats().redis!;
const answered = (made: CacheApp, operation: string) => redisOf(made).operations[operation]?.answered ?? 0;
const fresh = (made: CacheApp) => waitFor(async () => (await ask(made)).xCache === 'HIT');

describe.each(majors)('refreshing on two instances with one Redis (%s)', (_, express) => {
  /** The first run of each handler sends an age, so an entry may be past its share from the beginning. */
  async function two(rule: Partial<CacheRule>, before: (run: number) => Promise<void> | void = () => {}) {
    const instance = (name: string) =>
      cacheApp({
        express,
        cache: { redis: { url: server.url, ...patient }, routes: { '/x': { ttl: 100, ...rule } } },
        routes: (app, { count }) =>
          app.get('/x', async (_req, res) => {
            const run = count();
            await before(run);
            if (name === 'a' && run === 1) res.set('Age', '60');
            res.vary('Accept-Language').type('text').send(`${name} ${run}`);
          }),
      });
    const both = [await instance('a'), await instance('b')] as const;
    await Promise.all(both.map((made) => waitFor(() => redisOf(made).log.shares)));
    return both;
  }

  /** Both hold the response of `a`, which is stale on both. */
  async function stale(rule: Partial<CacheRule>, before?: (run: number) => Promise<void> | void) {
    const both = await two(rule, before);
    const [a, b] = both;
    await ask(a);
    await waitFor(() => answered(a, 'set') === 2);
    expect(await ask(b)).toMatchObject({ text: 'a 1', xCache: 'HIT' });
    await a.cache.expire({ all: true });
    await waitFor(() => redisOf(b).log.records === redisOf(a).log.records);
    return both;
  }

  it('takes a refreshed entry of the other instance from Redis without a handler run', async () => {
    const [a, b] = await stale({ staleWhileRevalidate: hour });
    expect(await ask(a)).toMatchObject({ text: 'a 1', xCache: 'STALE' });
    await fresh(a);
    await waitFor(() => answered(a, 'set') === 4);
    expect(await ask(b)).toMatchObject({ text: 'a 1', xCache: 'STALE' });
    await fresh(b);
    expect(await ask(b)).toMatchObject({ text: 'a 2', xCache: 'HIT' });
    expect([a.runs(), b.runs()]).toEqual([2, 0]);
    expect(b.cache.stats()).toMatchObject({ refreshes: 0, pending: 0 });
  });

  it('takes an eagerly refreshed entry of the other instance from Redis', async () => {
    const [a, b] = await two({ eagerRefresh: 0.5 });
    await ask(a);
    await waitFor(() => answered(a, 'set') === 2);
    expect((await ask(b)).text).toBe('a 1');
    await waitFor(async () => (await ask(b)).text === 'b 1');
    await waitFor(() => answered(b, 'set') === 2);
    expect((await ask(a)).text).toBe('a 1');
    await waitFor(async () => (await ask(a)).text !== 'a 1');
    expect((await ask(a)).text).toBe('b 1');
    expect([a.runs(), b.runs()]).toEqual([1, 1]);
  });

  it('refreshes with the handler when the entry in Redis is as stale as the local one', async () => {
    const [a, b] = await stale({ staleWhileRevalidate: hour });
    expect((await ask(b)).text).toBe('a 1');
    await fresh(b);
    expect((await ask(b)).text).toBe('b 1');
    expect([a.runs(), b.runs()]).toEqual([1, 1]);
  });

  it.each<[string, Partial<CacheRule>, string[]]>([
    ['while-revalidate', { staleWhileRevalidate: hour }, ['a 1', 'a 1']],
    ['if-error', { staleIfError: hour }, ['new', 'new']],
  ])(
    "refreshes a stale entry on one instance only with collapse: 'cluster' (%s)",
    async (_use, rule, expected) => {
      const stop = gate();
      let runs = 0;
      const both = await stale({ ...rule, collapse: 'cluster' }, async () => {
        if (++runs > 1) await stop.opened;
      });
      const gets = both.map((made) => answered(made, 'get'));
      const answers = Promise.all(both.map((made) => ask(made)));
      // Each instance has looked in Redis several times; without a lease, both handlers would have run by now.
      await waitFor(() => runs === 2);
      await waitFor(() => both.every((made, at) => answered(made, 'get') > gets[at]!));
      await waitFor(() => both.some((made, at) => answered(made, 'get') > gets[at]! + 3));
      stop.open();
      const texts = (await answers).map(({ text }) => (text === 'a 1' ? text : 'new'));
      expect(texts).toEqual(expected);
      await Promise.all(both.map(fresh));
      expect(runs).toBe(2);
      const [a, b] = await Promise.all(both.map((made) => ask(made)));
      expect(a!.text).toBe(b!.text);
    },
  );

  it.each(['instance', 'cluster'] as const)(
    'refreshes on each instance separately without Redis (%s)',
    async (collapse) => {
      const both = await stale({ staleWhileRevalidate: hour, collapse });
      await server.kill();
      for (const made of both) {
        expect((await ask(made)).text).toBe('a 1');
        await waitFor(async () => (await ask(made)).text !== 'a 1');
      }
      expect(both.map((made) => made.runs())).toEqual([2, 1]);
    },
  );
});
