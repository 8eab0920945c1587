import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { FaultProxy } from '../../helpers/fault-proxy.js';
import { majors, waitFor } from '../../helpers/http.js';
import { RedisServer, until } from '../../helpers/redis.js';

/** How long another instance may serve entries from before a purge it has not received. Milliseconds. */
const BOUND_MS = 5000;

/** The servers of one test, by role, and the address that instances use, whichever server is behind it. */
interface Site {
  readonly first: RedisServer;
  readonly second: RedisServer;
  /** The port behind the address. */
  port: number;
}

interface History {
  readonly what: string;
  /** Before the purge. */
  readonly before: (site: Site) => unknown;
  /** After it was acknowledged. */
  readonly after: (site: Site) => unknown;
}

const histories: readonly History[] = [
  {
    what: 'was restarted from an older snapshot',
    before: ({ first }) => first.command('SAVE'),
    after: ({ first }) => first.restart(), // kill -9
  },
  {
    what: 'was replaced by a replica that lacks the last record',
    before: async ({ first, second }) => {
      await caughtUp(first, second);
      second.pause();
    },
    async after(site) {
      await site.first.kill();
      site.second.resume();
      await site.second.command('REPLICAOF', 'NO', 'ONE');
      site.port = site.second.port;
    },
  },
  { what: 'was emptied', before: () => {}, after: ({ first }) => first.command('FLUSHALL') },
];

/** Waits until the replica has all writes of the primary. */
async function caughtUp(primary: RedisServer, replica: RedisServer): Promise<void> {
  await until(async () => {
    const [there, here] = await Promise.all([primary.info('replication'), replica.info('replication')]);
    return (
      here.get('master_link_status') === 'up' &&
      there.get('master_repl_offset') === here.get('slave_repl_offset')
    );
  }, 'the replica has caught up');
}

let site: Site;
/** One per instance, so that each can be cut off alone. */
let proxies: FaultProxy[];
beforeEach(async () => {
  const first = await RedisServer.start();
  const second = await RedisServer.start({ replicaOf: first.port });
  await caughtUp(first, second);
  // The child process that fills the replica ends after the replica is up; until then SAVE is refused.
  await until(
    async () => (await first.info('persistence')).get('rdb_bgsave_in_progress') === '0',
    'the primary has filled its replica',
  );
  site = { first, second, port: first.port };
  proxies = await Promise.all([0, 1, 2].map(() => FaultProxy.start(() => site.port)));
});
afterEach(async () => {
  await Promise.all(proxies.map((proxy) => proxy.stop()));
  await Promise.all([site.first.stop(), site.second.stop()]);
});

const shares = (made: CacheApp) =>
  waitFor(() => {
    const { redis } = made.cache.stats();
    return redis?.ready === true && redis.log.shares;
  });

