import { afterEach, expect, it, vi } from 'vitest';
import { MemoryStore } from '../../../src/store/memory/memory-store.js';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { express5, waitFor } from '../../helpers/http.js';
import { storeMany } from '../../helpers/many-entries.js';
import { askMany } from '../../helpers/pipelined.js';
import { RedisServer } from '../../helpers/redis.js';
import { RedisMonitor } from '../../helpers/redis-monitor.js';

const ENTRIES = Number(process.env.PURGE_ENTRIES ?? 100_000);
const SAMPLE = 1000;

afterEach(() => void vi.restoreAllMocks());

// `npm run bench:purge` measures the duration.
it(`purges ${ENTRIES.toLocaleString('en')} entries by one record, on both instances [H14]`, async () => {
  const server = await RedisServer.start();
  let version = 1;
  const instance = (name: string) =>
    cacheApp({
      express: express5,
      cache: {
        redis: { url: server.url, readTimeout: 5, writeTimeout: 5 },
        memory: { maxEntries: ENTRIES + SAMPLE, maxBytes: '4gb' },
        routes: { '/:n': { ttl: 3600, tags: ({ params }) => ['all', `n:${params.n}`] } },
      },
      routes: (app, { count }) =>
        app.get('/:n', (_req, res) => {
          count();
          res.end(`${name} ${version}`);
        }),
    });
  const [a, b] = [await instance('a'), await instance('b')];
  const idle = (made: CacheApp) => () => waitFor(() => made.cache.stats().redis!.outstanding === 0);
  try {
    await Promise.all([a, b].map((made) => waitFor(() => made.cache.stats().redis!.log.shares)));
    const paths = Array.from({ length: ENTRIES }, (_, n) => `/${1e7 + n}`);
    const first = () => askMany(a.port, ['/thefirst'], idle(a));
    expect(await storeMany(first, '/thefirst', paths, (path) => ['all', `n:${path}`])).toBe(ENTRIES);
    expect([a.runs(), a.cache.stats().entries]).toEqual([1, ENTRIES + 1]);
    expect(Number(await server.command('DBSIZE'))).toBeGreaterThanOrEqual(ENTRIES);
    const chosen = sample(paths, 2 * SAMPLE);
    const [ofA, ofB] = [chosen.slice(0, SAMPLE), chosen.slice(SAMPLE)];
    // These are in the memory of both, and in Redis.
    expect(new Set(await askMany(b.port, ofB, idle(b)))).toEqual(new Set(['a 1']));
    expect([b.runs(), b.cache.stats().entries]).toEqual([0, SAMPLE]);
    expect(new Set(await askMany(a.port, ofA, idle(a)))).toEqual(new Set(['a 1']));
    expect(a.runs()).toBe(1);

    const monitor = await RedisMonitor.start(server);
    const before = a.cache.stats();
    const calls = callsOf(MemoryStore.prototype);
    version = 2;
    expect(await a.cache.purge({ tag: 'all' })).toMatchObject({ acknowledged: true, erased: 0 });
    expect(calls()).toEqual([]);
    await monitor.caughtUp();
    monitor.close();
    expect(monitor.names.filter((name) => name === 'XADD')).toHaveLength(1);
    const ofTheLog = /^(X\w+|EVAL|EVALSHA|TIME|INFO|PEXPIRE|EXISTS|PTTL)$/;
    const ofOthers = /^(ECHO|HELLO|AUTH|CLIENT|SELECT|MONITOR)$/;
    expect(monitor.names.filter((name) => !ofTheLog.test(name) && !ofOthers.test(name))).toEqual([]);
    const after = a.cache.stats();
    expect([after.entries, after.redis!.operations]).toEqual([before.entries, before.redis!.operations]);

    vi.restoreAllMocks();
    await waitFor(() => b.cache.stats().redis!.log.records === after.redis!.log.records);
    expect(new Set(await askMany(b.port, ofB, idle(b)))).toEqual(new Set(['b 2']));
    expect(new Set(await askMany(a.port, ofA, idle(a)))).toEqual(new Set(['a 2']));
    expect([a.runs(), b.runs()]).toEqual([1 + SAMPLE, SAMPLE]);
  } finally {
    await Promise.all([a, b].map((made) => made.cache.close()));
    await server.stop();
  }
}, 300_000);

/** Records every call of every method from now on. @returns the names of the called methods. */
function callsOf(prototype: object): () => string[] {
  const spies = Object.entries(Object.getOwnPropertyDescriptors(prototype))
    .filter(([name, { value }]) => name !== 'constructor' && typeof value === 'function')
    .map(([name]) => [name, vi.spyOn(prototype as Record<string, () => unknown>, name)] as const);
  return () => spies.filter(([, spy]) => spy.mock.calls.length > 0).map(([name]) => name);
}

/** A random sample of the list, without repetition. */
function sample<T>(list: readonly T[], count: number): T[] {
  const chosen = new Set<T>();
  while (chosen.size < count) chosen.add(list[Math.floor(Math.random() * list.length)]!);
  return [...chosen];
}
