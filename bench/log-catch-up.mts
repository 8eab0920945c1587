// Measures the start of an instance with a log of 100,000 records: `npm run bench:log`. For fewer: `npm run
// bench:log -- --records 10000`. It starts its own Redis and writes purges and expiries of tags and URLs, all with
// different names. Then it starts several instances, each in its own process.
//
// An instance waits for Redis and for a free core, so the cost is its CPU time: 369 ms with Node 20.20, and
// 9.8 MB. The exit code is 1 if a limit is exceeded.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import { responseCache } from '../src/cache/index.js';
import { recordBody } from '../src/store/redis/log/log-records.js';
import { RedisStream } from '../src/store/redis/log/redis-stream.js';
import { RedisServer } from '../test/helpers/redis.js';

/** Number of instances, started one after the other. */
const STARTS = 5;
const BATCH = 500;
/** Limits in milliseconds and bytes, beyond a start with an empty log. */
const MOST_TIME = 500;
const MOST_HEAP = 20e6;

interface Told {
  /** Until entries in Redis may be used: milliseconds of wall clock and of CPU. */
  readonly wall: number;
  readonly cpu: number;
  /** Heap and external memory after a garbage collection. Bytes. */
  readonly heap: number;
  readonly records: number;
}

const { values } = parseArgs({
  options: { records: { type: 'string', default: '100000' }, url: { type: 'string' } },
});
const count = Number(values.records);

if (process.send) await start(values.url!);
else await measure();

async function start(url: string): Promise<void> {
  const before = await taken();
  const cpu = process.cpuUsage();
  const began = performance.now();
  const cache = responseCache({ redis: { url } });
  while (!cache.stats().redis?.log.shares) await new Promise((resolve) => setTimeout(resolve, 1));
  const wall = performance.now() - began;
  const { user, system } = process.cpuUsage(cpu);
  const { records } = cache.stats().redis!.log;
  const told: Told = { wall, cpu: (user + system) / 1000, heap: (await taken()) - before, records };
  process.send?.(told);
  await cache.close();
  process.disconnect?.();
}

async function taken(): Promise<number> {
  for (let i = 0; i < 4; i++) {
    gc?.();
    await new Promise(setImmediate);
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function measure(): Promise<void> {
  const server = await RedisServer.start();
  try {
    const empty = await several(server);
    await write(server);
    const full = await several(server);
    console.log(`a log of ${count.toLocaleString('en')} records, the median of ${STARTS} starts`);
    const cost = (name: 'wall' | 'cpu') => full[name] - empty[name];
    const heap = full.heap - empty.heap;
    console.log(`  CPU     ${cost('cpu').toFixed(0).padStart(5)} ms   at most ${MOST_TIME}`);
    console.log(`  time    ${cost('wall').toFixed(0).padStart(5)} ms`);
    console.log(`  memory  ${(heap / 1e6).toFixed(1).padStart(5)} MB   at most ${MOST_HEAP / 1e6}`);
    if (full.records < count) throw new Error(`${full.records} records were read instead of ${count}`);
    if (cost('cpu') > MOST_TIME || heap > MOST_HEAP) process.exitCode = 1;
  } finally {
    await server.stop();
  }
}

/** Appends records as instances do. */
async function write(server: RedisServer): Promise<void> {
  const client = new Redis(server.url);
  const stream = new RedisStream(client as never, 'hotpath:log');
  try {
    for (let n = 0; n < count; n += BATCH) {
      const { epoch, last } = await stream.state(0);
      const bodies = Array.from({ length: Math.min(BATCH, count - n) }, (_, i) => {
        const kind = i % 4 === 3 ? 'expire' : 'purge';
        const target = i % 2 ? ({ kind: 'url', value: `/products/${n + i}?page=1` } as const) : undefined;
        return recordBody(kind, target ?? { kind: 'tag', value: `product:${n + i}` });
      });
      await stream.append(epoch, last, bodies);
    }
  } finally {
    client.disconnect();
  }
}

async function several(server: RedisServer): Promise<Told> {
  const told: Told[] = [];
  for (let i = 0; i < STARTS; i++) {
    const child = fork(fileURLToPath(import.meta.url), ['--url', server.url], {
      execArgv: ['--import', 'tsx', '--expose-gc'],
    });
    told.push(await toldBy(child));
  }
  const median = (of: (told: Told) => number) => told.map(of).sort((a, b) => a - b)[STARTS >> 1]!;
  return {
    wall: median(({ wall }) => wall),
    cpu: median(({ cpu }) => cpu),
    heap: median(({ heap }) => heap),
    records: median(({ records }) => records),
  };
}

async function toldBy(child: ChildProcess): Promise<Told> {
  const exited = once(child, 'exit');
  const [told] = (await once(child, 'message')) as [Told];
  await exited;
  return told;
}
