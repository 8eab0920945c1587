import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../../src/cli/run-cli.js';
import { examplesOf, runExample } from '../../docs/examples.js';
import { majors } from '../../helpers/http.js';

const page = readFileSync(join(import.meta.dirname, '../../../docs/assets.md'), 'utf8');
const [example] = examplesOf(page);
const before = process.cwd();
const scratch = mkdtempSync(join(tmpdir(), 'hotpath-docs-assets-'));

describe('the example of docs/assets.md', () => {
  beforeAll(async () => {
    mkdirSync(join(scratch, 'dist'));
    writeFileSync(join(scratch, 'dist/app.js'), 'export const answer = 42;\n'.repeat(100));
    process.chdir(scratch);
    const terminal = { out: () => {}, error: () => {}, columns: undefined };
    expect(await runCli(['precompress', 'dist'], terminal)).toBe(0);
  });
  afterAll(() => {
    process.chdir(before);
    rmSync(scratch, { recursive: true, force: true });
  });

  it('has at most fifteen lines', () => {
    const [step] = example!.steps;
    expect((step as { code: string }).code.trimEnd().split('\n').length).toBeLessThanOrEqual(15);
  });

  it.each(majors)('behaves as shown, on %s', async (_name, express) => {
    await runExample(example!, express);
  });
});
