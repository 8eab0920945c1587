import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** The kind of a test: required by the standard, optimal for a cache, or a mere check of behaviour. */
export type Kind = 'required' | 'optimal' | 'check';
export const KINDS: readonly Kind[] = ['required', 'optimal', 'check'];

export interface SuiteTest {
  readonly id: string;
  readonly name: string;
  readonly kind: Kind;
  readonly dependsOn: readonly string[];
}

export interface SuiteGroup {
  readonly id: string;
  readonly name: string;
  readonly tests: readonly SuiteTest[];
}

/** By test: passed, or the kind of failure and the observation. */
export type Results = Readonly<Record<string, true | readonly [kind: string, message: string]>>;

/** A cache with results published in the suite. */
export interface Published {
  readonly name: string;
  readonly version: string;
  readonly results: Results;
}

interface RawTest {
  id: string;
  name: string;
  kind?: Kind;
  depends_on?: string[];
  browser_only?: boolean;
  requests: readonly object[];
}

export type RawGroup = { id: string; name: string; tests: RawTest[] };

/** The folder of the installed suite. */
export function suiteDirectory(): string {
  return dirname(createRequire(import.meta.url).resolve('http-cache-tests/package.json'));
}

/** A module of the suite, which has no types. */
export async function suiteModule<T>(path: string): Promise<T> {
  return (await import(pathToFileURL(join(suiteDirectory(), path)).href)) as T;
}

/** All tests, in the order of the suite. */
export async function rawGroups(): Promise<RawGroup[]> {
  const { default: groups } = await suiteModule<{ default: RawGroup[] }>('tests/index.mjs');
  // The command of the suite adds these too.
  const { default: surrogate } = await suiteModule<{ default: RawGroup }>('tests/surrogate-control.mjs');
  return [...groups, surrogate];
}

/** Tests that apply to a cache at a server, without tests for browsers, as the suite selects them. */
export async function loadSuite(): Promise<SuiteGroup[]> {
  return (await rawGroups()).map(({ id, name, tests }) => ({
    id,
    name,
    tests: tests
      .filter((test) => test.browser_only !== true)
      .map((test) => ({
        id: test.id,
        name: test.name,
        kind: test.kind ?? 'required',
        dependsOn: test.depends_on ?? [],
      })),
  }));
}

/** The published results of other server-side caches (proxies and CDNs, no browsers). */
export async function loadPublished(): Promise<Published[]> {
  type Index = { file: string; name: string; type: string; version: string }[];
  const { default: index } = await suiteModule<{ default: Index }>('results/index.mjs');
  const caches = index.filter(({ type }) => type !== 'browser');
  return Promise.all(
    caches.map(async ({ file, name, version }) => {
      const text = await readFile(join(suiteDirectory(), 'results', file), 'utf8');
      return { name, version, results: JSON.parse(text) as Results };
    }),
  );
}

/** The version of the suite. */
export async function suiteVersion(): Promise<string> {
  const text = await readFile(join(suiteDirectory(), 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
