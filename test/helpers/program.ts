import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Node arguments that run a TypeScript program against the sources. */
export interface Program {
  readonly execArgv: readonly string[];
  readonly file: string;
  /** Default: none. */
  readonly args?: readonly string[];
}

/**
 * The program of a script of package.json, for tests that start it as users do.
 *
 * @param flags of Node, beside those of the script.
 */
export function script(name: string, ...flags: string[]): Program {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const [, given, file, args] = /^node ((?:--\S+ )*)(\S+) ?(.*)$/.exec(scripts[name]) as unknown as string[];
  const split = (text = '') => text.split(' ').filter(Boolean);
  return { execArgv: [...flags, ...split(given)], file: join(root, file!), args: split(args) };
}

/**
 * A program of test/setup/programs.ts, by its path in the repository: the built file, or the source, compiled at
 * start, where it was not built.
 */
export function program(path: string): Program {
  const folder = process.env.TEST_PROGRAMS;
  return folder === undefined
    ? { execArgv: ['--import', 'tsx'], file: join(root, path) }
    : { execArgv: [], file: builtFile(folder, path) };
}

/** The file that a program is built into. */
export function builtFile(folder: string, path: string): string {
  return join(folder, path.replace(/\.m?ts$/, '.mjs'));
}
