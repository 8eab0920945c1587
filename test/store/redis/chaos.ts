import { parseRecord, recordBody } from '../../../src/store/redis/log/log-records.js';
import { type LogStamp, RedisLog } from '../../../src/store/redis/log/redis-log.js';
import { ServerClock } from '../../../src/store/redis/server-clock.js';
import { SimulatedLink, SimulatedServer } from '../../helpers/simulated-redis.js';
import { randomOf, VirtualTime } from '../../helpers/virtual-time.js';
import { keys, Model, type Sabotage, type SharedValue, type Tally } from './chaos-model.js';

/** The outcome of one seed. */
export interface Outcome {
  readonly seed: number;
  readonly topology: Topology;
  readonly violations: readonly string[];
  readonly tally: Tally;
  /** Conditions that an instance has not reached after the faults ended. */
  readonly unhealed: readonly string[];
}

const INSTANCES = 3;
const MAX_STALENESS = 5000;

/** Duration of the faults, and number of actions in that time. */
const LENGTH = 60_000;
const ACTIONS = 1500;

/** The servers behind the address of Redis, in addition to the faults of every run. */
export const topologies = {
  one: 'one server',
  two: 'an address that moves between two servers',
  older: 'a server that loads older data while it runs',
} as const;

export type Topology = keyof typeof topologies;

/**
 * Three instances on a simulated Redis, with faults of all kinds, for a minute of simulated time; then ten seconds to
 * recover. Their clocks differ by a minute each, and the clock of the server is set by an hour.
 */
