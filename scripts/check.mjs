// Runs every check in turn, and prints one last line: `N passed, N failed`. Each test counts, and each other
// check counts as one. A failed check does not stop the others.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endWithSignals, killGroup, spawnGroup } from './child-groups.mjs';
import { countTests } from './count-tests.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const scratch = await mkdtemp(join(tmpdir(), 'hotpath-check-'));
const report = join(scratch, 'tests.json');
const minute = 60_000;

// Time limits for hung checks, with room for a machine a few times slower than most. `npm pack` in the
// package checks would otherwise build again (`prepare`).
const packed = { npm_config_ignore_scripts: 'true' };
/**
 * One group after the other. The checks of a group run two at a time, as each keeps one core busy at most. The leak test
 * uses all cores, so it comes last.
 */
const groups = [
  // Builds nothing where `npm install` has just built the same sources. The benchmarks import the types of the build.
  [{ name: 'build', script: 'prepare', limit: 8 * minute }],
  [{ name: 'tests', script: 'test', limit: 30 * minute, env: { TEST_REPORT: report } }],
  [
    // Mostly waits for entries to age.
    { name: 'conformance', script: 'conformance', limit: 10 * minute },
    { name: 'long tests', script: 'test:long', limit: 15 * minute },
    { name: 'types', script: 'typecheck', limit: 8 * minute },
    { name: 'lint', script: 'lint', limit: 4 * minute },
    { name: 'publint', script: 'publint', limit: 3 * minute, env: packed },
    { name: 'attw', script: 'attw', limit: 6 * minute, env: packed },
    { name: 'leaks', script: 'test:leaks', limit: 15 * minute, env: { LEAK_REQUESTS: '80000' } },
  ],
];

endWithSignals();

let passed = 0;
let failed = 0;
const failures = [];
for (const group of groups) {
  const waiting = [...group];
  const runInTurn = async () => {
    for (let check = waiting.shift(); check; check = waiting.shift()) await count(check, group.length > 1);
  };
  await Promise.all([runInTurn(), runInTurn()]);
}
await rm(scratch, { recursive: true, force: true });

console.log(failures.length > 0 ? `\nfailed: ${failures.join(', ')}` : '\neverything passed');
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

/** Runs a check and adds its results. Output of one beside another is printed at its end, so that it stays together. */
async function count(check, isBesideOthers) {
  const printed = [];
  const print = isBesideOthers ? (text) => printed.push(text) : (text) => process.stdout.write(text);
  print(`\n== ${check.name}\n`);
  const ok = await run(check, print, isBesideOthers);
  process.stdout.write(printed.join(''));
  const results =
    check.name === 'tests' ? countTests(await readReport(), ok) : { passed: ok ? 1 : 0, failed: ok ? 0 : 1 };
  passed += results.passed;
  failed += results.failed;
  if (results.failed > 0) failures.push(check.name);
}

/** Runs one npm script up to its time limit; resolves to whether it succeeded. */
function run({ script, limit, env }, print, isBesideOthers) {
  return new Promise((resolve) => {
    const args = script === 'test' ? ['test'] : ['run', '--silent', script];
    const output = isBesideOthers ? 'pipe' : 'inherit';
    const stdio = ['ignore', output, output];
    const child = spawnGroup('npm', args, { cwd: root, env: { ...process.env, ...env }, stdio });
    for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', print);
    const timer = setTimeout(() => {
      print(`${script}: stopped after ${limit / minute} min\n`);
      killGroup(child);
    }, limit);
    child.once('error', (error) => {
      clearTimeout(timer);
      print(`${script}: ${error.message}\n`);
      resolve(false);
    });
    child.once('exit', () => {
      killGroup(child);
      // A process of another group may hold the output open.
      setTimeout(() => [child.stdout, child.stderr].map((stream) => stream?.destroy()), 5000).unref();
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve(code === 0);
    });
  });
}

async function readReport() {
  try {
    return JSON.parse(await readFile(report, 'utf8'));
  } catch {
    return undefined;
  }
}
