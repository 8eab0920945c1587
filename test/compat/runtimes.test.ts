import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { program } from '../helpers/program.js';

const run = promisify(execFile);
const folderOf = (name: string) => dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));

/** Whether `npm install` ran the scripts of packages or not: with them, Bun's program moves into its package. */
function findBun(): string {
  const name = `@oven/bun-${process.platform}-${process.arch === 'arm64' ? 'aarch64' : process.arch}`;
  const own = join(folderOf(name), 'bin', 'bun');
  return existsSync(own) ? own : join(folderOf('bun'), 'bin', 'bun.exe');
}

function findDeno(): string {
  const libc = process.platform === 'linux' ? '-glibc' : '';
  return join(folderOf(`@deno/${process.platform}-${process.arch}${libc}`), 'deno');
}

const runtimes: [name: string, file: string, args: string[]][] = [
  ['Bun', findBun(), ['run']],
  ['Deno', findDeno(), ['run', '--allow-all', '--no-check', '--node-modules-dir=manual']],
];

describe.each(runtimes)('%s', (_name, file, args) => {
  it.each(['', 'attach'])('serves hits with their fields and body, and refuses uploads %s', async (way) => {
    const command = [...args, program('test/compat/programs/runtime.mts').file, way];
    const { stdout, stderr } = await run(file, command, { timeout: 20_000 });
    expect(stderr).not.toContain('HOTPATH_FAULT');
    const { results, accepted, refused, chunked, stats } = JSON.parse(stdout.trim().split('\n').at(-1)!);
    const fields = (name: string) =>
      results.map(({ headers }: { headers: Record<string, string> }) => headers[name]);
    expect(results.map(({ status, isWhole }: Record<string, unknown>) => [status, isWhole])).toEqual(
      Array(4).fill([200, true]),
    );
    expect(fields('x-cache')).toEqual(['MISS', 'HIT', 'HIT', 'HIT']);
    expect(new Set(fields('content-type'))).toEqual(new Set(['application/json; charset=utf-8']));
    expect(new Set(fields('x-own'))).toEqual(new Set(['yes']));
    expect(fields('etag')[1]).toBe(fields('etag')[0]);
    expect([accepted, refused]).toEqual([[200, '{"a":1}'], 413]);
    expect(chunked).toEqual([
      expect.stringContaining('"status":413'),
      expect.stringContaining('written after it: 413'),
    ]);
    expect(stats).toEqual({ hits: 0, skipped: way ? { adapter: expect.any(Number) } : {} });
  });
});
