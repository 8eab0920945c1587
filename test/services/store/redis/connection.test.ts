import { AsyncLocalStorage } from 'node:async_hooks';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import type * as ioredis5 from 'ioredis';
import type * as ioredis6 from 'ioredis6';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { isRedisClient, type RedisClient } from '../../../../src/store/redis/connection/ioredis-client.js';
import {
  type ConnectionOptions,
  RedisConnection,
  type RedisSource,
} from '../../../../src/store/redis/connection/redis-connection.js';
import { closeAfterEach } from '../../../helpers/close-after-each.js';
import { FaultProxy } from '../../../helpers/fault-proxy.js';
import { program } from '../../../helpers/program.js';
import {
  loadOf,
  RedisServer,
  redisMajors,
  startCluster,
  startReplicated,
  until,
} from '../../../helpers/redis.js';

const times = { firstDelay: 10, maxDelay: 100, readyWithin: 300 };
const closeLater = closeAfterEach();
const execute = promisify(execFile);

it('needs only methods that the clients of both majors have', () => {
  expectTypeOf<ioredis5.Redis>().toExtend<RedisClient>();
  expectTypeOf<ioredis5.Cluster>().toExtend<RedisClient>();
  expectTypeOf<ioredis6.Redis>().toExtend<RedisClient>();
  expectTypeOf<ioredis6.Cluster>().toExtend<RedisClient>();
});

