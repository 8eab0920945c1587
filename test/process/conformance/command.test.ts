import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type Program, program } from '../../helpers/program.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** As `npm run conformance` runs it. */
const asUsersDo: Program = { execArgv: ['--import', 'tsx'], file: 'scripts/conformance.ts' };
const built = program('scripts/conformance.ts');

function conformance(
  { execArgv, file }: Program,
  ...args: string[]
): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...execArgv, file, ...args],
      { cwd: root, timeout: 150_000 },
      (error, stdout, stderr) => {
        resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr });
      },
    );
  });
}

describe('npm run conformance', () => {
  it('runs one test on both majors, prints the observed exchange, and exits by itself', async () => {
    const { code, output } = await conformance(
      asUsersDo,
      '--profile',
      'none',
      '--id',
      'freshness-s-maxage-shared',
    );
    expect(output).toContain('== none, Express 5');
    expect(output).toContain('== none, Express 4');
    expect(output).toContain('freshness-s-maxage-shared: Response 2 does not come from cache');
    expect(code).toBe(0);
  });

  it.each([
    [['--express', '3'], '--express 3: expected one of 5, 4'],
    [['--profile', 'fast'], '--profile fast: expected one of rfc9111, safe, none'],
    [['--id', 'nothing'], '--id nothing: there is no such test'],
  ])('rejects %j, and prints the accepted arguments', async (args, message) => {
    const { code, output } = await conformance(built, ...args);
    expect(output).toContain(message);
    expect(code).toBe(2);
  });
});
