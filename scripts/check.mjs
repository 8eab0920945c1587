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
const checks = [
  { name: 'lint', script: 'lint', limit: 4 * minute },
  { name: 'types', script: 'typecheck', limit: 8 * minute },
  { name: 'build', script: 'build', limit: 8 * minute },
  { name: 'tests', script: 'test', limit: 30 * minute, env: { TEST_REPORT: report } },
  { name: 'publint', script: 'publint', limit: 3 * minute, env: packed },
  { name: 'attw', script: 'attw', limit: 6 * minute, env: packed },
  { name: 'conformance', script: 'conformance', limit: 10 * minute },
];

endWithSignals();

let passed = 0;
let failed = 0;
const failures = [];
for (const check of checks) {
  console.log(`\n== ${check.name}`);
  const ok = await run(check);
  const count =
    check.name === 'tests' ? countTests(await readReport(), ok) : { passed: ok ? 1 : 0, failed: ok ? 0 : 1 };
  passed += count.passed;
  failed += count.failed;
  if (count.failed > 0) failures.push(check.name);
}
await rm(scratch, { recursive: true, force: true });

console.log(failures.length > 0 ? `\nfailed: ${failures.join(', ')}` : '\neverything passed');
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

/** Runs one npm script up to its time limit; resolves to whether it succeeded. */
function run({ script, limit, env }) {
  return new Promise((resolve) => {
    const args = script === 'test' ? ['test'] : ['run', '--silent', script];
    const stdio = ['ignore', 'inherit', 'inherit'];
    const child = spawnGroup('npm', args, { cwd: root, env: { ...process.env, ...env }, stdio });
    const timer = setTimeout(() => {
      console.log(`${script}: stopped after ${limit / minute} min`);
      killGroup(child);
    }, limit);
    child.once('error', (error) => {
      clearTimeout(timer);
      console.log(`${script}: ${error.message}`);
      resolve(false);
    });
    child.once('exit', (code) => {
      clearTimeout(timer);
      killGroup(child);
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
