import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { HotpathError, hotpath } from 'hotpath';
import { describe, expect, it } from 'vitest';
import {
  EXAMPLE_PATH,
  environmentVariables,
  type Option,
  optionSections,
  optionsPage,
  pathText,
} from '../../../scripts/options-page.js';

const root = join(import.meta.dirname, '../../..');
const sections = optionSections(root);
const options = sections.flatMap(({ path, options }) => options.map((option) => ({ path, option })));

/** A config with a value at a path. */
function configWith(path: readonly string[], value: unknown): Record<string, unknown> {
  const [key, ...rest] = path;
  if (key === undefined) return value as Record<string, unknown>;
  return { [key]: rest.length === 0 ? value : configWith(rest, value) };
}

function merged(base: Record<string, unknown>, more: Record<string, unknown>): Record<string, unknown> {
  const both = { ...base };
  for (const [key, value] of Object.entries(more)) {
    const before = both[key];
    const areObjects = [before, value].every(
      (each) => Object.prototype.toString.call(each) === '[object Object]',
    );
    both[key] = areObjects ? merged(before as typeof base, value as typeof more) : value;
  }
  return both;
}

/** Options that other options of a section require: a lifetime before windows, a server for the Redis tier. */
function neededAt(path: readonly string[]): Record<string, unknown> {
  if (path.at(-1) === 'redis') return { url: 'redis://localhost:1', wait: { replicas: 1 } };
  if (path.at(-1) === 'loadShedding') return { pool: { waitingCount: 0 } };
  if (path.at(-1) === 'poolWaiting' || path.at(-1) === 'slowQueries') return { pool: { waitingCount: 0 } };
  return path.at(-1) === 'cache' && path.includes(EXAMPLE_PATH) ? { ttl: '1h' } : {};
}

/** The config as hotpath understands it. */
async function understood(config: object): Promise<unknown> {
  const perf = hotpath(config);
  await perf.close();
  const { routes, ...settings } = perf.config;
  return { ...settings, routes: routes.policies };
}

/** The options that the schema of a section knows, as its error message lists them. */
function knownAt(path: readonly string[]): string[] {
  try {
    void hotpath(configWith(path, { noSuchOptionAtAll: 1 })).close();
  } catch (error) {
    if (error instanceof HotpathError) {
      return /noSuchOptionAtAll: unknown option; known are (.*)/.exec(error.message)?.[1]?.split(', ') ?? [];
    }
  }
  return [];
}

/** The value of a default that is written as one literal. */
function literalOf({ default: text }: Option): unknown {
  const [, code] = /^`([^`]+)`$/.exec(text) ?? [];
  if (code === undefined || !/^['[\d]|^true$|^false$/.test(code)) return undefined;
  return new Function(`return (${code});`)();
}

describe('docs/options.md', () => {
  it('is what the comments in src say', () => {
    const page = readFileSync(join(root, 'docs/options.md'), 'utf8');
    expect(page, 'docs/options.md is out of date: run npm run docs:options').toBe(optionsPage(root));
  });

  it.each(sections.map((section) => [pathText(section.path) || 'the config', section] as const))(
    'lists the options that the schema knows: %s',
    (_name, { path, options }) => {
      const listed = options.map(({ name }) => name).filter((name) => !name.includes('.'));
      expect(listed.toSorted()).toEqual(knownAt(path).toSorted());
    },
  );

  it('describes every option', () => {
    const empty = options.filter(({ option }) => option.text === '' || option.type === '');
    expect(empty.map(({ path, option }) => `${pathText(path)}.${option.name}`)).toEqual([]);
  });

  it.each(
    options
      .filter(({ option }) => literalOf(option) !== undefined)
      .map(({ path, option }) => [`${pathText(path)}.${option.name}`, path, option] as const),
  )('shows the default that the schema applies: %s', async (_name, path, option) => {
    const given = configWith(option.name.split('.'), literalOf(option));
    const needed = neededAt(path);
    const withDefault = await understood(configWith(path, merged(needed, given)));
    expect(isDeepStrictEqual(withDefault, await understood(configWith(path, needed)))).toBe(true);
  });

  it('describes every environment variable', () => {
    const variables = environmentVariables(root);
    expect(variables.length).toBeGreaterThan(10);
    expect(variables.filter(({ text }) => text === '')).toEqual([]);
  });
});
