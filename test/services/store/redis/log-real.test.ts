import { afterEach, describe, expect, it, vi } from 'vitest';
import { VOID } from '../../../../src/store/invalidation/invalidation-log.js';
import { compileSelector, type Selector } from '../../../../src/store/invalidation/selector.js';
import {
  RedisConnection,
  type RedisSource,
} from '../../../../src/store/redis/connection/redis-connection.js';
import { RedisLog, type RedisLogOptions } from '../../../../src/store/redis/log/redis-log.js';
import { RedisStream, type StreamBounds, streamLink } from '../../../../src/store/redis/log/redis-stream.js';
import { ServerClock } from '../../../../src/store/redis/server-clock.js';
import type { Stamped } from '../../../../src/store/stored-response.js';
import { loadOf, RedisServer, redisMajors, startCluster } from '../../../helpers/redis.js';
import { SimulatedServer } from '../../../helpers/simulated-redis.js';
import { randomOf, VirtualTime } from '../../../helpers/virtual-time.js';

const KEY = 'hp:log';
const FRESH = Number.POSITIVE_INFINITY;
const ends: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(setup?: Parameters<typeof RedisServer.start>[0]): Promise<RedisServer> {
  const server = await RedisServer.start(setup);
  ends.push(() => server.stop());
  return server;
}

type Module = (typeof redisMajors)[number][1];

/** An instance, with times short enough for a test. */
function join(source: RedisSource, module: Module, options: Partial<RedisLogOptions> & StreamBounds = {}) {
  const connection = new RedisConnection(source, {
    onFault: () => {},
    load: loadOf(module),
    times: { maxDelay: 200 },
  });
  const log = new RedisLog({
    follower: streamLink(connection.duplicate(), KEY, options),
    writer: streamLink(connection, KEY, options),
    clock: new ServerClock(),
    heartbeat: 100,
    slack: 1000,
    ...options,
  });
  ends.push(() => {
    log.close();
    connection.close();
  });
  const entry = (fields: Partial<Stamped> = {}): Stamped => ({
    stamp: log.position,
    storedAt: performance.now(),
    tags: ['x'],
    url: '/a',
    path: '/a',
    ...fields,
  });
  return {
    log,
    entry,
    record: (selector: Selector) => log.record('purge', compileSelector(selector)),
    ready: () => until(() => log.canShare),
  };
}

function until(condition: () => boolean): Promise<void> {
  return vi.waitFor(() => expect(condition()).toBe(true), { timeout: 15_000, interval: 10 });
}