describe.each(redisMajors)('a connection of %s', (_, module) => {
  const start = (source: RedisSource, options: Partial<ConnectionOptions> = {}) => {
    const faults: string[] = [];
    const connection = closeLater(
      new RedisConnection(source, {
        onFault: (error) => faults.push(error.message),
        load: loadOf(module),
        times,
        ...options,
      }),
    );
    return { connection, faults };
  };
  const untilReady = (link: { client: RedisClient | undefined }) =>
    until(() => link.client !== undefined, 'the connection is ready');

  /** The number of writes to the system during `run`. */
  const writesOf = async (client: RedisClient, run: () => Promise<unknown>): Promise<number> => {
    const { _handle: handle } = (client as unknown as { stream: { _handle: Record<string, unknown> } })
      .stream;
    let writes = 0;
    for (const name of [
      'writev',
      'writeBuffer',
      'writeUtf8String',
      'writeLatin1String',
      'writeAsciiString',
    ]) {
      const write = handle[name] as (...args: unknown[]) => unknown;
      handle[name] = (...args: unknown[]) => {
        writes++;
        return write.apply(handle, args);
      };
    }
    await run();
    return writes;
  };
  const askThrice = (connection: RedisConnection) => {
    const ask = () => {
      connection.corkForThisTurn();
      return connection.client!.call('PING');
    };
    return Promise.all([ask(), ask(), ask()]);
  };

  it('sends the commands of one event loop turn in one write, and answers each', async () => {
    const server = closeLater(await RedisServer.start());
    const { connection } = start({ url: server.url });
    await untilReady(connection);
    const writes = await writesOf(connection.client!, async () => {
      for (let i = 0; i < 2; i++) expect(await askThrice(connection)).toEqual(['PONG', 'PONG', 'PONG']);
    });
    expect(writes).toBe(2);
  });

  it('is made from a URL or from options', async () => {
    const server = closeLater(await RedisServer.start({ password: 'geheim' }));
    for (const source of [{ url: server.url }, { options: { port: server.port, password: 'geheim' } }]) {
      const { connection } = start(source);
      await untilReady(connection);
      expect(await connection.client!.call('PING')).toBe('PONG');
    }
  });

  it('connects later, without an error, to a Redis that is down at start [G01]', async () => {
    const server = closeLater(await RedisServer.prepare());
    const { connection, faults } = start({ url: server.url });
    await until(() => faults.length > 0, 'the failure is told');
    expect(connection.client).toBeUndefined();
    await server.restart();
    await untilReady(connection);
    expect(await connection.client!.call('PING')).toBe('PONG');
  });

  it('reconnects after a kill, and notifies listeners of the loss and of the return', async () => {
    const server = closeLater(await RedisServer.start());
    const { connection } = start({ url: server.url });
    const events: string[] = [];
    connection.onReady(() => events.push('ready'));
    connection.onLost(() => events.push('lost'));
    await untilReady(connection);
    await server.kill();
    await until(() => connection.client === undefined, 'the loss is seen');
    await server.restart();
    await untilReady(connection);
    expect(events).toEqual(['ready', 'lost', 'ready']);
  });

  it('reconnects in the async context of no client, also when a request began it [H12]', async () => {
    const server = closeLater(await RedisServer.start());
    const users = new AsyncLocalStorage<string>();
    const { connection } = start({ url: server.url });
    await untilReady(connection);
    const seen: (string | undefined)[] = [];
    connection.onLost(() => seen.push(users.getStore()));
    connection.onReady(() => seen.push(users.getStore()));
    users.run('alice', () => connection.restart());
    await until(() => seen.length === 3, 'the connection is back');
    expect(seen).toEqual([undefined, undefined, undefined]);
  });

  it('gives up a server that accepts and never answers, and reconnects when it answers [G03]', async () => {
    const server = closeLater(await RedisServer.start());
    const proxy = closeLater(await FaultProxy.start(server.port));
    server.pause();
    const { connection, faults } = start({ url: proxy.url });
    await until(() => faults.some((fault) => fault.includes('no reply within')), 'the attempt is given up');
    await until(() => proxy.connections >= 3, 'others have been made');
    server.resume();
    await untilReady(connection);
  });

  it('ends a connection to a hung server at once with `restart` [G22]', async () => {
    const server = closeLater(await RedisServer.start());
    const { connection } = start({ url: server.url });
    await untilReady(connection);
    const hung = connection.client!;
    const { stream } = hung as unknown as { stream: Socket };
    server.pause();
    const pending = hung.call('PING').catch((error: Error) => error);
    connection.restart();
    expect(connection.client).toBeUndefined();
    // Destroyed, because the other side would never end its half of the connection.
    expect(stream.destroyed).toBe(true);
    expect(await pending).toBeInstanceOf(Error);
    server.resume();
    await untilReady(connection);
    expect(connection.client).not.toBe(hung);
  });

  it('tries less often while Redis is down, up to the cap [G32]', async () => {
    const server = closeLater(await RedisServer.start());
    const proxy = closeLater(await FaultProxy.start(server.port));
    const { connection } = start({ url: proxy.url });
    await untilReady(connection);
    const begun = Date.now();
    const before = proxy.connections;
    const breaker = setInterval(() => proxy.reset(), 1);
    try {
      await until(() => Date.now() - begun > 1500, 'a while has passed');
    } finally {
      clearInterval(breaker);
    }
    // Half of the cap, 50 ms, is the shortest wait between two attempts, once the first few have doubled up to it.
    expect(proxy.connections - before).toBeLessThan((Date.now() - begun) / 50 + 8);
    expect(proxy.connections - before).toBeGreaterThan(3);
    await untilReady(connection);
  });

  it('reports errors without passwords, and not too often [K14]', async () => {
    const server = closeLater(await RedisServer.start({ password: 'right' }));
    const { faults } = start({ url: `redis://:s3cret@127.0.0.1:${server.port}` });
    const down = start({ url: 'redis://user:s3cret@127.0.0.1:1' });
    await until(() => faults.length > 0 && down.faults.length > 0, 'both are told');
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(faults.join('\n')).toMatch(/refuses the user name or the password/);
    expect([...faults, ...down.faults].join('\n')).not.toContain('s3cret');
    expect(faults.length).toBeLessThan(5);
    expect(down.faults.length).toBeLessThan(5);
  });

  it('closes idempotently, with its duplicates, and never reconnects', async () => {
    const server = closeLater(await RedisServer.start());
    const proxy = closeLater(await FaultProxy.start(server.port));
    const { connection } = start({ url: proxy.url });
    const other = connection.duplicate();
    await untilReady(connection);
    await untilReady(other);
    connection.close();
    connection.close();
    expect(connection.client).toBeUndefined();
    expect(other.client).toBeUndefined();
    await until(() => proxy.open === 0, 'all is closed');
    const { connections } = proxy;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(proxy.connections).toBe(connections);
    expect(connection.duplicate().client).toBeUndefined();
  });

  describe("with the user's client", () => {
    it('keeps the client as it is: never closed, never changed, with its listeners [G20]', async () => {
      const server = closeLater(await RedisServer.start());
      const client = closeLater(new module.Redis({ port: server.port, keyPrefix: 'app:' }));
      expect(isRedisClient(client)).toBe(true);
      const before = { options: { ...client.options }, listeners: client.listenerCount('error') };
      const { connection } = start({ client });
      await untilReady(connection);
      await connection.client!.call('SET', 'a', '1', 'PX', 10_000);
      connection.restart();
      connection.close();
      expect(connection.client).toBeUndefined();
      expect(await client.get('a')).toBe('1');
      expect(await server.command('GET', 'app:a')).toBe('1');
      expect({ options: { ...client.options }, listeners: client.listenerCount('error') }).toEqual(before);
    });

    it('reports errors of a client without a listener, without repeats on the console [G19]', async () => {
      const server = closeLater(await RedisServer.start());
      const client = closeLater(new module.Redis({ port: server.port, retryStrategy: () => 10 }));
      const { connection, faults } = start({ client });
      await untilReady(connection);
      await server.kill();
      await until(() => faults.length > 0, 'the failure is told');
      expect(connection.client).toBeUndefined();
      await server.restart();
      await untilReady(connection);
    });

    it('leaves the writes of the client as they are', async () => {
      const server = closeLater(await RedisServer.start());
      const client = closeLater(new module.Redis(server.url)) as unknown as RedisClient;
      const { connection } = start({ client });
      await untilReady(connection);
      expect(await writesOf(client, () => askThrice(connection))).toBe(3);
    });

    it('connects a lazy client, as its first command would', async () => {
      const server = closeLater(await RedisServer.start());
      const client = closeLater(new module.Redis({ port: server.port, lazyConnect: true }));
      const { connection } = start({ client });
      await untilReady(connection);
    });

    it('makes duplicates without an offline queue, with the key prefix [G06]', async () => {
      const server = closeLater(await RedisServer.start());
      const client = closeLater(new module.Redis({ port: server.port, keyPrefix: 'app:' }));
      const { connection } = start({ client });
      const other = connection.duplicate();
      await untilReady(other);
      expect(other.client).not.toBe(client);
      await other.client!.call('SET', 'a', '1', 'PX', 10_000);
      expect(await server.command('GET', 'app:a')).toBe('1');
      const own = other.client!;
      connection.close();
      await expect(own.call('GET', 'a')).rejects.toThrow();
      expect(await client.get('a')).toBe('1');
    });

    it('accepts a Cluster, whose duplicates reach every slot [G28]', async () => {
      const servers = await startCluster();
      for (const server of servers) closeLater(server);
      const client = closeLater(
        new module.Cluster([{ port: servers[0]!.port, host: '127.0.0.1' }], { keyPrefix: 'app:' }),
      );
      expect(isRedisClient(client)).toBe(true);
      const { connection } = start({ client });
      await untilReady(connection);
      const other = connection.duplicate();
      await untilReady(other);
      for (let at = 0; at < 20; at++) await other.client!.call('SET', `k${at}`, at, 'PX', 10_000);
      for (let at = 0; at < 20; at++) expect(await connection.client!.call('GET', `k${at}`)).toBe(String(at));
      expect(await client.get('k3')).toBe('3');
      const own = other.client!;
      connection.close();
      await expect(own.call('GET', 'k1')).rejects.toThrow();
      expect(await client.get('k3')).toBe('3');
    }, 60_000);
  });

  it('follows the master that a Sentinel has chosen [G29]', async () => {
    const { master, replica, sentinel } = await startReplicated();
    for (const server of [master, replica, sentinel]) closeLater(server);
    const { connection } = start({
      options: { sentinels: [{ host: '127.0.0.1', port: sentinel.port }], name: 'main' },
    });
    await untilReady(connection);
    await connection.client!.call('SET', 'a', '1', 'PX', 100_000);
    await master.kill();
    await until(async () => {
      const role = await connection.client?.call('ROLE').catch(() => undefined);
      return Array.isArray(role) && role[0] === 'master' && connection.client !== undefined;
    }, 'the new master is reached');
    expect(await replica.command('ROLE')).toContain('master');
    expect(await connection.client!.call('SET', 'b', '1', 'PX', 100_000)).toBe('OK');
  }, 60_000);
});

it('lets the process exit while a connection is open, with Redis up or down', async () => {
  const server = closeLater(await RedisServer.start());
  const { execArgv, file } = program('test/store/redis/fixtures/lingering.mts');
  for (const url of [server.url, 'redis://127.0.0.1:1']) {
    const child = spawn(process.execPath, [...execArgv, file, url], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (data) => (output += data));
    const [code] = await once(child, 'exit');
    expect({ code, output }).toEqual({ code: 0, output: url === server.url ? 'PONG\n' : 'down\n' });
  }
});

it('connects in a program that esbuild has bundled with ioredis and split into files', async () => {
  const server = closeLater(await RedisServer.start());
  const folder = await mkdtemp(join(tmpdir(), 'hotpath-bundled-'));
  closeLater({ close: () => rm(folder, { recursive: true, force: true }) });
  await build({
    entryPoints: ['test/store/redis/fixtures/lingering.mts'],
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    banner: {
      js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);",
    },
  });
  const { stdout } = await execute(process.execPath, [join(folder, 'lingering.mjs'), server.url]);
  expect(stdout).toBe('PONG\n');
});
