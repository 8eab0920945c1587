import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** How Node runs a program that is written in TypeScript, and sees the sources. */
export interface Program {
  readonly execArgv: readonly string[];
  readonly file: string;
}

/**
 * A program of test/setup/programs.ts, by its path in the repository: as it was built for the tests, or compiled as it
 * starts where nobody has built it.
 */
export function program(path: string): Program {
  const folder = process.env.TEST_PROGRAMS;
  return folder === undefined
    ? { execArgv: ['--import', 'tsx'], file: join(root, path) }
    : { execArgv: [], file: join(folder, path.replace(/\.m?ts$/, '.mjs')) };
}
