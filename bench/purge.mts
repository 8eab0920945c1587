// Measures a purge by tag of a million entries, in memory and in Redis: `npm run bench:purge`. For fewer:
// `npm run bench:purge -- --entries 100000`. It starts its own Redis.
//
// Each purge is compared with a round trip to Redis at the same moment; the difference is the cost of the
// cache. A timer of 1 ms measures how long the event loop was blocked. If the process used less CPU time than
// that, the CPU time counts, because other processes had the core. The exit code is 1 if a limit is exceeded.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import express from 'express';
import { Redis } from 'ioredis';
import { responseCache } from '../src/cache/response-cache.js';
import { quantile } from '../test/faults/quantile.js';
import { storeMany } from '../test/helpers/many-entries.js';
import { askMany } from '../test/helpers/pipelined.js';
import { RedisServer, until } from '../test/helpers/redis.js';

const PURGES = 30;
/** Milliseconds. */
const MOST_ADDED = 10;
const MOST_BLOCKED = 10;

const { values } = parseArgs({ options: { entries: { type: 'string', default: '1000000' } } });
const count = Number(values.entries);

const redis = await RedisServer.start();
const cache = responseCache({
  redis: { url: redis.url, readTimeout: 5, writeTimeout: 5 },
  memory: { maxEntries: count + 1, maxBytes: '16gb' },
  routes: { '/:n': { ttl: '1d', tags: ['all'] } },
});
const app = express();
let runs = 0;
app.use(cache);
app.get('/:n', (_req, res) => {
  runs++;
  res.end('x'.repeat(100));
});
const server = createServer(app).listen(0, '127.0.0.1');
await once(server, 'listening');
const client = new Redis(redis.url);
try {
  const { port } = server.address() as AddressInfo;
  await until(() => cache.stats().redis?.log.shares === true, 'the log is read');
  const paths = Array.from({ length: count }, (_, n) => `/${1e7 + n}`);
  const rounds = Array.from({ length: PURGES }, (_, n) => `round:${n}`);
  const first = () => askMany(port, ['/thefirst']);
  const written = await storeMany(first, '/thefirst', paths, () => ['all', ...rounds]);
  const { entries } = cache.stats();
  console.log(`${entries.toLocaleString('en')} entries in memory, ${written.toLocaleString('en')} in Redis`);

  await delay(2000); // collects the garbage of storing the entries
  const took: number[] = [];
  const trips: number[] = [];
  const blocked: number[] = [];
  for (const tag of rounds) {
    const watch = watchLoop();
    trips.push(await timeOf(() => client.ping()));
    await delay(20);
    took.push(
      await timeOf(async () => {
        if (!(await cache.purge({ tag })).acknowledged) throw new Error('the purge was not acknowledged');
      }),
    );
    await delay(20);
    blocked.push(watch());
  }
  const sample = Array.from({ length: 1000 }, () => paths[Math.floor(Math.random() * count)]!);
  const before = runs;
  await askMany(port, [...new Set(sample)]);
  const missed = runs - before;

  const added = took.map((time, i) => time - trips[i]!);
  print('a purge', took);
  print('a round trip (PING)', trips);
  print('what the purge adds', added);
  print('event loop blocked', blocked);
  console.log(`${missed} of ${new Set(sample).size} entries at random were misses afterwards`);
  const isKept =
    quantile(added, 0.5) <= MOST_ADDED &&
    quantile(blocked, 1) <= MOST_BLOCKED &&
    missed === new Set(sample).size;
  console.log(isKept ? 'within the bounds' : 'a bound is broken');
  process.exitCode = isKept ? 0 : 1;
} finally {
  client.disconnect();
  await cache.close();
  server.close();
  server.closeAllConnections();
  await redis.stop();
}

async function timeOf(task: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await task();
  return performance.now() - from;
}

/** @returns a function that returns the longest time for which the event loop was blocked. */
function watchLoop(): () => number {
  let longest = 0;
  let last = performance.now();
  const used = process.cpuUsage();
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last - 1);
    last = now;
  }, 1);
  return () => {
    clearInterval(timer);
    const { user, system } = process.cpuUsage(used);
    return Math.min(longest, (user + system) / 1000);
  };
}

function print(what: string, times: readonly number[]): void {
  const parts = [0.5, 0.9, 1].map((part) => quantile(times, part).toFixed(2).padStart(8));
  console.log(`${what.padEnd(22)}${parts.join(' ')} ms (median, p90, max of ${times.length})`);
}
