import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

function conformance(...args: string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const command = ['--import', 'tsx', 'scripts/conformance.ts', ...args];
    execFile(process.execPath, command, { cwd: root, timeout: 150_000 }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr });
    });
  });
}

describe('npm run conformance', () => {
  it('one test, on both majors: says what was seen, and ends by itself', async () => {
    const { code, output } = await conformance('--profile', 'none', '--id', 'freshness-s-maxage-shared');
    expect(output).toContain('== none, Express 5');
    expect(output).toContain('== none, Express 4');
    expect(output).toContain('freshness-s-maxage-shared: Response 2 does not come from cache');
    expect(code).toBe(0);
  });

  it.each([
    [['--express', '3'], '--express 3: expected one of 5, 4'],
    [['--profile', 'fast'], '--profile fast: expected one of rfc9111, safe, none'],
    [['--id', 'nothing'], '--id nothing: there is no such test'],
  ])('%j is refused, and what is accepted is said', async (args, message) => {
    const { code, output } = await conformance(...args);
    expect(output).toContain(message);
    expect(code).toBe(2);
  });
});
