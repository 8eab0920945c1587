import { type ChildProcess, execFile, execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { chown, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { freePort } from './port.js';
import { scratchFolder } from './scratch.js';
import { installDebianPackage } from './system-packages.js';

const run = promisify(execFile);

/** A PostgreSQL for tests: a new cluster in a temporary directory, on a free port. */
export interface TestPostgres {
  /** Creates a database and returns its URL. */
  createDatabase(name: string): Promise<string>;
  /** Stops every process of the server until `resume()`: connections hang. */
  pause(): void;
  resume(): void;
  /** Ends every connection at once, as a crash does, and starts the server again on its port. */
  restart(): Promise<void>;
  /** Stops the server and removes its files. */
  stop(): Promise<void>;
}

const VERSIONS = fileURLToPath(new URL('../postgres-versions/node_modules', import.meta.url));

/** Whether the server has HypoPG, as that of Debian. The servers of `npm run test:postgres` come without it. */
export const hasHypopg = process.env.HOTPATH_POSTGRES === undefined;

const READY_WITHIN_MS = 30_000;

/** Remaining connections are cut off after this time. */
const LEAVE_WITHIN_MS = 5_000;

/**
 * Starts a private PostgreSQL from the installed binaries. Without them, installs them or names the package.
 *
 * @param more settings of the server, such as `{ shared_preload_libraries: 'pg_stat_statements' }`.
 */
export async function startPostgres(more: Readonly<Record<string, string>> = {}): Promise<TestPostgres> {
  const bin = await binaries();
  const directory = await mkdtemp(join(scratchFolder(), 'hotpath-postgres-'));
  const data = join(directory, 'data');
  const account = await serverAccount();
  if (account) await chown(directory, account.uid, account.gid);
  // The account of the server may have no access to the directory of the caller.
  const options = { ...account, cwd: directory };
  await createCluster(bin, data, options);
  const port = await freePort();
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: directory,
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
    // Its files may be in memory.
    max_wal_size: '128MB',
    ...more,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const start = () =>
    spawn(join(bin, 'postgres'), ['-D', data, '-p', String(port), ...flags], { ...options, stdio: 'ignore' });
  let server = start();
  const killWithUs = () => {
    server.kill('SIGQUIT');
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  process.once('exit', killWithUs);

  const urlOf = (database: string) => `postgres://postgres@127.0.0.1:${port}/${database}`;
  const stop = async () => {
    process.off('exit', killWithUs);
    signalAll(server.pid, 'SIGCONT');
    if (isRunning(server)) {
      const exited = once(server, 'exit');
      // Waits for clients that are closing: an error sent to one that is closing has no handler.
      server.kill('SIGTERM');
      const hurry = setTimeout(() => server.kill('SIGINT'), LEAVE_WITHIN_MS);
      await exited;
      clearTimeout(hurry);
    }
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await untilReady(server, urlOf('postgres'));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    stop,
    pause: () => signalAll(server.pid, 'SIGSTOP'),
    resume: () => signalAll(server.pid, 'SIGCONT'),
    async restart() {
      const exited = once(server, 'exit');
      server.kill('SIGQUIT');
      await exited;
      server = start();
      await untilReady(server, urlOf('postgres'));
    },
    async createDatabase(name) {
      await withClient(urlOf('postgres'), (client) =>
        client.query(`CREATE DATABASE ${client.escapeIdentifier(name)}`),
      );
      return urlOf(name);
    },
  };
}

/** Creates the files of a new cluster. Copies the first one of the test run, at a sixth of the CPU time of `initdb`. */
async function createCluster(bin: string, data: string, options: SpawnOptions): Promise<void> {
  const { TEST_POSTGRES_CLUSTERS: folder } = process.env;
  const first = folder && join(folder, bin.replaceAll(/\W+/g, '-'));
  if (first && existsSync(first)) return copy(first, data);
  // Test data need not survive a power cut, so no write waits for the disk.
  const initdb = ['-D', data, '-U', 'postgres', '--auth=trust', '--no-sync', '--encoding=UTF8', '--locale=C'];
  await run(join(bin, 'initdb'), initdb, options);
  if (!first) return;
  const complete = join(await mkdtemp(`${first}-`), 'data');
  await copy(data, complete);
  // Another worker may have been faster. The folder is removed at the end of the run.
  await rename(complete, first).catch(() => {});
}

/** Keeps owner and mode, which the server checks. */
async function copy(from: string, to: string): Promise<void> {
  await run('cp', ['-a', from, to]);
}

/** The server first, so that it starts no other process meanwhile. */
function signalAll(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  const send = (each: number) => {
    try {
      process.kill(each, signal);
    } catch {
      // It has ended.
    }
  };
  send(pid);
  for (const entry of readdirSync('/proc')) {
    if (/^\d+$/.test(entry) && parentOf(entry) === pid) send(Number(entry));
  }
}

function parentOf(pid: string): number | undefined {
  try {
    // The name of the program, in parentheses, may contain spaces.
    return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]);
  } catch {
    return undefined;
  }
}

async function untilReady(server: ChildProcess, url: string): Promise<void> {
  const deadline = Date.now() + READY_WITHIN_MS;
  while (Date.now() < deadline) {
    if (!isRunning(server)) throw new Error(`PostgreSQL ended with ${server.exitCode} instead of starting`);
    try {
      return await withClient(url, async (client) => {
        await client.query('SELECT 1');
      });
    } catch {
      // Refused while the server starts.
      await delay(50);
    }
  }
  throw new Error(`PostgreSQL was not ready within ${READY_WITHIN_MS / 1_000} s`);
}

async function withClient<T>(url: string, task: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await task(client);
  } finally {
    await client.end();
  }
}

/** The release line that `npm run test:postgres` sets, else the installed one. */
async function binaries(): Promise<string> {
  const line = process.env.HOTPATH_POSTGRES;
  if (line !== undefined) return join(VERSIONS, `postgres-${line}`, 'native', 'bin');
  const found = await findBinaries();
  if (found !== undefined) return found;
  await installDebianPackage('postgresql', 'A test against a real PostgreSQL');
  const installed = await findBinaries();
  if (installed === undefined)
    throw new Error('PostgreSQL was installed, but its "initdb" is not to be found');
  return installed;
}

/** Debian keeps the server programs outside PATH, by version; elsewhere `pg_config` prints their folder. */
async function findBinaries(): Promise<string | undefined> {
  const root = '/usr/lib/postgresql';
  const versions = await readdir(root).catch((): string[] => []);
  const directories = versions
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(root, version, 'bin'));
  try {
    directories.push(execFileSync('pg_config', ['--bindir'], { encoding: 'utf8', stdio: 'pipe' }).trim());
  } catch {
    // Without pg_config, only the folders of Debian remain.
  }
  for (const directory of directories) {
    const names = await readdir(directory).catch((): string[] => []);
    if (names.includes('initdb') && names.includes('postgres')) return directory;
  }
  return undefined;
}

/** PostgreSQL refuses to run as root. Its package creates an account for it. */
export async function serverAccount(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const idOf = async (flag: string) => Number((await run('id', [flag, 'postgres'])).stdout);
  return { uid: await idOf('-u'), gid: await idOf('-g') };
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}
