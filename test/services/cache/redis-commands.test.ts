import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { majors, waitFor } from '../../helpers/http.js';
import { RedisServer, redisMajors, startCluster } from '../../helpers/redis.js';
import { RedisMonitor } from '../../helpers/redis-monitor.js';

const patient = { readTimeout: 5, writeTimeout: 5 };
const shares = (made: CacheApp) => waitFor(() => made.cache.stats().redis?.log.shares === true);
const ask = async (made: CacheApp, path: string) =>
  (await made.raw(`GET ${path} HTTP/1.1\nHost: shop.example\nConnection: close\n`)).text;

describe.each(majors)('Redis commands of the cache (%s)', (_, express) => {
  let server: RedisServer;
  let monitor: RedisMonitor;
  beforeEach(async () => {
    server = await RedisServer.start();
    monitor = await RedisMonitor.start(server);
  });
  afterEach(async () => {
    monitor.close();
    await server.stop();
  });

  const instance = () =>
    cacheApp({
      express,
      cache: {
        redis: { url: server.url, ...patient },
        routes: { '/alone': { ttl: 60, collapse: 'cluster' }, '/:name': { ttl: 60, tags: ['x'] } },
      },
      routes: (app, { count }) => {
        app.get('/:name', (_req, res) => void res.vary('Accept-Language').send(`run ${count()}`));
      },
    });

  it('never scan or empty Redis, and set a time to live on every key [G16, G27]', async () => {
    const [a, b] = [await instance(), await instance()];
    await Promise.all([a, b].map(shares));
    const written = async (path: string) => {
      const { answered = 0 } = a.cache.stats().redis!.operations.set ?? {};
      await ask(a, path);
      await waitFor(() => a.cache.stats().redis!.operations.set!.answered >= answered + 2);
    };
    await written('/one'); // a fill, with its variants
    await ask(b, '/one'); // found in Redis
    expect([b.runs(), b.cache.stats().redis!.hits]).toEqual([0, 2]);
    await written('/alone'); // a lease
    await waitFor(() => (a.cache.stats().redis!.operations.release?.answered ?? 0) === 1);
    for (const selector of [{ tag: 'x' }, { url: '/one' }, { pattern: '/:name' }, { all: true }] as const) {
      await written(`/${Object.keys(selector)[0]}`);
      expect(await b.cache.expire(selector)).toMatchObject({ acknowledged: true });
      expect(await b.cache.purge(selector)).toMatchObject({ acknowledged: true });
      expect(await a.cache.purge(selector, { erase: true })).toMatchObject({ acknowledged: true });
      await ask(b, '/one');
    }
    a.cache.stats();
    await a.cache.close();
    await monitor.caughtUp();
    const sent = [...new Set(monitor.names)];
    for (const own of ['SET', 'GETRANGE', 'XADD', 'EVAL']) expect(sent).toContain(own);
    expect(sent.filter((name) => /^(KEYS|SCAN|FLUSH|RANDOMKEY|SORT|DBSIZE|SWAPDB)/.test(name))).toEqual([]);
    const keys = (await server.command('KEYS', '*')) as string[];
    expect(keys.length).toBeGreaterThanOrEqual(6);
    for (const key of keys) expect([key, Number(await server.command('PTTL', key)) > 0]).toEqual([key, true]);
  });
});

describe.each(redisMajors)("with the user's own client of %s", (_, { Redis, Cluster }) => {
  const [[, express]] = majors as [(typeof majors)[number]];

  /** Fills, purges, and closes the cache. */
  async function useAndClose(client: unknown): Promise<CacheApp> {
    const made = await cacheApp({
      express,
      cache: { redis: { client: client as never, ...patient }, routes: { '/x': { ttl: 60, tags: ['x'] } } },
      routes: (app, { count }) => app.get('/x', (_req, res) => void res.send(`run ${count()}`)),
    });
    await shares(made);
    await ask(made, '/x');
    await waitFor(() => made.cache.stats().redis!.operations.set?.answered === 1);
    expect(await made.cache.purge({ tag: 'x' })).toMatchObject({ acknowledged: true });
    expect(await ask(made, '/x')).toBe('run 2');
    await made.cache.close();
    return made;
  }

  it("leaves the client open and unchanged on close, and closes hotpath's connections [G20]", async () => {
    const server = await RedisServer.start();
    const client = new Redis(server.url, { keyPrefix: 'app:' });
    try {
      await client.set('mine', 'yes');
      const before = listenersOf(client);
      await useAndClose(client);
      expect([client.status, await client.get('mine')]).toEqual(['ready', 'yes']);
      expect(listenersOf(client)).toEqual(before);
      // The client's connection and that of this command.
      const connected = async () => (await server.info('clients')).get('connected_clients');
      await waitFor(async () => (await connected()) === '2');
    } finally {
      client.disconnect();
      await server.stop();
    }
  });

  it('leaves a Cluster open and unchanged on close [G20]', async () => {
    const servers = await startCluster();
    const cluster = new Cluster([{ host: '127.0.0.1', port: servers[0]!.port }]);
    try {
      await cluster.set('mine', 'yes');
      const before = listenersOf(cluster);
      await useAndClose(cluster);
      expect([cluster.status, await cluster.get('mine')]).toEqual(['ready', 'yes']);
      expect(listenersOf(cluster)).toEqual(before);
    } finally {
      cluster.disconnect();
      await Promise.all(servers.map((server) => server.stop()));
    }
  });
});

function listenersOf(client: { eventNames(): unknown[]; listenerCount(name: never): number }) {
  return client.eventNames().map((name) => [name, client.listenerCount(name as never)]);
}
