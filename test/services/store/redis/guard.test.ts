import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { CommandGuard, GuardedReply } from '../../../../src/store/redis/guard/command-guard.js';
import { closeAfterEach } from '../../../helpers/close-after-each.js';
import { nextTurn } from '../../../helpers/event-loop.js';
import { FaultProxy } from '../../../helpers/fault-proxy.js';
import { waitFor } from '../../../helpers/http.js';
import { RedisServer, redisMajors, until } from '../../../helpers/redis.js';
import { openStore, type StoreSetup } from '../../../store/redis/open-store.js';

const closeLater = closeAfterEach();

const wordOf = (answer: GuardedReply<unknown>) => ('value' in answer ? 'value' : answer.unavailable);
const get = (guard: CommandGuard, key = 'k') => guard.read('get', (client) => client.call('GET', key));
const set = (guard: CommandGuard, value: string | Buffer = 'v') =>
  guard.write('set', (client) => client.call('SET', 'k', value, 'PX', 60_000), value.length);
const many = async (count: number, ask: () => Promise<GuardedReply<unknown>>) => {
  const words = new Map<string, number>();
  for (const answer of await Promise.all(Array.from({ length: count }, ask))) {
    words.set(wordOf(answer), (words.get(wordOf(answer)) ?? 0) + 1);
  }
  return words;
};
const sentOf = (guard: CommandGuard, operation = 'get') => guard.stats().operations.get(operation)?.sent ?? 0;
/** Short deadlines, for servers that miss them. */
const quick = { readTimeout: 50, writeTimeout: 50, firstBackoff: 50, maxBackoff: 200 };
/** Long deadlines, for servers that reply, on a busy machine. */
const patient = { ...quick, readTimeout: 2000, writeTimeout: 2000 };

