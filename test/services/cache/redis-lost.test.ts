import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { FaultProxy } from '../../helpers/fault-proxy.js';
import { majors, waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';

// On a shared machine, Redis itself may need longer than the default.
const patient = { readTimeout: 5, writeTimeout: 5 };
const host = { Host: 'shop.example' };
const opened: { stop(): Promise<void> }[] = [];

afterEach(async () => {
  for (const one of opened.splice(0)) await one.stop();
});

async function redis() {
  const server = await RedisServer.start();
  opened.push(server);
  return server;
}

describe.each(majors)('entries lost in Redis (%s)', (_, express) => {
  const instance = (name: string, url: string, options = {}) =>
    cacheApp({
      express,
      cache: { redis: { url, ...patient, ...options }, routes: { '/:id': { ttl: 3600, tags: ['x'] } } },
      routes: (app, { count }) => app.get('/:id', (_req, res) => void res.send(`${name} ${count()}`)),
    });
  type Instance = Awaited<ReturnType<typeof instance>>;
  const ask = async (made: Instance, path: string) => {
    const lines = Object.entries(host).map(([name, value]) => `${name}: ${value}\n`);
    return made.raw(`GET ${path} HTTP/1.1\n${lines.join('')}Connection: close\n`);
  };
  const shares = (made: Instance) => waitFor(() => made.cache.stats().redis?.log.shares === true);
  const written = (made: Instance, count: number) =>
    waitFor(() => (made.cache.stats().redis?.operations.set?.answered ?? 0) >= count);

  it('uses no entry after Redis evicts the log, nor an evicted entry [G18]', async () => {
    const server = await redis();
    const [a, b] = [await instance('a', server.url), await instance('b', server.url)];
    await Promise.all([a, b].map(shares));
    await ask(a, '/purged');
    await ask(a, '/kept');
    await written(a, 2);
    await a.cache.purge({ url: '/purged' });
    const voided = () => [a, b].map((made) => made.cache.stats().redis!.log.voided);
    const atFirst = voided();
    await server.command('DEL', 'hotpath:log');
    expect(await server.command('DBSIZE')).toBeGreaterThanOrEqual(2);
    await waitFor(() => voided().every((count, at) => count > atFirst[at]!));
    await Promise.all([a, b].map(shares));
    const c = await instance('c', server.url);
    await shares(c);
    const runs = () => a.runs() + b.runs() + c.runs();
    const before = runs();
    // The purges are unknown now, so no older entry is used.
    const answers = [await ask(c, '/purged'), await ask(b, '/kept')].map(({ body }) => body.toString());
    expect(answers).toEqual(['c 1', 'b 1']);
    expect(runs()).toBe(before + 2);
    await written(b, 1);
    await written(c, 1);
    expect((await ask(a, '/kept')).body.toString()).toBe('b 1');
    // The reverse: the log exists, the entry does not.
    const keys = (await server.command('KEYS', '*')) as string[];
    for (const key of keys) if (key !== 'hotpath:log') await server.command('DEL', key);
    expect((await ask(b, '/purged')).body.toString()).toBe('b 2');
  });

  it('ignores late Redis replies and those for a client that has left [D21]', async () => {
    const server = await redis();
    const proxy = await FaultProxy.start(server.port);
    opened.push(proxy);
    const a = await instance('a', proxy.url, { readTimeout: 0.05 });
    const b = await instance('b', server.url);
    await Promise.all([a, b].map(shares));
    for (let i = 0; i < 20; i++) await ask(b, `/${i}`);
    await written(b, 20);
    // Each reply of Redis arrives after the handler was called, with a hit that is no longer needed.
    proxy.set({ latency: 300 });
    for (let i = 0; i < 10; i++) {
      const answer = await ask(a, `/${i}`);
      expect([answer.status, answer.body.toString()]).toEqual([200, `a ${i + 1}`]);
    }
    for (let i = 10; i < 20; i++) {
      const socket = connect(a.port, '127.0.0.1');
      socket.end(`GET /${i} HTTP/1.1\r\nHost: ${host.Host}\r\n\r\n`);
      await waitFor(() => a.requests() === i + 1);
      socket.destroy();
    }
    proxy.set({});
    const stats = () => a.cache.stats().redis!;
    await waitFor(() => stats().outstanding === 0);
    expect(stats().operations.get!.unavailable.timeout).toBeGreaterThan(0);
    expect(a.faults.filter(({ where }) => where !== 'redis read' && where !== 'redis log')).toEqual([]);
    // The response of the handler is the one stored.
    expect((await ask(a, '/0')).body.toString()).toBe('a 1');
  });
});
