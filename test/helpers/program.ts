import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Node arguments that run a TypeScript program against the sources. */
export interface Program {
  readonly execArgv: readonly string[];
  readonly file: string;
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
