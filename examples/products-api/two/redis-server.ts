import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export interface RunningRedis {
  readonly url: string;
  stop(): Promise<void>;
}

/**
 * Starts the machine's `redis-server` on a free port, without persistence.
 *
 * @param policy for a full memory. Default: that of a cache, which evicts the least recently used keys.
 * @throws {Error} with the package to install if there is none.
 */
export async function startRedis(
  policy: 'volatile-lru' | 'noeviction' = 'volatile-lru',
): Promise<RunningRedis> {
  const file = (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'redis-server'))
    .find(isExecutable);
  if (file === undefined) {
    throw new Error(
      'there is no redis-server on this machine: install it (Debian and Ubuntu: apt-get install redis-server, ' +
        'macOS: brew install redis), or name a running one with REDIS_URL',
    );
  }
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'products-api-redis-'));
  const flags = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', ''];
  flags.push('--maxmemory', '64mb', '--maxmemory-policy', policy);
  // The shell stops Redis when its input ends, which happens when this process ends.
  const script = '"$0" "$@" >/dev/null & server=$!; cat >/dev/null; kill "$server"; wait "$server"';
  const shell = spawn('sh', ['-c', script, file, ...flags], {
    stdio: ['pipe', 'ignore', 'inherit'],
    // Ctrl-C stops this process, which then stops Redis.
    detached: true,
  });
  const exited = once(shell, 'exit');
  const stop = async () => {
    shell.stdin?.end();
    await exited;
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await untilListening(port);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `redis://127.0.0.1:${port}`, stop };
}

async function untilListening(port: number): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return;
    } catch (error) {
      if (Date.now() > deadline) throw new Error('redis-server does not start', { cause: error });
      await delay(50);
    } finally {
      socket.destroy();
    }
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
