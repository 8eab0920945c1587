import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors, waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';

const MINUTE = 60_000;

let server: RedisServer;
beforeEach(async () => {
  server = await RedisServer.start();
});
afterEach(async () => {
  vi.useRealTimers();
  await server.stop();
});

describe.each(majors)('two instances whose wall clocks are a minute apart (%s)', (_, express) => {
  const instance = () =>
    cacheApp({
      express,
      cache: {
        redis: { url: server.url, readTimeout: 5, writeTimeout: 5 },
        routes: { '/:name': { ttl: 30, tags: ['x'] } },
      },
      routes(app, { count }) {
        app.get('/:name', (_req, res) => {
          res.send(String(count()));
        });
      },
    });

  it.each([
    ['ahead of', 1],
    ['behind', -1],
  ])('share ages, lifetimes, purges and expiries, the reader %s the writer [G36]', async (_name, sign) => {
    const [a, b] = [await instance(), await instance()];
    for (const { cache } of [a, b]) {
      await waitFor(() => cache.stats().redis!.ready && cache.stats().redis!.log.shares);
    }
    const real = Date.now();
    const asWriter = () => vi.useFakeTimers({ toFake: ['Date'], now: real });
    const asReader = () => vi.useFakeTimers({ toFake: ['Date'], now: real + sign * MINUTE });
    asWriter();
    expect((await a.get('/one', { host: 'shop.example' })).text).toBe('1');
    await waitFor(() => a.cache.stats().redis!.operations.set!.answered >= 1);
    asReader();
    const found = await b.get('/one', { host: 'shop.example' });
    expect([found.text, b.runs()]).toEqual(['1', 0]);
    expect(Number(found.headers.get('age'))).toBeLessThanOrEqual(5);
    expect(Number(/ttl=(-?\d+)/.exec(found.cacheStatus ?? '')?.[1])).toBeGreaterThan(20);
    expect(await b.cache.purge({ tag: 'x' })).toMatchObject({ acknowledged: true });
    asWriter();
    await waitFor(async () => (await a.get('/one', { host: 'shop.example' })).text === '2');
    expect(await a.cache.expire({ tag: 'x' })).toMatchObject({ acknowledged: true });
    asReader();
    await waitFor(async () => (await b.get('/one', { host: 'shop.example' })).text === '1' && b.runs() === 1);
  });
});
