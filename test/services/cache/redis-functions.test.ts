import { setTimeout as delay } from 'node:timers/promises';
import { currentRun, type ResponseCache, responseCache } from 'hotpath/cache';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';
import { type Child, startChild } from '../../process/child.js';
import type { CallsReport } from '../../process/children/functions.js';

let server: RedisServer;
let count = 0;
const caches: ResponseCache[] = [];

beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(() => server.stop());
afterEach(async () => {
  for (const cache of caches.splice(0)) await cache.close();
});

/** Instances that share a Redis, which has been read to the end of its log. */
async function instances(number: number, faults: unknown[] = []): Promise<ResponseCache[]> {
  const prefix = `functions${count++}:`;
  const made = Array.from({ length: number }, () =>
    responseCache({
      onError: (error) => void faults.push(error),
      redis: { url: server.url, prefix, readTimeout: 5, writeTimeout: 5 },
    }),
  );
  caches.push(...made);
  for (const cache of made) await waitFor(() => cache.stats().redis!.log.shares);
  return made;
}

describe('cached functions on several instances', () => {
  it("run once for 1,000 calls in each of two processes with collapse: 'cluster'", async () => {
    const children: Child[] = [];
    try {
      for (const NAME of ['a', 'b']) {
        children.push(await startChild('functions', { NAME, REDIS_URL: server.url, RUN_MS: '400' }));
      }
      const reports = (await Promise.all(children.map((child) => child.tell('1000')))) as CallsReport[];
      expect(reports.flatMap(({ faults }) => faults)).toEqual([]);
      expect(reports.reduce((sum, { runs }) => sum + runs, 0)).toBe(1);
      expect(new Set(reports.flatMap(({ results }) => results)).size).toBe(1);
    } finally {
      for (const child of children) child.process.kill('SIGKILL');
    }
  });

  it('share results of every type, which deeply equal those of the function', async () => {
    const [first, second] = (await instances(2)) as [ResponseCache, ResponseCache];
    const shared = { n: 1 };
    const cyclic: Record<string, unknown> = { shared, again: shared };
    cyclic.self = cyclic;
    const result = {
      numbers: [1, -0, Number.NaN, Number.POSITIVE_INFINITY, 2n ** 70n],
      texts: ['', '\ud800', 'Füße ☃'],
      nothing: Object.assign(new Array(4), { 0: null, 1: undefined, 3: 3 }),
      at: new Date(5),
      bytes: [
        Buffer.from('abc'),
        new Uint16Array([1, 2]),
        new ArrayBuffer(3),
        new DataView(new ArrayBuffer(2)),
      ],
      map: new Map<unknown, unknown>([[{ a: 1 }, new Set([1, 'x'])]]),
      proto: JSON.parse('{"__proto__":{"polluted":true},"constructor":1}'),
      bare: Object.assign(Object.create(null), { toString: 1 }),
      cyclic,
    };
    const options = { name: 'all', ttl: '1m' } as const;
    const one = first.cached(async () => result, options);
    let runs = 0;
    const other = second.cached(async () => {
      runs++;
      return result;
    }, options);
    await one();
    expect(await one()).toStrictEqual(result);
    await waitFor(async () => (await other.peek()) !== undefined);
    for (let n = 0; n < 2; n++) {
      const read = await other();
      expect(read).toStrictEqual(result);
      expect(read).not.toBe(result);
      expect(read.cyclic.self).toBe(read.cyclic);
      expect(read.cyclic.shared).toBe(read.cyclic.again);
    }
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(runs).toBe(0);
    expect(second.stats().functions.all).toMatchObject({ hits: 2, runs: 0 });
  });

  it('purge, expire, set and delete for each other, and no run undoes a purge', async () => {
    const [first, second] = (await instances(2)) as [ResponseCache, ResponseCache];
    let value = 'old';
    let runs = 0;
    const read = async () => {
      runs++;
      const seen = value;
      currentRun().tag('value');
      await delay(50);
      return seen;
    };
    const one = first.cached(read, { name: 'value', ttl: '1m' });
    const other = second.cached(read, { name: 'value', ttl: '1m' });
    expect(await one()).toBe('old');
    await waitFor(async () => (await other.peek()) === 'old');
    value = 'new';
    await other.purge();
    await waitFor(async () => (await one()) === 'new');

    const running = first.cached(read, { name: 'running', ttl: '1m' });
    const started = runs;
    const before = running();
    await waitFor(() => runs > started);
    value = 'newer';
    await second.purge({ tag: 'value' });
    expect(await before).toBe('new');
    expect(await running()).toBe('newer');

    await first.set('rate', { n: 1 }, { ttl: '1m' });
    await waitFor(async () => ((await second.get<{ n: number }>('rate'))?.n ?? 0) === 1);
    await first.set('rate', { n: 2 }, { ttl: '1m' });
    await waitFor(async () => ((await second.get<{ n: number }>('rate'))?.n ?? 0) === 2);
    expect(await second.delete('rate')).toBe(true);
    await waitFor(async () => !(await first.has('rate')));
  });

  it('get the results of their functions while Redis is gone, and share again afterwards', async () => {
    const own = await RedisServer.start();
    const faults: unknown[] = [];
    const cache = responseCache({ redis: { url: own.url }, onError: (error) => void faults.push(error) });
    caches.push(cache);
    await waitFor(() => cache.stats().redis!.log.shares);
    let runs = 0;
    const double = cache.cached(async (n: number) => ++runs && n * 2, {
      name: 'double',
      ttl: '1m',
      collapse: 'cluster',
    });
    const failing = cache.cached(
      async () => {
        throw new RangeError('mine');
      },
      { name: 'failing', ttl: '1m', collapse: 'cluster' },
    );
    try {
      expect(await double(1)).toBe(2);
      await own.kill();
      for (let n = 2; n < 12; n++) {
        expect(await Promise.all([double(n), double(n)])).toEqual([n * 2, n * 2]);
        await expect(failing()).rejects.toThrow('mine');
      }
      await own.restart();
      await waitFor(() => cache.stats().redis!.log.shares);
      expect(await double(100)).toBe(200);
      await waitFor(async () => (await own.command('DBSIZE')) !== 0);
    } finally {
      await cache.close();
      await own.stop();
    }
  });
});