describe.each(redisMajors)('the log on a real Redis with %s', (_name, module) => {
  it('acknowledges a purge, voids entries on the other instance, limits key life [H07, G16, G38]', async () => {
    const server = await start();
    const [a, b] = [join({ url: server.url }, module), join({ url: server.url }, module)];
    await Promise.all([a.ready(), b.ready()]);
    const [meant, other] = [b.entry(), b.entry({ tags: ['y'] })];
    expect(await a.record({ tag: 'x' })).toMatchObject({ acknowledged: true });
    await until(() => b.log.limit(meant) === VOID);
    expect(b.log.limit(other)).toBe(FRESH);
    expect(Number(await server.command('PTTL', KEY))).toBeGreaterThan(29 * 24 * 3600 * 1000);
  });

  it('agrees on one epoch when an instance has no permission for INFO', async () => {
    const server = await start();
    await server.command('ACL', 'SETUSER', 'shy', 'on', '>password', '~*', '+@all', '-info');
    const url = `redis://shy:password@127.0.0.1:${server.port}`;
    const [named, shy] = [join({ url: server.url }, module), join({ url }, module)];
    const agree = () =>
      named.log.stats.epoch === shy.log.stats.epoch && named.log.canShare && shy.log.canShare;
    await until(agree);
    for (const [by, other] of [
      [named, shy],
      [shy, named],
    ] as const) {
      const entry = other.entry();
      expect(await by.record({ tag: 'x' })).toMatchObject({ acknowledged: true });
      await until(() => other.log.limit(entry) === VOID);
    }
    const { epoch, heardAt } = shy.log.stats;
    // Each heartbeat checks the epoch of the stream.
    await until(() => [named, shy].every(({ log }) => log.stats.heardAt > heardAt + 500));
    expect([named.log.stats.epoch, shy.log.stats.epoch]).toEqual([epoch, epoch]);
  });

  it("keeps the key prefix of a user's client, and leaves the client open [G25]", async () => {
    const server = await start();
    const client = new module.Redis(server.url, { keyPrefix: 'shop:' });
    ends.push(() => client.disconnect());
    const { log, ready, record } = join({ client: client as never }, module);
    await ready();
    expect(await record({ url: '/ä?q=\u{1f600}' })).toMatchObject({ acknowledged: true });
    expect(await server.command('KEYS', '*')).toEqual([`shop:${KEY}`]);
    log.close();
    expect(await client.ping()).toBe('PONG');
  });

  it('works on a cluster [G28]', async () => {
    const servers = await startCluster();
    ends.push(...servers.map((server) => () => server.stop()));
    const nodes = servers.map(({ port }) => ({ host: '127.0.0.1', port }));
    const client = new module.Cluster(nodes);
    ends.push(() => client.disconnect());
    const wait = { replicas: 0, timeout: 100 };
    const [a, b] = [0, 1].map(() => join({ client: client as never }, module, { wait })) as [Joined, Joined];
    await Promise.all([a.ready(), b.ready()]);
    const entry = b.entry();
    expect(await a.record({ tag: 'x' })).toMatchObject({ acknowledged: true, replicas: 0 });
    await until(() => b.log.limit(entry) === VOID);
  });

  it('behaves like the simulated stream of the chaos test', async () => {
    const server = await start();
    const client = new module.Redis(server.url);
    ends.push(() => client.disconnect());
    const real = new RedisStream(client as never, KEY);
    const fake = new SimulatedServer(new VirtualTime(randomOf(1)), { maxRecords: 100_000, isNamed: true });
    // Names and times differ between the two.
    const same = (value: unknown) =>
      JSON.stringify([value])
        .replaceAll(/[\w-]+\.\w{5,}/g, 'EPOCH')
        .replaceAll(/"server":"\w+"/g, 'NAME')
        .replaceAll(/\b\d{9,}\b/g, 'TIME');
    const agree = async (ours: unknown, theirs: Promise<unknown>) =>
      expect(same(await theirs)).toEqual(same(ours));
    const bodies = [
      { code: 'pt', cause: 'app', value: 'a tag with spaces' },
      { code: 'pu', cause: 'client', value: '/a?b' },
      { code: 'xa', cause: 'app', value: '' },
    ] as const;
    const both = async (applied: number) => {
      await agree(fake.state(applied), real.state(applied));
      let entries: unknown;
      fake.read(applied, 100, 0, (found) => {
        entries = found;
      });
      await agree(entries, real.read(`${applied}-0`, 100, 0));
      return [fake.state(0).epoch, (await real.state(0)).epoch] as const;
    };
    await both(0);
    await agree(fake.begin('', 7), real.begin('', 7));
    await agree(fake.begin('', 7), real.begin('', 7));
    const [f1, r1] = await both(8);
    await agree(fake.append(f1, 8, bodies), real.append(r1, 8, bodies));
    await agree(fake.append('other.one', 8, bodies), real.append('other.one', 8, bodies));
    await agree(fake.append(f1, 80, bodies), real.append(r1, 80, bodies));
    await agree(fake.begin(f1, 3), real.begin(r1, 3));
    await agree(fake.append(f1, 8, bodies), real.append(r1, 8, bodies));
    await both(9);
    fake.empty();
    await server.command('DEL', KEY);
    await agree(fake.append(f1, 50, bodies), real.append(r1, 50, bodies));
    const [f2, r2] = await both(51);
    await agree(fake.begin(f2, 90), real.begin(r2, 90));
    await both(91);
    await agree(fake.begin(undefined, 90), real.begin(undefined, 90));
    await both(92);
    // An epoch made for another server: nothing is appended to it here.
    const foreign = 'abcdefghijkl.another';
    await server.command('XADD', KEY, '200-0', 'r', `1 ${foreign} pt 1 x`);
    expect(await real.state(0)).toMatchObject({ last: 200, epoch: foreign });
    expect(await real.append(foreign, 200, bodies)).toEqual({ result: 'epoch' });
    expect(await real.begin(foreign, 200)).toMatchObject({ id: '201-0', position: 201 });
    // A writer that follows another server does not start a stream here either.
    await server.command('DEL', KEY);
    fake.empty();
    await agree(fake.append(foreign, 200, bodies), real.append(foreign, 200, bodies));
    expect(await real.state(0)).toMatchObject({ last: 0, epoch: '' });
  });

  it('begins a new epoch for a stream that others write into or spoil [G11, G24]', async () => {
    const server = await start();
    const { log, entry, ready, record } = join({ url: server.url }, module);
    await ready();
    for (const id of ['*', '18446744073709551615-5']) {
      const before = entry();
      await server.command('XADD', KEY, id, '__proto__', 'polluted');
      await until(() => log.limit(before) === VOID && log.canShare);
      const later = entry();
      expect(await record({ tag: 'x' })).toMatchObject({ acknowledged: true });
      expect([log.limit(later), log.limit(entry())]).toEqual([VOID, FRESH]);
    }
    expect(log.stats.counts.garbage).toBeGreaterThan(0);
  });
});

