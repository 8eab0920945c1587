import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const require = createRequire(import.meta.url);

it('leaves no open handle after close(), says Jest', () => {
  // Jest loads CommonJS.
  const outfile = join(root, 'node_modules', '.cache', 'hotpath-jest', 'hotpath.cjs');
  buildSync({
    entryPoints: [join(root, 'src/index.ts')],
    outfile,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'cjs',
    target: 'node20.19',
  });
  const jest = join(dirname(require.resolve('jest/package.json')), 'bin', 'jest.js');
  const config = {
    rootDir: join(root, 'test/compat/jest'),
    testMatch: ['**/*.cjs'],
    transform: {},
    testTimeout: 60_000,
    haste: { enableSymlinks: false },
  };
  const args = [jest, '--detectOpenHandles', '--ci', '--no-cache', '--config', JSON.stringify(config)];
  const { status, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    env: { ...process.env, HOTPATH_PROGRAM: outfile, NODE_OPTIONS: '' },
  });
  expect(stderr).not.toMatch(/open handle/);
  expect([status, stderr]).toEqual([0, expect.stringContaining('1 passed')]);
});
