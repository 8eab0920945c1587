import { performance } from 'node:perf_hooks';
import { afterEach, describe, expect, it } from 'vitest';
import type { RedisClient } from '../../../../src/store/redis/connection/ioredis-client.js';
import { readTime, ServerClock } from '../../../../src/store/redis/server-clock.js';
import { FaultProxy } from '../../../helpers/fault-proxy.js';
import { RedisServer, redisMajors, startCluster } from '../../../helpers/redis.js';

const open: { stop(): Promise<void> }[] = [];

afterEach(async () => {
  for (const thing of open.splice(0).reverse()) await thing.stop();
});

describe('the clock of the Redis server', () => {
  it('is unknown before the first sample', () => {
    const clock = new ServerClock(() => 0);
    expect(clock.isKnown).toBe(false);
    expect(clock.toShared(1)).toBeNaN();
    expect(clock.fromShared(1)).toBeNaN();
  });

  it('is taken from the middle of the round trip', () => {
    const clock = new ServerClock(() => 0);
    clock.sample(100, 110, 5_000);
    expect(clock.toShared(105)).toBe(5_000);
    expect(clock.fromShared(5_000)).toBe(105);
    expect(clock.error).toBe(5);
  });

  it('uses the recent sample with the shortest round trip', () => {
    const clock = new ServerClock(() => 0);
    clock.sample(0, 100, 1_050 + 40);
    clock.sample(200, 202, 1_201);
    expect(clock.toShared(0)).toBe(1_000);
    clock.sample(300, 380, 1_340 - 30);
    expect(clock.toShared(0)).toBe(1_000);
    for (let at = 1; at <= 8; at++) clock.sample(1000 * at, 1000 * at + 20, 1000 * at + 1_010 + 3);
    expect(clock.toShared(0), 'the best one has grown too old').toBe(1_003);
  });

  it('follows at once a clock that was set or belongs to another server [G36]', () => {
    const clock = new ServerClock(() => 0);
    clock.sample(0, 2, 1_000_001);
    clock.sample(100, 150, 700_125);
    expect(clock.toShared(0)).toBe(700_000);
  });

  it('ignores invalid replies', () => {
    const clock = new ServerClock(() => 0);
    for (const answer of [null, 'x', [], ['1'], ['a', 'b'], [1, 2, 3], { 0: 1, 1: 2 }])
      clock.sample(0, 1, readTime(answer));
    clock.sample(2, 1, 5);
    expect(clock.isKnown).toBe(false);
    expect(readTime(['12', '345678'])).toBeCloseTo(12_345.678);
    expect(readTime([12, 345_678])).toBeCloseTo(12_345.678);
  });

  it.each(redisMajors)('is measured with %s, through a slow network too', async (_, module) => {
    const server = await RedisServer.start();
    open.push(server);
    const proxy = await FaultProxy.start(server.port);
    open.push(proxy);
    const client = new module.Redis({ port: proxy.port }) as RedisClient & { disconnect(): void };
    try {
      const clock = new ServerClock();
      proxy.set({ latency: 50 });
      await clock.measure(client, 'log');
      expect(clock.error).toBeGreaterThanOrEqual(49);
      const off = () =>
        Math.abs(clock.toShared(performance.now()) - (performance.timeOrigin + performance.now()));
      // The server uses the clock of this machine.
      expect(off()).toBeLessThanOrEqual(clock.error + 2);
      proxy.set({});
      await clock.measure(client, 'log');
      expect(clock.error).toBeLessThan(49);
      expect(off()).toBeLessThanOrEqual(clock.error + 2);
    } finally {
      client.disconnect();
    }
  });

  it.each(redisMajors)('uses the node of the key in a cluster, with %s', async (_, module) => {
    const servers = await startCluster();
    open.push(...servers);
    const client = new module.Cluster([{ port: servers[0]!.port, host: '127.0.0.1' }]);
    try {
      const clock = new ServerClock();
      await clock.measure(client, 'log');
      expect(clock.isKnown).toBe(true);
      const slot = Number(await client.cluster('KEYSLOT', 'log'));
      const owner = servers[slot < 5461 ? 0 : slot < 10_923 ? 1 : 2]!;
      const calls = await Promise.all(
        servers.map(async (server) => (await server.info('commandstats')).get('cmdstat_eval') ?? ''),
      );
      expect(calls.map((text) => text !== '')).toEqual(servers.map((server) => server === owner));
    } finally {
      client.disconnect();
    }
  });
});