type Joined = ReturnType<typeof join>;

describe('a real Redis that fails', () => {
  const [, module] = redisMajors[0];

  it('voids entries of both instances after a kill and an empty restart, and recovers [G02, G37]', async () => {
    const server = await start();
    const [a, b] = [join({ url: server.url }, module), join({ url: server.url }, module)];
    await Promise.all([a.ready(), b.ready()]);
    await a.record({ tag: 'unrelated' });
    const entries = [a.entry(), b.entry()];
    await server.kill();
    expect(await a.record({ tag: 'meanwhile' })).toMatchObject({ acknowledged: false });
    expect(a.log.canShare).toBe(false);
    await server.restart();
    await until(() => a.log.canShare && b.log.canShare && a.log.stats.epoch === b.log.stats.epoch);
    expect([a.log.limit(entries[0]!), b.log.limit(entries[1]!)]).toEqual([VOID, VOID]);
    expect(a.log.stats.queued).toBe(0);
    const later = b.entry();
    expect(await a.record({ tag: 'x' })).toMatchObject({ acknowledged: true });
    await until(() => b.log.limit(later) === VOID);
  });

  it('serves nothing that was lost in a restart from its file [G37]', async () => {
    const server = await start({ persistent: true });
    const { log, entry, ready, record } = join({ url: server.url }, module);
    await ready();
    await record({ tag: 'x' });
    const before = entry();
    const { epoch } = log.stats;
    await server.restart();
    await until(() => log.stats.epoch !== epoch && log.canShare);
    expect(log.limit(before)).toBe(VOID);
  });

  it('begins a new epoch when a replica without the last record takes over [G37]', async () => {
    const master = await start();
    const replica = await start({ replicaOf: master.port });
    await vi.waitFor(
      async () => expect((await replica.info('replication')).get('master_link_status')).toBe('up'),
      { timeout: 15_000 },
    );
    const a = join({ url: master.url }, module);
    await a.ready();
    await a.record({ tag: 'one' });
    await vi.waitFor(async () => expect(await replica.command('XLEN', KEY)).toBe(2), { timeout: 15_000 });
    // A replica is no server to follow.
    const b = join({ url: replica.url }, module);
    replica.pause();
    await a.record({ tag: 'lost' });
    await master.kill();
    replica.resume();
    expect(b.log.canShare).toBe(false);
    await replica.command('REPLICAOF', 'NO', 'ONE');
    await b.ready();
    expect(b.log.stats.epoch).not.toBe(a.log.stats.epoch);
    expect(await b.record({ tag: 'x' })).toMatchObject({ acknowledged: true });
  });

  it('detects a silent pause, and applies purges of that time locally, later everywhere [G22]', async () => {
    const server = await start();
    const options = { maxStaleness: 1500 };
    const [a, b] = [join({ url: server.url }, module, options), join({ url: server.url }, module, options)];
    await Promise.all([a.ready(), b.ready()]);
    const [here, there, other] = [a.entry(), b.entry(), b.entry({ tags: ['y'] })];
    server.pause();
    try {
      expect(await a.record({ tag: 'x' })).toMatchObject({ acknowledged: false });
      expect(a.log.limit(here)).toBe(VOID);
      await until(() => b.log.limit(other) === VOID);
    } finally {
      server.resume();
    }
    await until(() => a.log.stats.queued === 0 && b.log.canShare && b.log.limit(there) === VOID);
    await until(() => b.log.limit(other) === FRESH);
  });

  it('keeps purges while memory is full, and does not read Redis meanwhile [G08]', async () => {
    const server = await start({ maxMemory: '100mb' });
    const { log, ready, record } = join({ url: server.url }, module);
    await ready();
    await server.command('CONFIG', 'SET', 'maxmemory', '1');
    expect(await record({ tag: 'x' })).toMatchObject({ acknowledged: false });
    expect(log.canShare).toBe(false);
    await server.command('CONFIG', 'SET', 'maxmemory', '100mb');
    await until(() => log.canShare && log.stats.queued === 0);
  });

  it('reports from WAIT how many replicas have the record', async () => {
    const master = await start();
    const replica = await start({ replicaOf: master.port });
    const online = async () => (await master.info('replication')).get('slave0');
    await vi.waitFor(async () => expect(await online()).toContain('state=online'), { timeout: 15_000 });
    const wait = { replicas: 1, timeout: 2000 };
    const { ready, record } = join({ url: master.url }, module, { wait, appendDeadline: 10_000 });
    await ready();
    expect(await record({ tag: 'x' })).toMatchObject({ acknowledged: true, replicas: 1 });
    replica.pause();
    expect(await record({ tag: 'x' })).toMatchObject({ acknowledged: true, replicas: 0 });
    replica.resume();
  });

  it('samples the clock of Redis with each reading [G36]', async () => {
    const server = await start();
    const clock = new ServerClock();
    const { ready } = join({ url: server.url }, module, { clock });
    await ready();
    // The server uses the clock of this machine. A sample errs by half a round trip, which is under a second here.
    const now = performance.now();
    expect(Math.abs(clock.toShared(now) - (performance.timeOrigin + now))).toBeLessThan(1000);
  });

  it('uses no command that reads other keys or scans Redis [G27]', async () => {
    const server = await start();
    const { ready, record, log } = join({ url: server.url }, module);
    await ready();
    await record({ tag: 'x' });
    await record({ all: true });
    await until(() => log.stats.counts.records >= 2);
    const info = await server.info('commandstats');
    const used = [...info.keys()].map((name) => name.replace('cmdstat_', '').split('|')[0]!);
    const allowed =
      'evalsha eval xread xadd xinfo xrange exists pttl pexpire info time hello client auth ping select command';
    expect(used.filter((name) => !allowed.split(' ').includes(name))).toEqual([]);
  });

  it('keeps 100,000 records, and a new instance reads them all', async () => {
    const server = await start();
    const a = join({ url: server.url }, module);
    await a.ready();
    const names = Array.from({ length: 100_500 }, (_, i) => `product:${i}`);
    const recorded = await Promise.all(names.map((tag) => a.record({ tag })));
    expect(recorded.every(({ acknowledged }) => acknowledged)).toBe(true);
    expect(Number(await server.command('XLEN', KEY))).toBeLessThanOrEqual(100_100);
    const b = join({ url: server.url }, module);
    await b.ready();
    expect(b.log.stats.counts.records).toBeGreaterThanOrEqual(100_000);
    const stamp = b.log.fromShared(a.log.toShared(a.log.position)!)!;
    expect(b.log.limit(b.entry({ tags: ['product:50000'], stamp: stamp - 90_000 }))).toBe(VOID);
    expect(b.log.limit(b.entry({ tags: ['unheard of'], stamp: stamp - 90_000 }))).toBe(FRESH);
  }, 60_000);
});