export async function runChaos(
  seed: number,
  topology: Topology = 'one',
  sabotage: Sabotage = {},
): Promise<Outcome> {
  const random = randomOf(seed);
  const time = new VirtualTime(random);
  const kind = { maxRecords: random() < 0.3 ? 4 : 100_000, isNamed: random() < 0.85 };
  let server: SimulatedServer | undefined = new SimulatedServer(time, kind);
  // Earlier data of the server, as a replica or a file may have it.
  let snapshot = server.data;
  const where = () => server;
  const latency = 1 + random() ** 3 * 300;
  const links = Array.from({ length: INSTANCES }, () => ({
    follower: new SimulatedLink(time, where, latency, sabotage.noContinuation),
    writer: new SimulatedLink(time, where, latency),
  }));
  const all = links.flatMap(({ follower, writer }) => [follower, writer]);
  const timers = links.map((_, i) => ({
    now: () => time.now() + i * 60_000,
    after: (milliseconds: number, call: () => void) => time.after(milliseconds, call),
    random: time.random,
  }));
  const clocks = timers.map(() => new ServerClock());
  const logs = links.map(({ follower, writer }, i) => {
    const bounds = random() < 0.3 ? { maxNames: 5, maxPatterns: 1, clientBuckets: 8 } : {};
    const maxQueued = random() < 0.3 ? 5 : 10_000;
    return new RedisLog({
      follower,
      writer,
      clock: clocks[i]!,
      timers: timers[i]!,
      maxStaleness: MAX_STALENESS,
      maxQueued,
      clientHashKey: Buffer.from([seed, seed >>> 8, seed >>> 16, seed >>> 24, i, 0, 0, 0]),
      ...bounds,
    });
  });
  const model = new Model(
    {
      now: () => time.now(),
      nowAt: (instance) => timers[instance]!.now(),
      clocks,
      after: (milliseconds, call) => void time.after(milliseconds, call),
      random,
      fetch: async (instance, key) =>
        (await links[instance]!.writer.stream?.get(key)) as SharedValue | undefined,
      store: (instance, value) => void links[instance]!.writer.stream?.set(value.key, value).catch(() => {}),
    },
    logs,
    { staleness: MAX_STALENESS, fill: 2000 },
    sabotage,
  );

  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const one = () => pick(all);
  const replace = (data: SimulatedServer['data'], isSeen: boolean) => {
    server = new SimulatedServer(time, kind, data);
    // A killed server closes its connections. A hung one does not.
    for (const link of all) if (isSeen || random() < 0.3) link.restart();
  };
  const faults: (() => void)[] = [
    () => one().restart(),
    () => {
      const { faults } = one();
      const kind = random() < 0.5 ? 'isDeaf' : 'isMute';
      faults[kind] = true;
      time.after(random() * 8000, () => {
        faults[kind] = false;
      });
    },
    () => {
      const { faults } = one();
      faults.latency = random() * 1000;
      time.after(random() * 5000, () => {
        faults.latency = latency;
      });
    },
    () => {
      const paused = server;
      paused?.pause();
      time.after(random() * 6000, () => paused?.resume());
    },
    () => server?.empty(),
    () => server?.setClock(pick([-1, 1]) * 3_600_000),
    // A restart from an older file, or a replica without the last records.
    () => replace(random() < 0.2 ? new SimulatedServer(time, kind).data : snapshot, true),
    () => {
      const old = server;
      old?.fence();
      replace(snapshot, false);
      // Sentinel soon ends connections that still hang.
      time.after(random() * 8000, () => {
        for (const link of all) if (link.stream?.server === old) link.restart();
      });
    },
    () => {
      if (server) snapshot = server.data;
    },
    () => {
      if (server) snapshot = server.data;
    },
    () => {
      const last = server;
      if (!last) return;
      server = undefined;
      for (const link of all) link.restart();
      time.after(random() * 7000, () => {
        server ??= new SimulatedServer(time, kind, last.data);
      });
    },
  ];
  // An instance that knows no other server goes on there. Its records take the places of others, and its entries have
  // later positions than purges that it does not know.
  const growAlone = (alone: SimulatedServer) => {
    const { epoch, last } = alone.state(0);
    if (epoch === '') return;
    const body = recordBody('purge', { kind: 'tag', value: 'elsewhere' });
    alone.append(epoch, last, new Array(Math.ceil(random() * 50)).fill(body));
    const { last: position, time: storedAt } = alone.state(0);
    for (const key of keys) {
      const value: SharedValue = { key, readAt: time.now(), storedAt, took: 0, stamp: { epoch, position } };
      alone.set(key, value);
    }
  };
  // The change cuts connections like a proxy. Bytes sent before still arrive.
  let spare: SimulatedServer | undefined;
  const moveAddress = () => {
    const from = server;
    if (!from) return;
    const data = pick([from.data, snapshot, new SimulatedServer(time, kind).data]);
    const to = spare ?? new SimulatedServer(time, kind, data);
    // It was a replica meanwhile, or has continued alone.
    if (spare && random() < 0.3) to.data = data;
    model.changeHistory(endOf(to.data));
    [server, spare] = [to, from];
    for (const link of all) link.restart();
    if (random() < 0.5) growAlone(from);
  };
  const loadOlder = () => {
    if (!server) return;
    model.changeHistory(endOf(snapshot));
    server.data = snapshot;
  };
  if (topology === 'two') faults.push(moveAddress, moveAddress, moveAddress, moveAddress);
  if (topology === 'older') faults.push(loadOlder, loadOlder, loadOlder, loadOlder);
  const rate = random() * 0.02;
  const isSabotaged = Object.keys(sabotage).length > 0;
  for (let i = 0; i < ACTIONS; i++) {
    // One violation is enough to show that the model finds it.
    if (isSabotaged && model.violations.length > 0) break;
    if (random() < rate) pick(faults)();
    model.act();
    // Some at once, so that they race.
    if (random() < 0.5) await time.run((LENGTH / ACTIONS) * 4 * random());
  }
  await time.run(10_000);
  for (const link of all) Object.assign(link.faults, { isDeaf: false, isMute: false, latency: 2 });
  await time.run(10_000);
  const epochs = new Set(logs.map(({ stats }) => stats.epoch));
  const unhealed = logs.flatMap((log, i) => {
    const { inContact, queued, lag } = log.stats;
    const isWell = inContact && queued === 0 && lag === 0 && log.canShare && epochs.size === 1;
    return isWell ? [] : [`instance ${i}: ${JSON.stringify(log.stats)}`];
  });
  for (const log of logs) log.close();
  for (const link of all) link.close();
  return { seed, topology, violations: model.violations, tally: model.tally, unhealed };
}

function endOf({ entries }: SimulatedServer['data']): LogStamp | undefined {
  const last = entries.at(-1);
  const record = last && parseRecord(last.text);
  return record && { epoch: record.epoch, position: last.position };
}

/** For the message of a failing test. */
export function report({ seed, topology, violations, unhealed }: Outcome): string {
  return `topology ${topology}, replay with CHAOS_SEED=${seed}\n${[...violations.slice(0, 5), ...unhealed].join('\n')}`;
}
