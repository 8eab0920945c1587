import { once } from 'node:events';
import { connect } from 'node:net';
import type { CacheStats } from 'hotpath/cache';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '../helpers/http.js';
import { RedisServer } from '../helpers/redis.js';
import { type Child, startChild } from '../process/child.js';

interface Told {
  /** Growth of the old generation per request. Bytes. */
  readonly each: number;
  /** Number of full mark-compact collections. */
  readonly wholes: number;
  readonly stats: CacheStats;
}

const CONNECTIONS = 16;

/** Requests each path, one after the other on each connection. */
async function ask(port: number, paths: readonly string[]): Promise<void> {
  let next = 0;
  const one = async () => {
    const socket = connect(port, '127.0.0.1').setEncoding('latin1');
    await once(socket, 'connect');
    for (let path = paths[next++]; path !== undefined; path = paths[next++]) {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: shop.example\r\n\r\n`);
      for (let text = ''; !/\r\n\r\n.+}$/s.test(text); ) text += (await once(socket, 'data'))[0] as string;
    }
    socket.destroy();
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, one));
}

/** From V8 13 on (Node 24), objects that ioredis makes for a command also survive minor collections. */
const IS_NEW_V8 = Number.parseInt(process.versions.v8, 10) >= 13;
const OF_REDIS = IS_NEW_V8 ? 1000 : 400;

/** Without more room the app alone fills the initial heap of Node 26. */
const ROOM = '--initial-old-space-size=48';

const KEYS = 300;
const ROUNDS = 12;
const keys = Array.from({ length: KEYS }, (_, i) => `/${i}`);
const rounds = Array.from({ length: ROUNDS }, () => keys).flat();

let server: RedisServer;
beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(() => server.stop());

// A Map or a WeakMap that changes with each request, a linked list whose members stay linked, a closure on each
// response. V8 can free each of these only by marking the whole heap, which then happens every few hundred requests.
describe('memory of a request at the front door, freed by minor collections', () => {
  const measured = async (
    env: Record<string, string>,
    before: readonly string[],
    run: (child: Child) => Promise<void>,
  ): Promise<Told> => {
    const child = await startChild('garbage', env, [ROOM]);
    try {
      // Stored and compiled data stays. Dead objects among it would start a chain of references.
      await ask(child.port, before);
      if (env.REDIS_URL)
        await waitFor(async () => ((await child.tell('look')) as Told).stats.redis?.log.shares);
      await ask(child.port, keys);
      await child.tell('begin');
      await run(child);
      return (await child.tell('end')) as Told;
    } finally {
      child.process.kill();
      await child.exited;
    }
  };

  it('for a hit in memory', async () => {
    const { each, wholes, stats } = await measured({ ENTRIES: '1000' }, rounds, ({ port }) =>
      ask(port, rounds),
    );
    expect(stats.frontDoor.hits).toBeGreaterThan(KEYS * ROUNDS);
    expect(wholes).toBe(0);
    expect(each).toBeLessThan(300);
  });

  it('for a Redis hit that memory has no room for', async () => {
    // With more requests, objects of ioredis fill the old generation on newer V8.
    const some = IS_NEW_V8 ? rounds.slice(0, 10 * KEYS) : rounds;
    const env = { ENTRIES: '50', REDIS_URL: server.url };
    const { each, wholes, stats } = await measured(env, some, ({ port }) => ask(port, some));
    expect(stats.redis!.hits).toBeGreaterThan(some.length);
    expect(wholes).toBe(0);
    expect(each).toBeLessThan(OF_REDIS);
  });

  it('for a miss', async () => {
    const other = rounds.map((_, i) => `/other-${i}`);
    const { each, wholes, stats } = await measured({ ENTRIES: '1' }, rounds, ({ port }) => ask(port, other));
    expect(stats.misses).toBeGreaterThan(KEYS * ROUNDS);
    expect(wholes).toBe(0);
    expect(each).toBeLessThan(1000);
  });
});
