import { execFile, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const root = fileURLToPath(new URL('../..', import.meta.url));
const consumers = fileURLToPath(new URL('consumers', import.meta.url));
const execute = promisify(execFile);
const LIMIT = 80_000;

interface Manifest {
  readonly exports: Readonly<Record<string, unknown>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}
export const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;

/** A packed package: the path of its tarball and its files. */
export interface Tarball {
  readonly path: string;
  readonly files: readonly string[];
}

/** Packs the package into `folder` as `npm publish` would; `prepare` builds it first when `dist` is not up to date. */
export async function pack(folder: string): Promise<Tarball> {
  await execute('npm', ['run', '--silent', 'prepare'], { cwd: root });
  // Without scripts, which would write to the output among the JSON.
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const { stdout } = await execute('npm', args, { cwd: root });
  const [packed] = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[];
  if (packed === undefined) throw new Error(`npm pack named no tarball: ${stdout}`);
  return { path: join(folder, packed.filename), files: packed.files.map((file) => file.path) };
}

/**
 * Creates a project with the tarball installed and the files of `consumers/<sources>`.
 *
 * Nothing is downloaded. Besides the package, `node_modules` links to exactly the packages of its manifest, so that an
 * undeclared import fails. It also links to `others` (the name in the project, then the name here).
 */
export async function project(
  folder: string,
  tarball: Tarball,
  sources: string,
  others: Readonly<Record<string, string>> = {},
): Promise<string> {
  const installed = join(folder, 'node_modules', 'hotpath');
  mkdirSync(installed, { recursive: true });
  await execute('tar', ['-xzf', tarball.path, '--strip-components=1', '-C', installed]);
  const declared = Object.keys({ ...manifest.peerDependencies, ...manifest.dependencies });
  const links = { ...Object.fromEntries(declared.map((name) => [name, name])), ...others };
  for (const [name, ours] of Object.entries(links)) {
    const link = join(folder, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(root, 'node_modules', ours), link, 'junction');
  }
  cpSync(join(consumers, sources), folder, { recursive: true });
  return folder;
}

/** The output and exit code of a process. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs Node until it exits. After 15 seconds it is killed and has no `code`. */
export function node(cwd: string, ...args: string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr });
    });
  });
}

/** Runs Node, expects success, and reads the JSON that it printed. */
export async function nodeReport<Report>(cwd: string, ...args: string[]): Promise<Report> {
  const { code, stdout, stderr } = await node(cwd, ...args);
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}: ${stderr || stdout}`);
  return JSON.parse(stdout) as Report;
}

/** The packages that a list of loaded files belongs to. */
export function packagesOf(files: readonly string[]): string[] {
  const names = files.map((file) => /.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+)/.exec(file)?.[1]);
  return [...new Set(names.filter((name) => name !== undefined))].sort();
}

/** These packages and all their dependencies. */
export function withDependencies(names: readonly string[]): string[] {
  const all = new Set<string>();
  const add = (name: string, parent: string): void => {
    if (all.has(name)) return;
    all.add(name);
    // A package may have a version of its own.
    const folders = [parent, root].map((folder) => join(folder, 'node_modules', name));
    const folder = folders.find((each) => existsSync(join(each, 'package.json')));
    if (folder === undefined) return;
    const text = readFileSync(join(folder, 'package.json'), 'utf8');
    const { dependencies, peerDependenciesMeta } = JSON.parse(text) as Manifest;
    // `debug` loads its optional peer where that is installed.
    for (const each of Object.keys({ ...dependencies, ...peerDependenciesMeta })) add(each, folder);
  };
  for (const name of names) add(name, root);
  return [...all].sort();
}
