import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { RedisConnection } from '../../../src/store/redis/connection/redis-connection.js';
import { parseRecord } from '../../../src/store/redis/log/log-records.js';
import { type LogStamp, RedisLog } from '../../../src/store/redis/log/redis-log.js';
import { streamLink } from '../../../src/store/redis/log/redis-stream.js';
import { ServerClock } from '../../../src/store/redis/server-clock.js';
import { FaultProxy } from '../../helpers/fault-proxy.js';
import { loadOf, RedisServer, type redisMajors, until } from '../../helpers/redis.js';
import { randomOf } from '../../helpers/virtual-time.js';
import type { Outcome, Topology } from './chaos.js';
import { Model } from './chaos-model.js';

const INSTANCES = 3;
const MAX_STALENESS = 500;
const FAULTS = 5;

/** The data of a server: its keys, from `DUMP`, and the end of the log. */
interface Snapshot {
  readonly keys: readonly (readonly [name: Buffer, dump: Buffer])[];
  readonly end: LogStamp | undefined;
}

const takeScript = `
local answer = { redis.call('XREVRANGE', 'log', '+', '-', 'COUNT', 1) }
for _, key in ipairs(redis.call('KEYS', '*')) do
  answer[#answer + 1] = key
  answer[#answer + 1] = redis.call('DUMP', key)
end
return answer`;

/** In one step, so that clients never see a partial state. */
const loadScript = `
for _, key in ipairs(redis.call('KEYS', '*')) do redis.call('DEL', key) end
for i = 1, #ARGV, 2 do redis.call('RESTORE', ARGV[i], 0, ARGV[i + 1]) end`;

/** Two servers, and three proxies to the one that has the address. */
export class Site {
  readonly servers: readonly [RedisServer, RedisServer];
  readonly proxies: FaultProxy[] = [];
  #stand: 0 | 1 = 0;

  private constructor(servers: Site['servers']) {
    this.servers = servers;
  }

  static async start(): Promise<Site> {
    const site = new Site(await Promise.all([RedisServer.start(), RedisServer.start()]));
    for (let i = 0; i < INSTANCES; i++) site.proxies.push(await FaultProxy.start(() => site.server.port));
    return site;
  }

  /** The server that has the address. */
  get server(): RedisServer {
    return this.servers[this.#stand];
  }

  get other(): RedisServer {
    return this.servers[1 - this.#stand]!;
  }

  /** Cuts connections, and sends new ones to the other server. */
  moveAddress(): void {
    this.#stand = this.#stand === 0 ? 1 : 0;
    for (const proxy of this.proxies) proxy.reset();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.proxies, ...this.servers].map((one) => one.stop()));
  }
}

async function withClient<T>(server: RedisServer, task: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(server.url);
  try {
    return await task(client);
  } finally {
    client.disconnect();
  }
}

const take = (server: RedisServer) =>
  withClient(server, async (client): Promise<Snapshot> => {
    const [log, ...flat] = (await client.callBuffer('EVAL', takeScript, 0)) as [Buffer[][][], ...Buffer[]];
    const keys = flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1]!] as const] : []));
    const [id, fields] = (log[0] ?? []) as unknown as [Buffer?, Buffer[]?];
    const record = fields && parseRecord(String(fields[1]));
    return { keys, end: record && { epoch: record.epoch, position: Number.parseInt(String(id), 10) } };
  });

const load = (server: RedisServer, { keys }: Snapshot) =>
  withClient(server, (client) => client.call('EVAL', loadScript, 0, ...keys.flat()));

/** The outcome of one seed. The seed decides the actions, and timing decides their results. */
export async function runRealChaos(
  site: Site,
  seed: number,
  topology: Topology,
  module: (typeof redisMajors)[number][1],
): Promise<Outcome> {
  const random = randomOf(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  await Promise.all(site.servers.map((server) => server.command('FLUSHALL')));
  const connections = site.proxies.map(
    ({ url }) =>
      new RedisConnection({ url }, { onFault: () => {}, load: loadOf(module), times: { maxDelay: 100 } }),
  );
  const clocks = connections.map(() => new ServerClock());
  const logs = connections.map(
    (connection, i) =>
      new RedisLog({
        follower: streamLink(connection.duplicate(), 'log'),
        writer: streamLink(connection, 'log'),
        clock: clocks[i]!,
        heartbeat: 100,
        slack: 200,
        maxStaleness: MAX_STALENESS,
        appendDeadline: 200,
      }),
  );
  const now = () => performance.now();
  const model = new Model(
    {
      now,
      nowAt: now,
      clocks,
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
  const acting = async (milliseconds: number) => {
    for (const end = now() + milliseconds; now() < end; ) {
      // Sockets and proxies carry several commands at once.
      for (let i = 0; i < 10; i++) model.act();
      await delay(4 + random() * 12);
    }
  };
  let snapshot = await take(site.server);
  const common: (() => Promise<unknown>)[] = [
    () => site.server.command('CLIENT', 'KILL', 'TYPE', 'normal'),
    () => site.server.command('FLUSHALL'),
    () => site.server.command('DEL', 'log'),
    () => site.server.restart(),
    async () => {
      const { server } = site;
      server.pause();
      await acting(random() * 400);
      server.resume();
    },
    async () => {
      await site.server.kill();
      await acting(random() * 200);
      await site.server.restart();
    },
    async () => {
      const proxy = pick(site.proxies);
      await proxy.cut();
      await acting(random() * 400);
      await proxy.mend();
    },
  ];
  const moveAddress = async () => {
    // Its former replica, or an earlier state of it.
    const isReplica = random() < 0.5;
    const to = isReplica ? pick([snapshot, await take(site.server)]) : await take(site.other);
    if (isReplica) await load(site.other, to);
    site.moveAddress();
    model.changeHistory(to.end);
  };
  const takeSnapshot = async () => {
    snapshot = await take(site.server);
  };
  const loadOlder = async () => {
    const before = model.before();
    await load(site.server, snapshot);
    model.changeHistory(snapshot.end, before);
  };
  const own = { one: common, two: [moveAddress], older: [takeSnapshot, loadOlder, loadOlder] }[topology];
  const outcome = { seed, topology, tally: model.tally, violations: model.violations };
  try {
    const isWell = () => logs.every((log) => log.canShare);
    await until(isWell, 'the logs are read');
    for (let i = 0; i < FAULTS; i++) {
      await acting(100);
      await pick(random() < 0.6 ? own : common)();
    }
    await acting(200);
    const isAgreed = () =>
      isWell() &&
      logs.every(({ stats }) => stats.queued === 0) &&
      new Set(logs.map(({ stats }) => stats.epoch)).size === 1;
    const unhealed = await until(isAgreed, 'all instances agree').then(
      () => [],
      (error: Error) => [error.message, ...logs.map(({ stats }) => JSON.stringify(stats))],
    );
    return { ...outcome, unhealed };
  } finally {
    for (const log of logs) log.close();
    for (const connection of connections) connection.close();
  }
}
