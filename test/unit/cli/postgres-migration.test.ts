import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { changesMigration } from 'hotpath/postgres';
import { describe, expect, it } from 'vitest';
import { runCli } from '../../../src/cli/run-cli.js';

async function run(...args: readonly string[]) {
  const output = { out: '', error: '', code: 0 };
  output.code = await runCli(['postgres:migration', ...args], {
    out: (text) => void (output.out += text),
    error: (text) => void (output.error += text),
    columns: undefined,
  });
  return output;
}

describe('hotpath postgres:migration', () => {
  it('prints the SQL of tables that its arguments name', async () => {
    const { out, error, code } = await run(
      'products:id,category_id',
      'shop."Order: Items":Id',
      '--grant',
      'app',
    );
    expect({ error, code }).toEqual({ error: '', code: 0 });
    expect(out).toBe(
      changesMigration(
        { products: { columns: ['id', 'category_id'] }, 'shop."Order: Items"': { columns: ['Id'] } },
        { grantTo: 'app' },
      ),
    );
    expect(out).toContain('ON "shop"."Order: Items"');
    expect(out).toContain('GRANT USAGE ON SCHEMA hotpath TO "app"');
    // The names of partitions alone come from the server.
    for (const [, dynamic] of out.matchAll(/EXECUTE format\((.*?)\);\n/gs))
      expect(dynamic).toMatch(/%s.*, part\.relid::regclass$/s);
  });

  it('reads the mapping of a module', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hotpath-migration-'));
    try {
      const file = join(folder, 'changes.mjs');
      await writeFile(
        file,
        `export const changes = { Stock: { columns: ['id'], tags: ({ id }) => 'stock:' + id } };`,
      );
      const { out, code } = await run('--from', file);
      expect(code).toBe(0);
      expect(out).toBe(changesMigration({ stock: { columns: ['id'] } }));
      await writeFile(join(folder, 'none.mjs'), 'export const other = 1;');
      expect((await run('--from', join(folder, 'none.mjs'))).error).toContain('exports no mapping');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it.each([
    [[], 'name a table'],
    [['a.b.c:id'], 'is no name of a table'],
    [['1st:id'], 'is no name of a table'],
    [[':id'], 'is no table with columns'],
  ])('explains the mistake in %j', async (args, message) => {
    const { error, code } = await run(...args);
    expect(code).toBe(2);
    expect(error).toContain(message);
  });
});
