import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, chmodSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { waitFor } from './http.js';
import { freePort } from './port.js';
import { serverAccount } from './postgres.js';
import { installDebianPackage } from './system-packages.js';

const FILE = '/usr/sbin/pgbouncer';

/** A PgBouncer in transaction mode in front of a database. */
export interface PgBouncer {
  readonly url: string;
  close(): Promise<void>;
}

/** @param database URL of a database of `startPostgres`. */
export async function startPgBouncer(database: string): Promise<PgBouncer> {
  if (!isExecutable(FILE)) await installDebianPackage('pgbouncer', 'A test behind a pooler');
  const folder = mkdtempSync(join(tmpdir(), 'pgbouncer-'));
  const port = await freePort();
  const { hostname, port: serverPort, pathname } = new URL(database);
  const config = `
    [databases]
    * = host=${hostname} port=${serverPort} user=postgres
    [pgbouncer]
    listen_addr = 127.0.0.1
    listen_port = ${port}
    unix_socket_dir =
    auth_type = any
    pool_mode = transaction
    ignore_startup_parameters = extra_float_digits`;
  const configFile = join(folder, 'pgbouncer.ini');
  writeFileSync(configFile, config.replaceAll(/^ +/gm, ''));
  // It refuses to run as root.
  chmodSync(folder, 0o755);
  const child = spawn(FILE, [configFile], { ...(await serverAccount()), stdio: 'ignore', cwd: folder });
  const exited = once(child, 'exit');
  const url = `postgres://postgres@127.0.0.1:${port}${pathname}`;
  await waitFor(async () => child.exitCode !== null || (await accepts(url)));
  if (child.exitCode !== null) throw new Error(`pgbouncer ended with ${child.exitCode}`);
  return {
    url,
    async close() {
      child.kill('SIGTERM');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function accepts(url: string): Promise<boolean> {
  const client = new pg.Client(url);
  client.on('error', () => {});
  try {
    await client.connect();
    await client.end();
    return true;
  } catch {
    return false;
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
