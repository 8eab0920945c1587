import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { RedisConnection } from '../../../src/store/redis/connection.js';
import { RedisLog } from '../../../src/store/redis/log.js';
import { ServerClock } from '../../../src/store/redis/server-clock.js';
import { streamLink } from '../../../src/store/redis/stream.js';
import { loadOf, RedisServer, redisMajors } from '../../helpers/redis.js';
import { randomOf } from '../../helpers/virtual-time.js';
import { Model } from './chaos-model.js';

const MAX_STALENESS = 1000;

/** Decides what happens; what becomes of it, time decides. */
const seed = Number(process.env.CHAOS_SEED?.split(',')[0] ?? randomInt(2 ** 31));

describe.each(redisMajors)('three instances on a real Redis that fails, with %s', (_name, module) => {
  it('H08 G04 never serve what was purged, beyond the bound', async () => {
    console.log(`chaos seed: ${seed}`);
    const random = randomOf(seed);
    const server = await RedisServer.start();
    const connections = Array.from(
      { length: 3 },
      () =>
        new RedisConnection(
          { url: server.url },
          { onFault: () => {}, load: loadOf(module), times: { maxDelay: 100 } },
        ),
    );
    const logs = connections.map(
      (connection) =>
        new RedisLog({
          follower: streamLink(connection.duplicate(), 'log'),
          writer: streamLink(connection, 'log'),
          clock: new ServerClock(),
          heartbeat: 100,
          slack: 200,
          maxStaleness: MAX_STALENESS,
          appendDeadline: 200,
        }),
    );
    const model = new Model(
      {
        now: () => performance.now(),
        after: (milliseconds, call) => void setTimeout(call, milliseconds),
        random,
        fetch: async (instance, key) => {
          const text = await connections[instance]!.client?.call('GET', key);
          return typeof text === 'string' ? JSON.parse(text) : undefined;
        },
        store: (instance, value) =>
          void connections[instance]!.client?.call('SET', value.key, JSON.stringify(value)).catch(() => {}),
      },
      logs,
      { staleness: MAX_STALENESS, fill: 100 },
    );
    const faults: (() => Promise<unknown>)[] = [
      () => server.command('CLIENT', 'KILL', 'TYPE', 'normal'),
      () => server.command('FLUSHALL'),
      () => server.command('DEL', 'log'),
      () => server.restart(),
      async () => {
        server.pause();
        await acting(random() * 600);
        server.resume();
      },
      async () => {
        await server.kill();
        await acting(random() * 600);
        await server.restart();
      },
    ];
    const acting = async (milliseconds: number) => {
      for (const end = performance.now() + milliseconds; performance.now() < end; ) {
        for (let i = 0; i < 5; i++) model.act();
        await delay(1 + random() * 4);
      }
    };
    try {
      await vi.waitFor(() => expect(logs.every((log) => log.canShare)).toBe(true), { timeout: 15_000 });
      for (const fault of [...faults, ...faults]) {
        await acting(200);
        await fault();
      }
      await acting(200);
      await vi.waitFor(
        () => {
          expect(logs.map((log) => log.stats.queued)).toEqual([0, 0, 0]);
          expect(logs.every((log) => log.canShare)).toBe(true);
          expect(new Set(logs.map((log) => log.stats.epoch)).size).toBe(1);
        },
        { timeout: 15_000 },
      );
      expect(model.violations, `seed ${seed}`).toEqual([]);
      expect(Math.min(model.tally.served, model.tally.filled, model.tally.acknowledged)).toBeGreaterThan(0);
    } finally {
      for (const log of logs) log.close();
      for (const connection of connections) connection.close();
      server.resume();
      await server.stop();
    }
  }, 60_000);
});