describe.each(redisMajors)('the guard with %s', (_, module) => {
  const start = async (url: string, bounds: StoreSetup['bounds'] = {}, setup: StoreSetup = {}) =>
    closeLater(await openStore(module, { url }, { bounds, ...setup }));

  it('waits one deadline for a hung Redis, then only probes, and recovers [G03]', async () => {
    const server = closeLater(await RedisServer.start());
    const { guard } = await start(server.url, { ...quick, firstBackoff: 2000, maxBackoff: 2000 });
    await until(async () => wordOf(await get(guard)) === 'value', 'it answers');
    server.pause();
    const first = await many(20, () => get(guard));
    expect([...first]).toEqual([['timeout', 20]]);
    expect(guard.stats().reads).toBe('open');
    const sent = sentOf(guard);
    expect([...(await many(500, () => get(guard))).keys()]).toEqual(['open']);
    expect(sentOf(guard)).toBe(sent);
    server.resume();
    await until(async () => wordOf(await get(guard)) === 'value', 'it answers again');
    expect(guard.stats().reads).toBe('closed');
  });

  it('sends one of 1,000 simultaneous commands as a probe after the wait [G30]', async () => {
    const server = closeLater(await RedisServer.start());
    const { guard } = await start(server.url, { ...quick, firstBackoff: 20, maxBackoff: 20 });
    server.pause();
    await many(20, () => get(guard));
    await delay(30); // longer than the wait
    const sent = sentOf(guard);
    const words = await many(1000, () => get(guard));
    expect([...words].sort()).toEqual([
      ['open', 999],
      ['timeout', 1],
    ]);
    expect(sentOf(guard)).toBe(sent + 1);
    server.resume();
  });

  it('keeps the breaker open when late replies to earlier commands arrive [G30]', async () => {
    const server = closeLater(await RedisServer.start());
    const { guard } = await start(server.url, { ...quick, firstBackoff: 60_000, maxBackoff: 60_000 });
    server.pause();
    await many(20, () => get(guard));
    server.resume();
    await until(() => guard.stats().late === 20, 'they have come');
    expect(guard.stats()).toMatchObject({ outstanding: 0, reads: 'open' });
  });

  it('limits the commands and bytes that wait for a hung Redis [G05]', async () => {
    const server = closeLater(await RedisServer.start());
    const { guard } = await start(server.url, { ...quick, maxOutstanding: 10, maxOutstandingBytes: 5000 });
    server.pause();
    const reads = many(1000, () => get(guard));
    const writes = many(1000, () => set(guard, 'v'.repeat(1000)));
    expect(guard.stats().outstanding).toBe(15);
    expect([...(await reads)].sort()).toEqual([
      ['busy', 990],
      ['timeout', 10],
    ]);
    expect((await writes).get('timeout')).toBe(5);
    // Past their deadline they still count, because the connection has them in its queue.
    expect(guard.stats().outstanding).toBe(15);
    server.resume();
    await until(() => guard.stats().outstanding === 0, 'all are answered');
    await until(async () => wordOf(await set(guard)) === 'value', 'it is written again');
  });

  it("queues nothing in a user's client that has an offline queue [G06]", async () => {
    const server = closeLater(await RedisServer.start());
    const client = closeLater(new module.Redis({ port: server.port, retryStrategy: () => 50 }));
    const { guard } = closeLater(await openStore(module, { client }));
    await server.kill();
    await until(() => client.status !== 'ready', 'the loss is seen');
    const queue = (client as unknown as { offlineQueue: { length: number } }).offlineQueue;
    for (let i = 0; i < 100; i++) expect(wordOf(await get(guard))).toBe('down');
    expect(queue.length).toBe(0);
    expect(sentOf(guard)).toBe(0);
    await server.restart();
    await until(async () => wordOf(await get(guard)) === 'value', 'it answers again');
  });

  it('neither throws nor hangs after a kill under load, and recovers after a restart [G02]', async () => {
    const server = closeLater(await RedisServer.start());
    const { guard } = await start(server.url, patient);
    const words = new Set<string>();
    let isOver = false;
    const load = Array.from({ length: 20 }, async () => {
      while (!isOver) {
        words.add(wordOf(await get(guard)));
        words.add(wordOf(await set(guard)));
        await delay(1);
      }
    });
    await until(() => sentOf(guard) > 100, 'there is load');
    await server.kill();
    await until(() => words.has('down'), 'the loss is seen');
    await server.restart();
    const before = guard.stats().operations.get('get')!.answered;
    await until(() => guard.stats().operations.get('get')!.answered > before + 100, 'it answers again');
    isOver = true;
    await Promise.all(load);
    for (const word of words) expect(['value', 'down', 'connection', 'open', 'timeout']).toContain(word);
    expect(guard.stats().reads).toBe('closed');
  });

  it('keeps reading from a full Redis, and writes again once there is room [G08]', async () => {
    const server = closeLater(await RedisServer.start());
    const { guard, faults } = await start(server.url, patient);
    expect(wordOf(await set(guard))).toBe('value');
    await server.command('CONFIG', 'SET', 'maxmemory', '1');
    for (let i = 0; i < 10; i++) await set(guard);
    expect(guard.stats().operations.get('set')!.unavailable.get('oom')).toBeGreaterThanOrEqual(4);
    expect(guard.stats()).toMatchObject({ reads: 'closed', writes: 'open' });
    for (let i = 0; i < 100; i++) expect(wordOf(await get(guard))).toBe('value');
    await server.command('CONFIG', 'SET', 'maxmemory', '0');
    await until(async () => wordOf(await set(guard)) === 'value', 'it is written again');
    expect(guard.stats().writes).toBe('closed');
    expect(faults.filter((fault) => fault.includes('OOM'))).toHaveLength(1);
  });

  it('keeps reading from a master that became a replica, and stops writing [G09]', async () => {
    const server = closeLater(await RedisServer.start());
    const { guard } = await start(server.url, patient);
    await set(guard);
    await server.command('REPLICAOF', '127.0.0.1', 1);
    for (let i = 0; i < 10; i++) await set(guard);
    expect(guard.stats().operations.get('set')!.unavailable.get('readonly')).toBeGreaterThanOrEqual(4);
    expect(guard.stats()).toMatchObject({ reads: 'closed', writes: 'open' });
    await until(async () => wordOf(await get(guard)) === 'value', 'it is read');
    await server.command('REPLICAOF', 'NO', 'ONE');
    await until(async () => wordOf(await set(guard)) === 'value', 'it is written again');
  });

  it('finds the new master at the same address when the old one keeps the connection [G09]', async () => {
    const old = closeLater(await RedisServer.start());
    const next = closeLater(await RedisServer.start());
    let { port } = old;
    const proxy = closeLater(await FaultProxy.start(() => port));
    const { guard } = await start(proxy.url, patient);
    expect(wordOf(await set(guard))).toBe('value');
    port = next.port;
    await old.command('REPLICAOF', '127.0.0.1', next.port);
    await until(async () => wordOf(await set(guard)) === 'value', 'it is written again');
    expect(await next.command('GET', 'k')).toBe('v');
  });

  it('reports an access rule that forbids writes once, and keeps reading [G09]', async () => {
    const server = closeLater(await RedisServer.start());
    await server.command(
      'ACL',
      'SETUSER',
      'reader',
      'on',
      '>pw',
      '~*',
      '+@read',
      '+@connection',
      '+info',
      '+time',
    );
    const { guard, faults } = await start(`redis://reader:pw@127.0.0.1:${server.port}`, patient);
    for (let i = 0; i < 20; i++) await set(guard);
    for (let i = 0; i < 20; i++) expect(wordOf(await get(guard))).toBe('value');
    expect(guard.stats()).toMatchObject({ reads: 'closed', writes: 'open' });
    expect(faults.filter((fault) => /access rules \(ACL\)/.test(fault))).toHaveLength(1);
  });

  it.each([
    ['LOADING Redis is loading the dataset in memory', 'loading'],
    ['MISCONF Redis is configured to save RDB snapshots', 'misconf'],
    ['CLUSTERDOWN The cluster is down', 'clusterdown'],
    ['MASTERDOWN Link with MASTER is down', 'masterdown'],
    ['NOAUTH Authentication required.', 'noauth'],
    ['NOPERM this user has no permissions', 'noperm'],
    ['BUSY Redis is busy running a script.', 'busy'],
    ['WEIRD of a later version', 'connection'],
  ])('opens the breaker for `%s`, reports it once, and throws nothing [G09]', async (message, word) => {
    const server = closeLater(await FakeRedis.start(message));
    const { guard, faults } = await start(
      server.url,
      { ...patient, firstBackoff: 60_000, maxBackoff: 60_000 },
      { wait: false },
    );
    await until(() => guard.stats().isReady, 'it is there');
    for (let i = 0; i < 30; i++) await get(guard);
    for (let i = 0; i < 30; i++) await set(guard);
    expect(guard.stats()).toMatchObject({ reads: 'open', writes: 'open' });
    expect(guard.stats().operations.get('get')!.unavailable.get(word)).toBe(5);
    expect(faults.filter((fault) => fault.startsWith('redis read'))).toHaveLength(1);
    if (word === 'noauth') expect(faults.join()).toContain('asks for a password');
  });

  it('keeps the breaker closed for errors of a single command', async () => {
    const server = closeLater(await RedisServer.start());
    const { guard } = await start(server.url);
    await server.command('RPUSH', 'k', 'a');
    for (let i = 0; i < 50; i++) expect(wordOf(await get(guard))).toBe('wrongtype');
    const nonsense = () => guard.read('get', (client) => client.call('GET'));
    for (let i = 0; i < 50; i++) expect(wordOf(await nonsense())).toBe('err');
    expect(guard.stats().reads).toBe('closed');
  });

  it('accepts a reply in time when only this process was slow, and delivers it once', async () => {
    const server = closeLater(await RedisServer.start());
    const { guard, faults } = await start(server.url, { readTimeout: 50 });
    await server.command('SET', 'k', 'v');
    // With a full window of successes, only the guard ensures a single report.
    for (let well = 0; well < 30; ) well = wordOf(await get(guard)) === 'value' ? well + 1 : 0;
    const before = { faults: faults.length, late: guard.stats().late };
    for (let i = 0; i < 5; i++) {
      const told: unknown[] = [];
      guard.ask(
        'get',
        (client) => client.call('GET', 'k'),
        (answer) => void told.push(answer),
      );
      await nextTurn(); // the command is sent
      const until = performance.now() + 150;
      while (performance.now() < until); // blocks the whole process
      await waitFor(() => told.length > 0);
      for (let turn = 0; turn < 5; turn++) await nextTurn();
      expect(told).toEqual([{ value: 'v' }]);
    }
    expect({ faults: faults.length, late: guard.stats().late }).toEqual(before);
  });

  it('treats replies slower than the deadline like an outage, and waits no longer [G07]', async () => {
    const server = closeLater(await RedisServer.start());
    const proxy = closeLater(await FaultProxy.start(server.port));
    const { guard } = await start(proxy.url, { ...quick, readTimeout: 100 });
    proxy.set({ latency: 500 });
    expect([...(await many(20, () => get(guard))).keys()]).toEqual(['timeout']);
    expect(guard.stats().reads).toBe('open');
    proxy.set({});
    await until(async () => wordOf(await get(guard)) === 'value', 'it answers again');
  });

  it('gives up a connection whose other end is silently gone [G03]', async () => {
    const server = closeLater(await RedisServer.start());
    const proxy = closeLater(await FaultProxy.start(server.port));
    const { guard } = await start(proxy.url, { ...quick, hungAfter: 200 });
    const { connections } = proxy;
    proxy.set({ blackHole: 'both' });
    await until(async () => {
      await get(guard);
      return proxy.connections > connections;
    }, 'another connection is tried');
    proxy.set({});
    await until(async () => wordOf(await get(guard)) === 'value', 'it answers again');
  });

  it('sends nothing after `close`', async () => {
    const server = closeLater(await RedisServer.start());
    const { guard, connection } = await start(server.url);
    guard.close();
    expect(connection.client).toBeDefined();
    expect(wordOf(await get(guard))).toBe('down');
    expect(sentOf(guard)).toBe(0);
  });
});