describe.each(majors)('two instances (%s) whose Redis', (_, express) => {
  /** The current response of the app. */
  let version: number;
  beforeEach(() => {
    version = 1;
  });

  const instance = (proxy: FaultProxy) =>
    cacheApp({
      express,
      cache: {
        redis: { url: proxy.url, readTimeout: 5, writeTimeout: 5 },
        routes: { '/:name': { ttl: 600, tags: ['x'] } },
        maxStaleness: BOUND_MS / 1000,
      },
      routes: (app, { count }) =>
        app.get('/:name', (_req, res) => {
          count();
          res.send(String(version));
        }),
    });
  const ask = async (made: CacheApp) =>
    (await made.raw('GET /x HTTP/1.1\nHost: shop.example\nConnection: close\n')).text;

  /** Repeats a request until the instance may use Redis entries of others, and records every response. */
  const watch = async (made: CacheApp, since: number) => {
    const answers: { after: number; text: string }[] = [];
    const look = async () => {
      const after = performance.now() - since;
      answers.push({ after, text: await ask(made) });
    };
    await waitFor(async () => {
      await look();
      return made.cache.stats().redis?.log.shares === true;
    });
    await look();
    return answers;
  };

  it.each<[string, (site: Site) => unknown, (site: Site) => unknown]>([
    ['has continued alone', ({ second }) => second.command('REPLICAOF', 'NO', 'ONE'), () => {}],
    [
      'was a replica of the other meanwhile',
      ({ second }) => second.command('REPLICAOF', 'NO', 'ONE'),
      async ({ first, second }) => {
        await first.command('REPLICAOF', '127.0.0.1', second.port);
        await caughtUp(second, first);
        await first.command('REPLICAOF', 'NO', 'ONE');
      },
    ],
    [
      'never knew the other',
      async ({ second }) => {
        await second.command('REPLICAOF', 'NO', 'ONE');
        await second.command('FLUSHALL');
      },
      () => {},
    ],
  ])(
    'moves to a server that %s and back: purges in between hold [G29, G37]',
    async (_what, leave, comeBack) => {
      const [a, b] = [await instance(proxies[0]!), await instance(proxies[1]!)];
      await Promise.all([a, b].map(shares));
      expect([await ask(a), await ask(b)]).toEqual(['1', '1']);
      await waitFor(() => a.cache.stats().redis!.operations.set!.answered >= 1);
      const move = async (to: RedisServer) => {
        site.port = to.port;
        for (const proxy of proxies) proxy.reset();
        await Promise.all(
          [a, b].map((made) => waitFor(() => made.cache.stats().redis?.log.shares === false)),
        );
        await Promise.all([a, b].map(shares));
      };
      await caughtUp(site.first, site.second);
      await leave(site);
      await move(site.second);
      expect([await ask(a), await ask(b)]).toEqual(['1', '1']);
      version = 2;
      expect(await a.cache.purge({ tag: 'x' })).toMatchObject({ acknowledged: true });
      await waitFor(async () => (await ask(b)) === '2');
      await comeBack(site);
      await move(site.first);
      const c = await instance(proxies[2]!);
      await shares(c);
      for (const made of [a, b, c]) expect(await ask(made)).toBe('2');
      version = 3;
      expect(await c.cache.purge({ tag: 'x' })).toMatchObject({ acknowledged: true });
      for (const made of [a, b, c]) await waitFor(async () => (await ask(made)) === '3');
    },
  );

  it.each(histories)(
    '$what: the purging, a disconnected and a new instance serve no purged entry [G37]',
    async ({ before, after }) => {
      const [a, b] = [await instance(proxies[0]!), await instance(proxies[1]!)];
      await Promise.all([a, b].map(shares));
      expect(await ask(a)).toBe('1');
      await waitFor(() => a.cache.stats().redis!.operations.set!.answered >= 1);
      // It is in the memory of both, and in Redis.
      expect([await ask(b), b.runs()]).toEqual(['1', 0]);
      await before(site);
      await proxies[1]!.cut();
      version = 2;
      expect(await a.cache.purge({ tag: 'x' })).toMatchObject({ acknowledged: true });
      const purgedAt = performance.now();
      expect(await ask(b)).toBe('1'); // within maxStaleness
      await after(site);
      // Connections to a stopped server notice it; those to a running one do not.
      proxies[0]!.reset();
      await proxies[1]!.mend();
      const c = await instance(proxies[2]!);
      const [ofA, ofB, ofC] = await Promise.all([a, b, c].map((made) => watch(made, purgedAt)));
      const beyond = [...ofB!, ...ofC!].filter(({ text, after }) => text === '1' && after > BOUND_MS);
      expect(beyond).toEqual([]);
      expect([...ofA!, ...ofC!].filter(({ text }) => text === '1')).toEqual([]);
      // Once the log is read again, no older entry is served.
      for (const made of [a, b, c]) expect(await ask(made)).toBe('2');
      // All three continue together.
      version = 3;
      await waitFor(() => b.cache.stats().redis!.ready);
      expect(await b.cache.purge({ tag: 'x' })).toMatchObject({ acknowledged: true });
      for (const made of [a, b, c]) await waitFor(async () => (await ask(made)) === '3');
    },
  );
});
