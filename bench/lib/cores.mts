// Assigns cores: the server has one core to itself; the generator, Redis and an origin run on the other.
import { execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

export const SERVER_CORE = '0';
export const GENERATOR_CORE = '1';

const TOOLS = [
  { program: 'wrk', debian: 'wrk' },
  { program: 'taskset', debian: 'util-linux' },
] as const;

/** The file of a program in PATH, or `undefined`. */
export function find(program: string): string | undefined {
  try {
    return execFileSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim() || undefined;
  } catch {
    return undefined;
  }
}

/** @throws if the benchmark cannot run here, with the package to install. */
export function checkMachine(): void {
  const missing = TOOLS.filter(({ program }) => find(program) === undefined);
  if (missing.length > 0) {
    const names = missing.map(({ program }) => program).join(' and ');
    const packages = missing.map(({ debian }) => debian).join(' ');
    throw new Error(`${names} not found. On Debian and Ubuntu: apt-get install ${packages}`);
  }
  if (availableParallelism() < 2) {
    throw new Error('two cores are needed: one for the server, one for the generator');
  }
}
