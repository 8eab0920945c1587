import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import * as ioredis5 from 'ioredis';
import * as ioredis6 from 'ioredis6';
import type { RedisModule } from '../../src/store/redis/connection/ioredis-client.js';
import { findRedis } from '../setup/services.js';
import { freePort } from './port.js';
import { scratchFolder } from './scratch.js';

const { Redis } = ioredis5;

/** The supported majors of ioredis: a name and the module. */
export const redisMajors = [
  ['ioredis 5', ioredis5],
  ['ioredis 6', ioredis6 as unknown as typeof ioredis5],
] as const;

/** The module that `RedisConnection` takes in place of the installed ioredis. */
export function loadOf(module: typeof ioredis5): () => Promise<RedisModule> {
  return () => Promise.resolve(module);
}

/** Options of a Redis for tests. */
export interface RedisSetup {
  /** Keeps its data over a restart, in an append-only file with `fsync` at every write. Default false. */
  readonly persistent?: boolean;
  /** For example `'10mb'`. Redis rejects writes over it (`noeviction`). */
  readonly maxMemory?: string;
  readonly password?: string;
  /** The port of the master on this machine. */
  readonly replicaOf?: number;
  /** Further settings, with the names of `redis.conf`. */
  readonly settings?: Readonly<Record<string, string>>;
}

const READY_WITHIN_MS = 20_000;

const running = new Set<ChildProcess>();
let watchdog: ChildProcess | undefined;

/** Ends a server when this process ends, even when it is killed. One shell watches all servers: each start costs time. */
function endWithThisProcess(child: ChildProcess): void {
  if (!watchdog) {
    // Its input ends with this process. Each line names all servers that run.
    const script = 'while read -r line; do pids=$line; done; [ -z "$pids" ] || kill -9 $pids';
    const shell = spawn('sh', ['-c', script], { stdio: ['pipe', 'ignore', 'ignore'] });
    shell.stdin.on('error', () => {});
    // This process may end while it watches.
    shell.unref();
    (shell.stdin as Socket).unref();
    watchdog = shell;
  }
  const { stdin } = watchdog;
  const tell = () => stdin!.write(`${[...running].map(({ pid }) => pid).join(' ')}\n`);
  running.add(child);
  tell();
  // Another process may get the id of a server that has ended.
  child.once('exit', () => {
    running.delete(child);
    tell();
  });
}

/**
 * A Redis for tests, on a free port, with its own folder. It stops with the test process, even if that process is
 * killed.
 */
export class RedisServer {
  readonly port: number;
  readonly directory: string;
  readonly #setup: RedisSetup;
  readonly #sentinel: boolean;
  #child: ChildProcess | undefined;

  private constructor(port: number, setup: RedisSetup, sentinel: boolean) {
    this.port = port;
    this.#setup = setup;
    this.#sentinel = sentinel;
    this.directory = mkdtempSync(join(scratchFolder(), 'hotpath-redis-'));
    writeFileSync(join(this.directory, 'redis.conf'), sentinel ? (setup.settings?.sentinel ?? '') : '');
  }

  static async start(setup: RedisSetup = {}, sentinel = false): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), setup, sentinel);
    await server.restart();
    return server;
  }

  /** A server that is not running yet. Its port is known, and nothing listens there. */
  static async prepare(setup: RedisSetup = {}): Promise<RedisServer> {
    return new RedisServer(await freePort(), setup, false);
  }

  get url(): string {
    const { password } = this.#setup;
    return `redis://${password === undefined ? '' : `:${password}@`}127.0.0.1:${this.port}`;
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Sends one command on a new connection, and returns the reply of ioredis. */
  async command(name: string, ...args: (string | number | Buffer)[]): Promise<unknown> {
    const client = new Redis({
      port: this.port,
      host: '127.0.0.1',
      password: this.#setup.password,
      lazyConnect: true,
      enableReadyCheck: false,
      retryStrategy: null,
    } as never);
    client.on('error', () => {});
    try {
      await client.connect();
      return await client.call(name, ...args);
    } finally {
      client.disconnect();
    }
  }

  /** A section of `INFO`, by field. */
  async info(section: string): Promise<Map<string, string>> {
    const lines = String(await this.command('INFO', section)).split('\r\n');
    return new Map(
      lines.filter((line) => line.includes(':')).map((line) => line.split(/:(.*)/s) as [string, string]),
    );
  }

  /** Kills the server at once (`kill -9`). */
  async kill(): Promise<void> {
    if (!this.isRunning) return;
    const exited = once(this.#child!, 'exit');
    this.#child!.kill('SIGKILL');
    await exited;
  }

  /** Accepts connections and commands, and never replies (SIGSTOP). */
  pause(): void {
    this.#child!.kill('SIGSTOP');
  }

  resume(): void {
    this.#child!.kill('SIGCONT');
  }

  /** Kills a running server, and starts it in the same folder: empty, unless it is persistent. */
  async restart(): Promise<void> {
    await this.kill();
    const child = spawn(findRedis()!, this.#flags(), { cwd: this.directory, stdio: 'ignore' });
    this.#child = child;
    endWithThisProcess(child);
    await until(async () => {
      if (!this.isRunning)
        throw new Error(
          `redis-server ended with ${child.exitCode} instead of starting\n${this.#lastWords()}`,
        );
      return this.#isReady();
    }, 'redis-server is ready');
  }

  /** Asks without ioredis, whose clients cost more than the start of the server. */
  async #isReady(): Promise<boolean> {
    const { password } = this.#setup;
    const socket = connect(this.port, '127.0.0.1').setEncoding('latin1');
    try {
      await once(socket, 'connect');
      socket.write(`${password === undefined ? '' : `AUTH ${password}\r\n`}PING\r\n`);
      let reply = '';
      for await (const text of socket) {
        reply += text;
        if (reply.endsWith('+PONG\r\n')) return true;
        if (reply.includes('-')) return false;
      }
      return false;
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  }

  /** Kills it and removes its files. */
  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #lastWords(): string {
    const log = join(this.directory, 'redis.log');
    return existsSync(log) ? readFileSync(log, 'utf8').slice(-500) : '';
  }

  #flags(): string[] {
    const { persistent, maxMemory, password, replicaOf, settings = {} } = this.#setup;
    const common = { port: String(this.port), bind: '127.0.0.1', logfile: join(this.directory, 'redis.log') };
    const flags: Record<string, string> = this.#sentinel
      ? common
      : {
          ...common,
          dir: this.directory,
          save: '',
          appendonly: persistent ? 'yes' : 'no',
          appendfsync: 'always',
          ...(maxMemory === undefined ? {} : { maxmemory: maxMemory, 'maxmemory-policy': 'noeviction' }),
          ...(password === undefined ? {} : { requirepass: password, masterauth: password }),
          // Synchronises a replica at once.
          'repl-diskless-sync-delay': '0',
          ...(replicaOf === undefined ? {} : { replicaof: `127.0.0.1 ${replicaOf}` }),
          ...settings,
        };
    const list = Object.entries(flags).flatMap(([name, value]) =>
      value === '' ? [`--${name}`, ''] : [`--${name}`, ...value.split(' ')],
    );
    return this.#sentinel ? [join(this.directory, 'redis.conf'), '--sentinel', ...list] : list;
  }
}

