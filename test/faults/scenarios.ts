import { setTimeout as delay } from 'node:timers/promises';
import { FaultProxy } from '../helpers/fault-proxy.js';
import { freePort } from '../helpers/port.js';
import { RedisServer, until } from '../helpers/redis.js';
import { type Child, startChild } from '../process/child.js';
import type { Told } from '../process/children/instance.js';
import { askFor, type Outcome, startLoad } from './load.js';

interface Site {
  readonly redis: RedisServer;
  readonly proxy: FaultProxy;
}

/** A way for Redis to fail, and how it ends. */
export interface Scenario {
  readonly name: string;
  /** Redis is not there when the instances start. */
  readonly isDownAtStart?: boolean;
  /** Nothing tells that it fails, but that no answer comes in time. */
  readonly isSilent?: boolean;
  readonly begin: (site: Site) => unknown;
  readonly end: (site: Site) => unknown;
}

export const scenarios: readonly Scenario[] = [
  { name: 'down at start', isDownAtStart: true, begin: () => {}, end: ({ redis }) => redis.restart() },
  { name: 'killed', begin: ({ redis }) => redis.kill(), end: ({ redis }) => redis.restart() },
  {
    name: 'paused',
    isSilent: true,
    begin: ({ redis }) => redis.pause(),
    end: ({ redis }) => redis.resume(),
  },
  {
    name: 'slow (500 ms)',
    isSilent: true,
    begin: ({ proxy }) => proxy.set({ latency: 250 }), // each way
    end: ({ proxy }) => proxy.set({}),
  },
  { name: 'cut (reset)', begin: ({ proxy }) => proxy.cut(), end: ({ proxy }) => proxy.mend() },
  {
    name: 'cut (silence)',
    isSilent: true,
    begin: ({ proxy }) => proxy.set({ blackHole: 'both' }),
    end: ({ proxy }) => proxy.set({}),
  },
  {
    name: 'full',
    begin: async ({ redis }) => {
      await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
      await redis.command('CONFIG', 'SET', 'maxmemory', '1');
    },
    end: ({ redis }) => redis.command('CONFIG', 'SET', 'maxmemory', '0'),
  },
  {
    name: 'read-only',
    begin: async ({ redis }) => redis.command('REPLICAOF', '127.0.0.1', await freePort()),
    end: ({ redis }) => redis.command('REPLICAOF', 'NO', 'ONE'),
  },
];

/** How long, and how much. */
export interface Effort {
  /** Requests a second. */
  readonly rate: number;
  /** Of the fault. It lasts longer where nothing was felt of it yet. */
  readonly seconds: number;
  /** Of the load before it. */
  readonly lead: number;
  /** An instance without Redis that gets the same load at the same time. */
  readonly control?: Child;
}

/** What became of the load. Times in milliseconds. */
export interface Result {
  readonly name: string;
  /** All of it: before the fault, during it, and until it was over. */
  readonly all: readonly Outcome[];
  /** During the fault. */
  readonly during: readonly Outcome[];
  /** Of the instance without Redis, in the same time. */
  readonly control: readonly Outcome[];
  /** After the fault until one instance served again what another had stored; `undefined`: not in time. */
  readonly recovery: number | undefined;
  /** What the instances have written to their consoles. */
  readonly output: string;
}

/** It shows in the instances' output where they don't take care. */
export const PASSWORD = 'not-for-the-logs';

/** The breaker waits 10 s at most between its probes. */
const RECOVERS_WITHIN_MS = 20_000;

/** Lets Redis fail under load, and come back. */
export async function runScenario(scenario: Scenario, effort: Effort): Promise<Result> {
  const { rate, seconds, lead, control } = effort;
  const setup = { password: PASSWORD };
  const redis = await (scenario.isDownAtStart ? RedisServer.prepare(setup) : RedisServer.start(setup));
  const proxy = await FaultProxy.start(redis.port);
  const REDIS_URL = `redis://:${PASSWORD}@127.0.0.1:${proxy.port}`;
  const start = (NAME: string) => startChild('instance', { NAME, REDIS_URL });
  const children = await Promise.all([start('a'), start('b')]);
  const [a, b] = children as [Child, Child];
  const load = startLoad(
    [a.port, ...(control ? [control.port] : [])],
    `${scenario.name.split(' ')[0]}`,
    rate,
  );
  try {
    if (!scenario.isDownAtStart) {
      for (const child of children)
        await until(async () => (await tell(child)).redis?.log.shares === true, 'the log is read');
    }
    await delay(lead * 1000);
    const before = unavailable(await tell(a), scenario);
    const from = performance.now();
    await scenario.begin({ redis, proxy });
    await delay(seconds * 1000);
    await until(async () => isFelt(await tell(a), before, scenario), 'the fault is felt');
    // Nobody waits for its end.
    await load.underWay();
    const to = performance.now();
    await scenario.end({ redis, proxy });
    const recovery = await recovered(a, b);
    await load.stop();
    const within = (outcomes: readonly Outcome[] = []) => outcomes.filter(({ at }) => at >= from && at < to);
    const [all = [], other] = load.outcomes;
    const output = children.map((child) => child.output()).join('');
    return { name: scenario.name, all, during: within(all), control: within(other), recovery, output };
  } finally {
    await load.stop();
    for (const child of children) child.process.kill('SIGKILL');
    await proxy.stop();
    await redis.stop();
  }
}

async function tell(child: Child): Promise<Told> {
  return (await child.tell('tell')) as Told;
}

/** Commands that got no answer; of a silent fault, those that waited for their deadline. */
function unavailable({ redis }: Told, { isSilent }: Scenario): number {
  return Object.values(redis?.operations ?? {})
    .flatMap((operation) => Object.entries(operation.unavailable))
    .filter(([word]) => !isSilent || word === 'timeout')
    .reduce((sum, [, count]) => sum + count, 0);
}

function isFelt(told: Told, before: number, scenario: Scenario): boolean {
  const isNoticed = !scenario.isSilent && told.redis?.log.shares === false;
  return isNoticed || unavailable(told, scenario) > before;
}

/** How long it takes until what one instance stores another serves. */
async function recovered(a: Child, b: Child): Promise<number | undefined> {
  const from = performance.now();
  for (let n = 0; performance.now() - from < RECOVERS_WITHIN_MS; n++) {
    const what = { path: `/item/recovery/${n}`, language: 'de' };
    await askFor(a.port, what);
    await delay(50); // nobody is told when it is written
    if ((await askFor(b.port, what)).by === 'a') return performance.now() - from;
  }
  return undefined;
}