/** Accepts connections like Redis, and answers every other command with one error. */
class FakeRedis {
  readonly url: string;
  readonly #close: () => void;

  private constructor(port: number, close: () => void) {
    this.url = `redis://127.0.0.1:${port}`;
    this.#close = close;
  }

  static async start(message: string): Promise<FakeRedis> {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      let text = '';
      socket.on('data', (data) => {
        text += data.toString('latin1');
        for (let match = command.exec(text); match; match = command.exec(text)) {
          text = text.slice(match[0].length);
          // An array of bulk strings; the name is the first.
          const name = /\$\d+\r\n(\w+)/.exec(match[0])![1]!.toUpperCase();
          if (name === 'INFO') socket.write('$22\r\nredis_version:7.0.15\r\n\r\n');
          else if (name === 'CLIENT') socket.write('+OK\r\n');
          else if (name === 'HELLO') socket.write("-ERR unknown command 'HELLO'\r\n");
          else socket.write(`-${message}\r\n`);
        }
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new FakeRedis((server.address() as AddressInfo).port, () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
  }

  stop(): void {
    this.#close();
  }
}

/** One complete command. No command of the tests contains a line end. */
const command = /^\*\d+\r\n(?:\$\d+\r\n[^\r]*\r\n)+(?=\*|$)/;