/** Starts one Sentinel that watches one master, with a short timeout. */
export function startSentinel(master: RedisServer, name = 'main'): Promise<RedisServer> {
  const sentinel = [
    `sentinel monitor ${name} 127.0.0.1 ${master.port} 1`,
    `sentinel down-after-milliseconds ${name} 500`,
    `sentinel failover-timeout ${name} 2000`,
  ].join('\n');
  return RedisServer.start({ settings: { sentinel } }, true);
}

/** A master, its replica in sync, and a Sentinel that knows both. */
export async function startReplicated(): Promise<{
  readonly master: RedisServer;
  readonly replica: RedisServer;
  readonly sentinel: RedisServer;
}> {
  const master = await RedisServer.start();
  const replica = await RedisServer.start({ replicaOf: master.port });
  await until(
    async () => (await replica.info('replication')).get('master_link_status') === 'up',
    'the replica follows',
  );
  const sentinel = await startSentinel(master);
  await until(
    async () => String(await sentinel.command('SENTINEL', 'REPLICAS', 'main')).includes(String(replica.port)),
    'the Sentinel knows the replica',
  );
  return { master, replica, sentinel };
}

/** Three masters that share the slots, each with an optional replica. The replicas follow the masters. */
export async function startCluster({ replicas = false } = {}): Promise<RedisServer[]> {
  const count = replicas ? 6 : 3;
  const servers = await Promise.all(
    Array.from({ length: count }, async () =>
      RedisServer.start({
        settings: {
          'cluster-enabled': 'yes',
          // The default bus port, the port plus 10,000, may be out of range.
          'cluster-port': String(await freePort()),
          'cluster-node-timeout': '1000',
          'cluster-replica-validity-factor': '0',
        },
      }),
    ),
  );
  const [first, ...others] = servers as [RedisServer, ...RedisServer[]];
  const bounds = [0, 5461, 10923, 16384];
  for (const [index, server] of servers.slice(0, 3).entries()) {
    await server.command('CLUSTER', 'ADDSLOTSRANGE', bounds[index]!, bounds[index + 1]! - 1);
    await server.command('CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
  }
  for (const server of others) {
    const bus = String(((await server.command('CONFIG', 'GET', 'cluster-port')) as string[])[1]);
    await first.command('CLUSTER', 'MEET', '127.0.0.1', server.port, bus);
  }
  const everybodyKnows = async (what: string, times: number) => {
    for (const server of servers) {
      await until(async () => {
        const info = String(await server.command('CLUSTER', 'INFO'));
        const nodes = String(await server.command('CLUSTER', 'NODES'));
        return info.includes('cluster_state:ok') && nodes.split(what).length - 1 === times;
      }, `the cluster has ${times} ${what}`);
    }
  };
  await everybodyKnows(' connected', count);
  if (replicas) {
    for (const [index, server] of servers.slice(3).entries()) {
      await server.command('CLUSTER', 'REPLICATE', String(await servers[index]!.command('CLUSTER', 'MYID')));
    }
    await everybodyKnows('slave ', 3);
    for (const server of servers.slice(3)) {
      await until(
        async () => (await server.info('replication')).get('master_link_status') === 'up',
        'a replica has caught up',
      );
    }
  }
  return servers;
}

/** Waits until a condition holds. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  within = READY_WITHIN_MS,
): Promise<void> {
  const begun = Date.now();
  while (!(await condition())) {
    const waited = Date.now() - begun;
    if (waited > within) throw new Error(`waited ${within / 1000} s in vain until ${what}`);
    // Most conditions open a connection, and what they wait for needs the processor too.
    await delay(Math.min(10 + waited / 20, 50));
  }
}
