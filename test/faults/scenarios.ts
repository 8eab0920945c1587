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

/** A Redis failure, and how it ends. */
export interface Scenario {
  readonly name: string;
  /** Redis is down when the instances start. */
  readonly isDownAtStart?: boolean;
  /** No error shows the failure: replies are merely late or missing. */
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
    begin: ({ proxy }) => proxy.set({ latency: 250 }), // in each direction
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

/** Duration and rate of a run. */
export interface Effort {
  /** Requests per second. */
  readonly rate: number;
  /** Duration of the fault. It lasts longer until the instances have noticed it. */
  readonly seconds: number;
  /** Duration of the load before the fault. */
  readonly lead: number;
  /** Adds an instance without Redis that gets the same load at the same time. */
  readonly control?: Child;
}

/** Results of the load. Times in milliseconds. */
export interface Result {
  readonly name: string;
  /** All requests: before the fault, during it, and until recovery. */
  readonly all: readonly Outcome[];
  /** Requests during the fault. */
  readonly during: readonly Outcome[];
  /** Requests to the instance without Redis at the same time. */
  readonly control: readonly Outcome[];
  /** Time from the end of the fault until one instance served an entry of another; `undefined`: not in time. */
  readonly recovery: number | undefined;
  /** The console output of the instances. */
  readonly output: string;
}

/** A careless instance would print this password. */
export const PASSWORD = 'not-for-the-logs';

/** The breaker waits 10 s at most between its probes. */
const RECOVERS_WITHIN_MS = 20_000;

/** Runs a Redis failure under load, and its end. */
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
    // The end is not awaited.
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

/** Commands without a reply; for a silent fault, those that waited for their deadline. */
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

/** The time until one instance serves an entry that another stored. */
async function recovered(a: Child, b: Child): Promise<number | undefined> {
  const from = performance.now();
  for (let n = 0; performance.now() - from < RECOVERS_WITHIN_MS; n++) {
    const what = { path: `/item/recovery/${n}`, language: 'de' };
    await askFor(a.port, what);
    await delay(50); // no event announces the write
    if ((await askFor(b.port, what)).by === 'a') return performance.now() - from;
  }
  return undefined;
}
