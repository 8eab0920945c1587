import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { program } from '../helpers/program.js';

describe('a purge in a worker of node:cluster without Redis', () => {
  it('is not acknowledged, and warns once that only this worker is purged', async () => {
    const { execArgv, file } = program('test/process/children/purging-workers.ts');
    const { stdout } = await promisify(execFile)(process.execPath, [...execArgv, file], { timeout: 150_000 });
    const found = JSON.parse(stdout.trim().split('\n').at(-1)!);
    expect(found.before).toEqual(['run 1', 'run 1']);
    expect(found.after).toEqual(['run 2', 'run 1']);
    expect(found.result).toEqual({ position: 1, erased: 0, acknowledged: false });
    expect(found.told).toEqual([[expect.stringMatching(/^HOTPATH_PURGE_LOCAL: .*cache\.redis/)], []]);
    // The primary runs in another process.
    expect(found.alone).toMatchObject({ acknowledged: true });
    expect(found.warnings).toEqual([]);
  });
});
