// Runs the tests of the database on every supported release line of PostgreSQL, one after the other, and prints a table.
//
//   npm run test:postgres                        test/services/postgres on 14, 15, 16, 17 and 18
//   npm run test:postgres -- --only 14,18        on some of them
//   npm run test:postgres -- statistics          only files whose path contains it
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { endWithSignals, readOnly, spawnGroup } from './child-groups.mjs';
import { countTests } from './count-tests.mjs';
import { installPostgres, POSTGRES_LINES } from './install-postgres.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values, positionals } = parseArgs({ options: { only: { type: 'string' } }, allowPositionals: true });
const lines = readOnly(values.only, POSTGRES_LINES);
endWithSignals();
installPostgres();

const rows = [];
for (const line of lines) rows.push(await runOn(line));
console.table(Object.fromEntries(rows.map(({ line, ...row }) => [`PostgreSQL ${line}`, row])));
process.exitCode = rows.every(({ result }) => result === 'green') ? 0 : 1;

async function runOn(line) {
  console.log(`\n== PostgreSQL ${line}`);
  const startedAt = performance.now();
  const scratch = await mkdtemp(join(tmpdir(), 'hotpath-test-postgres-'));
  const report = join(scratch, 'tests.json');
  const files = positionals.map((name) => `test/services/postgres/${name}`);
  const projects = ['--project', 'isolated', '--project', 'shared'];
  const args = ['run', ...projects, ...(files.length > 0 ? files : ['test/services/postgres'])];
  const ok = await new Promise((resolve) => {
    const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
    const child = spawnGroup(process.execPath, [vitest, ...args], {
      cwd: root,
      env: { ...process.env, HOTPATH_POSTGRES: line, TEST_REPORT: report },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    child.once('error', () => resolve(false));
    child.once('exit', (code) => resolve(code === 0));
  });
  const text = await readFile(report, 'utf8').catch(() => undefined);
  await rm(scratch, { recursive: true, force: true });
  const row = { line, ...countTests(text === undefined ? undefined : JSON.parse(text), ok) };
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  return { ...row, seconds, result: ok && row.failed === 0 ? 'green' : 'red' };
}
