// Runs the test suites of Express and of packages around it with hotpath in front, and compares the results.
//
//   npm run test:foreign                              every suite; each needs a checkout (see CONTRIBUTING.md)
//   npm run test:foreign -- --only express5,undici    some of them
//
// Each suite runs without hotpath and with it. A test that passes without it and not with it is a difference. Ends with
// 1 when a difference is not in test/foreign/reviewed.json, when one of that list no longer occurs, and when a suite
// has no checkout. Downloads nothing but the dependencies of a suite, into a copy of its checkout: HOTPATH_FOREIGN, or
// a directory under the system's temporary directory.
import { cp, mkdir, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { findDifferences, readResults, review } from '../test/foreign/compare.mjs';
import { SUITES } from '../test/foreign/suites.mjs';
import { endWithSignals, killGroup, readOnly, spawnGroup } from './child-groups.mjs';

const LIMIT = 40 * 60_000;
/** Runs with hotpath before a difference counts: some tests depend on how busy the machine is. */
const TRIES = 3;

const root = fileURLToPath(new URL('..', import.meta.url));
const here = (path) => join(root, 'test/foreign', path);
const home = process.env.HOTPATH_FOREIGN ?? join(tmpdir(), 'hotpath-foreign');

const { values } = parseArgs({ options: { only: { type: 'string' } } });
const names = readOnly(
  values.only,
  SUITES.map(({ name }) => name),
);
endWithSignals();

const reviewed = JSON.parse(await readFile(here('reviewed.json'), 'utf8'));
await run('npm', ['run', '--silent', 'build'], { cwd: root, name: 'build' });
const rows = {};
for (const suite of SUITES.filter(({ name }) => names.includes(name))) {
  try {
    rows[suite.name] = await runSuite(suite);
  } catch (error) {
    console.error(`${suite.name}: ${error.message}`);
    rows[suite.name] = { result: 'red' };
  }
}
console.log();
console.table(rows);
process.exitCode = Object.values(rows).every(({ result }) => result === 'green') ? 0 : 1;

async function runSuite(suite) {
  const { name, tag, repository } = suite;
  const variable = `FOREIGN_${name.replace('-', '_').toUpperCase()}`;
  const checkout = process.env[variable];
  if (!checkout) {
    console.error(
      `${name}: not run. Set ${variable} to a checkout: git clone --depth 1 --branch ${tag} ${repository} DIR. ` +
        'To leave the suite out, name the others with --only.',
    );
    return { result: 'not run' };
  }
  console.log(`\n== ${name}`);
  const folder = await copyOf(suite, checkout);
  const without = await resultsOf(suite, folder, 'off');
  const behind = await resultsOf(suite, folder, 'on');
  let found = review(name, findDifferences(without, behind), reviewed);
  for (let tries = 1; tries < TRIES && found.unlisted.length > 0; tries++) {
    const titles = found.unlisted.map(({ title }) => title);
    console.log(`${name}: again, because of ${titles.length} differences`);
    const again = await resultsOf(suite, folder, 'on', titles);
    for (const title of titles) if (again.has(title)) behind.set(title, again.get(title));
    found = review(name, findDifferences(without, behind), reviewed);
  }
  for (const { title, error } of found.unlisted) console.error(`\nnot on the list: ${title}\n${error}`);
  for (const title of found.gone) console.error(`\non the list, but no difference: ${title}`);
  const passed = [...without.values()].filter(({ outcome }) => outcome === 'passed').length;
  const failed = [...without.values()].filter(({ outcome }) => outcome === 'failed').length;
  const isGreen = passed > 0 && found.unlisted.length === 0 && found.gone.length === 0;
  return {
    'passed without': passed,
    'failed without': failed,
    'listed differences': found.explained,
    'other differences': found.unlisted.length,
    'listed, but gone': found.gone.length,
    result: isGreen ? 'green' : 'red',
  };
}

/** A copy of a checkout with its dependencies, which are installed when its package.json has changed. */
async function copyOf({ name, tag, prepare = [] }, checkout) {
  const folder = join(home, name);
  const stamp = join(folder, 'node_modules', '.hotpath-package.json');
  const manifest = await readFile(join(checkout, 'package.json'), 'utf8');
  const { version } = JSON.parse(manifest);
  if (`v${version}` !== tag)
    console.log(`${name}: the list was reviewed with ${tag}, and this is v${version}`);
  await mkdir(folder, { recursive: true });
  for (const entry of await readdir(folder)) {
    if (entry !== 'node_modules') await rm(join(folder, entry), { recursive: true, force: true });
  }
  const isOwn = (path) => !['.git', 'node_modules'].includes(basename(path)) || path.includes('fixtures');
  await cp(checkout, folder, { recursive: true, filter: isOwn });
  const installed = await readFile(stamp, 'utf8').catch(() => undefined);
  if (installed !== manifest) {
    const args = ['install', '--ignore-scripts', '--no-package-lock', '--no-audit', '--no-fund'];
    await run('npm', [...args, '--loglevel=error'], { cwd: folder, name: 'npm install' });
    await writeFile(stamp, manifest);
  }
  for (const [program, ...args] of prepare) await run(program, args, { cwd: folder, name: args.join(' ') });
  return folder;
}

/** Runs a suite, or the tests of some titles; resolves to its results. */
async function resultsOf(suite, folder, mode, titles) {
  const report = join(home, `${suite.name}-${mode}.jsonl`);
  const output = join(home, `${suite.name}-${mode}.txt`);
  await rm(report, { force: true });
  console.log(`${suite.name}: ${mode === 'on' ? 'with' : 'without'} hotpath (output: ${output})`);
  const env = {
    ...process.env,
    NODE_ENV: 'test',
    NO_DEPRECATION: 'body-parser,express,express-session',
    NODE_OPTIONS: `--require ${JSON.stringify(here('preload.cjs'))}`,
    ...suite.env,
    FOREIGN_KIND: suite.kind,
    FOREIGN_RULE: suite.rule,
    FOREIGN_HOTPATH: mode,
    FOREIGN_REPORT: report,
  };
  const args = suite.run({ folder, report, titles });
  // Its exit code tells only that some tests have failed.
  await run(process.execPath, args, { cwd: folder, env, output, mayFail: true });
  return readResults(await readFile(report, 'utf8').catch(() => ''));
}

/** Runs a program up to the time limit. @throws Error if it fails, unless it may. */
async function run(program, args, { cwd, env = process.env, name, output, mayFail = false }) {
  const sink = output === undefined ? undefined : await open(output, 'w');
  const stdio = ['ignore', sink?.fd ?? 'ignore', sink?.fd ?? 'inherit'];
  const child = spawnGroup(program, args, { cwd, env, stdio });
  const timer = setTimeout(() => {
    console.error(`${name ?? program}: stopped after ${LIMIT / 60_000} min`);
    killGroup(child);
  }, LIMIT);
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  }).finally(() => {
    clearTimeout(timer);
    killGroup(child);
    return sink?.close();
  });
  if (code !== 0 && !mayFail) throw new Error(`${name ?? program} failed`);
}
