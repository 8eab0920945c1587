import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { scratchFolder } from '../helpers/scratch.js';

/** A program that tests start, and the package to install when it is missing. */
interface Service {
  readonly name: string;
  /** The Debian package of the program. */
  readonly debian: string;
  /** A file that exists when the program is installed. */
  readonly find: () => string | undefined;
  /** Finds a more expensive program, for machines where the package cannot be installed. */
  readonly findInstead?: () => string | undefined;
}

const services: readonly Service[] = [
  { name: 'PostgreSQL (initdb, postgres)', debian: 'postgresql', find: findPostgres },
  { name: 'HypoPG', debian: `postgresql-${postgresMajor()}-hypopg`, find: findHypopg },
  { name: 'Redis (redis-server)', debian: 'redis-server', find: findRedis },
  {
    name: 'Chromium',
    debian: 'chromium-headless-shell',
    find: findHeadlessShell,
    findInstead: findChromium,
  },
  { name: 'Prometheus (prometheus, promtool)', debian: 'prometheus', find: findPrometheus },
];

/** The folder that holds PostgreSQL's `initdb` and `postgres`, or `undefined`. */
export function findPostgres(): string | undefined {
  return [...debianPostgres(), ...path()].find(
    (folder) => executable(join(folder, 'initdb')) && executable(join(folder, 'postgres')),
  );
}

/** The control file of HypoPG, an extension of PostgreSQL, or `undefined`. */
export function findHypopg(): string | undefined {
  const file = join('/usr/share/postgresql', postgresMajor(), 'extension', 'hypopg.control');
  return existsSync(file) ? file : undefined;
}

/** The newest version that is installed, or that of Debian 12. */
function postgresMajor(): string {
  return directoriesIn('/usr/lib/postgresql').sort((a, b) => Number(b) - Number(a))[0] ?? '15';
}

/** The file of `redis-server`, which also runs as Sentinel, or `undefined`. */
export function findRedis(): string | undefined {
  return path()
    .map((folder) => join(folder, 'redis-server'))
    .find(executable);
}

/** The folder that holds `prometheus` and `promtool`, or `undefined`. */
export function findPrometheus(): string | undefined {
  return path().find(
    (folder) => executable(join(folder, 'prometheus')) && executable(join(folder, 'promtool')),
  );
}

/**
 * The file of a Chromium without windows, or `undefined`. It has the same engine. A complete Chromium uses twice the CPU
 * time in tests, because it also runs the interface of its windows.
 */
export function findHeadlessShell(): string | undefined {
  return firstProgram(['chromium-headless-shell', 'chrome-headless-shell']);
}

/** The file of a Chromium or Chrome, or `undefined`. */
export function findChromium(): string | undefined {
  return firstProgram(['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']);
}

function firstProgram(names: readonly string[]): string | undefined {
  return path()
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find(executable);
}

/**
 * Checks that the programs for the tests are installed, and installs missing Debian packages where that is
 * allowed.
 *
 * @throws Error that names the package to install, when it cannot be installed here.
 */
export function ensureServices(): void {
  const missing = services.filter((service) => service.find() === undefined);
  const needed = missing.filter((service) => service.findInstead?.() === undefined);
  const canInstall = process.getuid?.() === 0 && path().some((folder) => executable(join(folder, 'apt-get')));
  if (needed.length > 0) install(needed, canInstall);
  const better = missing.filter((service) => !needed.includes(service));
  // Each project of the tests calls this: one attempt is enough.
  if (better.length > 0 && canInstall && !process.env.TEST_SERVICES_TRIED) installBetter(better);
  process.env.TEST_SERVICES_TRIED = 'yes';
}

function install(missing: readonly Service[], canInstall: boolean): void {
  const packages = missing.map((service) => service.debian);
  const wanted = `The tests need ${missing.map((service) => service.name).join(' and ')}. Install them, on Debian: apt-get install ${packages.join(' ')}`;
  if (!canInstall) throw new Error(wanted);
  console.log(`installing ${packages.join(', ')} for the tests`);
  try {
    apt('update');
    apt('install', '-y', '--no-install-recommends', ...packages);
  } catch (error) {
    throw new Error(`${wanted}\n${detail(error)}`);
  }
  const still = missing.filter((service) => service.find() === undefined);
  if (still.length > 0) throw new Error(`${wanted}\napt-get succeeded, but they are still not found.`);
}

/** Installs packages that make the tests cheaper. Without them the tests use the programs that are installed. */
function installBetter(missing: readonly Service[]): void {
  const packages = missing.map((service) => service.debian);
  console.log(`installing ${packages.join(', ')} for the tests`);
  try {
    // Without a network the tests start soon.
    const options = ['-o', 'Acquire::http::Timeout=10', '-o', 'Acquire::Retries=0'];
    apt(...options, 'update');
    apt(...options, 'install', '-y', '--no-install-recommends', ...packages);
  } catch (error) {
    console.log(`not installed: ${detail(error)}`);
  }
}

/**
 * Vitest calls this once, before the first test file. The folder of the first cluster of PostgreSQL, which the other
 * ones are copied from, belongs to this run.
 */
export function setup(): () => void {
  ensureServices();
  const folder = mkdtempSync(join(scratchFolder(), 'hotpath-postgres-clusters-'));
  process.env.TEST_POSTGRES_CLUSTERS = folder;
  return () => rmSync(folder, { recursive: true, force: true });
}

function apt(...args: string[]): void {
  // Another process on the machine may hold the lock for a while.
  execFileSync('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=120', ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 * 1024 * 1024,
    timeout: 5 * 60_000,
  });
}

function detail(error: unknown): string {
  const stderr = String((error as { stderr?: unknown }).stderr ?? '');
  // Addresses of package mirrors do not belong in a log.
  return stderr.replaceAll(/[a-z]+:\/\/\S+/g, '<url>').slice(-2_000);
}

function debianPostgres(): string[] {
  const home = '/usr/lib/postgresql';
  return directoriesIn(home)
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(home, version, 'bin'));
}

function directoriesIn(home: string): string[] {
  try {
    return readdirSync(home);
  } catch {
    return [];
  }
}

function path(): string[] {
  return (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
}

function executable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
