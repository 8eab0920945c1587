// nginx and Varnish on the server's core, before an app on the other core, if they are installed.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { spawnOn } from './children.mjs';
import { find, SERVER_CORE } from './cores.mjs';
import { Absent, errorsOf, type Running, startOrigin } from './servers.mjs';

const READY_WITHIN_MS = 20_000;

/** One worker. Bodies are cached in memory, separately for each coding of the app. */
export async function startNginx(): Promise<Running> {
  if (!find('nginx')) throw new Absent('not installed (Debian: nginx-light)');
  const origin = await startOrigin();
  const port = await freePort();
  const directory = temporary();
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  writeFileSync(
    join(directory, 'nginx.conf'),
    `${user}
worker_processes 1;
pid ${directory}/pid;
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  open_file_cache max=1000;
  proxy_cache_path ${directory}/cache keys_zone=cache:100m max_size=2g inactive=1h use_temp_path=off;
  server {
    listen 127.0.0.1:${port} reuseport;
    location / {
      proxy_pass http://127.0.0.1:${origin.port};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Accept-Encoding $http_accept_encoding;
      proxy_cache cache;
      proxy_cache_key $uri$is_args$args;
    }
  }
}
`,
  );
  const args = ['-p', directory, '-c', join(directory, 'nginx.conf'), '-g', 'daemon off;'];
  return started(['nginx', ...args], port, origin, directory);
}

/**
 * One thread pool. It caches the app's codings separately (`Vary`), like nginx, instead of using its own
 * gzip.
 */
export async function startVarnish(): Promise<Running> {
  if (!find('varnishd')) throw new Absent('not installed (Debian: varnish)');
  const origin = await startOrigin();
  const port = await freePort();
  const directory = temporary();
  const vcl = join(directory, 'default.vcl');
  writeFileSync(vcl, `vcl 4.1;\nbackend default { .host = "127.0.0.1"; .port = "${origin.port}"; }\n`);
  const parameters = ['http_gzip_support=off', 'thread_pools=1', 'thread_pool_max=500', 'timeout_idle=60'];
  const args = [
    ...['-F', '-f', vcl, '-a', `127.0.0.1:${port}`, '-s', 'malloc,2g', '-n', join(directory, 'varnish')],
    ...parameters.flatMap((parameter) => ['-p', parameter]),
  ];
  return started(['varnishd', ...args], port, origin, directory);
}

async function started(
  command: readonly string[],
  port: number,
  origin: Running,
  directory: string,
): Promise<Running> {
  const child = spawnOn(SERVER_CORE, command, { stdio: ['ignore', 'ignore', 'pipe'] });
  const errors = errorsOf(child);
  const stop = async () => {
    await end(child);
    await origin.stop();
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await listening(port, child);
  } catch {
    await stop();
    throw new Error(`it does not listen: ${errors()}`);
  }
  return { port, pid: child.pid as number, state: origin.state, storm: async () => undefined, stop };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  await gone;
}

async function listening(port: number, child: ChildProcess): Promise<void> {
  for (const begin = performance.now(); performance.now() - begin < READY_WITHIN_MS; await delay(50)) {
    if (child.exitCode !== null) break;
    const socket = connect(port, '127.0.0.1');
    const isOpen = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'close').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (isOpen) return;
  }
  throw new Error('nobody listens');
}

function temporary(): string {
  // In memory if possible, so that no disk is measured.
  const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'hotpath-bench-'));
  mkdirSync(join(directory, 'cache'));
  // Varnish reads its file under another user.
  chmodSync(directory, 0o755);
  return directory;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
