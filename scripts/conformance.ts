// Runs the public test suite of HTTP caches against the response cache and says what is passed.
//
//   npm run conformance                          both profiles on both majors of Express; writes RESULTS.md
//   npm run conformance -- --express 5           only runs on one major; RESULTS.md stays as it is
//   npm run conformance -- --profile rfc9111     only runs of one profile: safe, rfc9111, or none (no cache at all)
//   npm run conformance -- --id freshness-none   one test, with what was sent and received
//   npm run conformance -- --verbose             every test that is not passed, explained or not
//
// Ends with 1 when a required or optimal test fails that test/conformance/reviewed.json does not explain. The same when
// a test on that list passes, or when too few of the optimal tests do.
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runInChild } from '../test/conformance/child.js';
import { bothOutcomes } from '../test/conformance/outcome.js';
import { enough, type Judged, printed, resultsPage } from '../test/conformance/report.js';
import {
  misplacedIds,
  provedBy,
  type Reviewed,
  reviewRun,
  unexplained,
} from '../test/conformance/reviewed.js';
import type { RunOptions } from '../test/conformance/run.js';
import { loadPublished, loadSuite, type SuiteGroup, suiteVersion } from '../test/conformance/suite.js';

const here = (path: string) => fileURLToPath(new URL(`../test/conformance/${path}`, import.meta.url));

const { values } = parseArgs({
  options: {
    express: { type: 'string' },
    profile: { type: 'string' },
    id: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  },
});
const majors = chosen('express', values.express, ['5', '4'], ['5', '4'] as const);
const profiles = chosen('profile', values.profile, ['rfc9111', 'safe'], ['rfc9111', 'safe', 'none'] as const);

const all = await loadSuite();
const groups = values.id === undefined ? all : withTest(all, values.id);
const reviewed = JSON.parse(await readFile(here('reviewed.json'), 'utf8')) as Reviewed;
const misplaced = misplacedIds(all, reviewed);
if (misplaced.length > 0) usage(`reviewed.json names these wrongly, or twice: ${misplaced.join(', ')}`);

const runs: Judged[] = [];
for (const profile of profiles) {
  // Both majors at once, because a run mostly waits for entries to age.
  runs.push(...(await Promise.all(majors.map((express) => judged(express, profile)))));
}

const failed = runs.filter((run) => run.profile !== 'none' && !conforms(run));
if (values.id === undefined && values.express === undefined && values.profile === undefined) {
  const page = resultsPage(groups, runs, await loadPublished(), await suiteVersion());
  await writeFile(here('RESULTS.md'), page);
}
console.log(
  failed.length > 0
    ? `\nnot conforming: ${failed.map(({ name }) => name).join('; ')}`
    : '\nall that counts is passed, or explained',
);
process.exitCode = failed.length > 0 ? 1 : 0;

function conforms(run: Judged): boolean {
  const whole = values.id === undefined;
  return (
    unexplained(run.review).length === 0 && (!whole || (run.review.stale.length === 0 && enough(groups, run)))
  );
}

async function judged(express: '4' | '5', profile: RunOptions['profile']): Promise<Judged> {
  const dump = values.id !== undefined;
  const ids = dump ? [values.id as string] : undefined;
  const listed = (proof: Parameters<typeof provedBy>[0]) =>
    provedBy(proof, profile, reviewed).filter((id) => ids?.includes(id) ?? true);
  const proof = async (tests: string[], options: Partial<RunOptions>) =>
    tests.length > 0 ? (await runInChild({ express, profile, ...options, ids: tests })).results : {};
  const run = await runInChild({ express, profile, ids, dump, verbose: values.verbose });
  let { results, statuses, seconds } = run;
  let withoutCache = await proof(listed('failsWithoutCache'), { profile: 'none' });
  let withRule = await proof(listed('passesWithRule'), { withRule: true });
  const review = () => reviewRun(groups, { profile, results, statuses, withoutCache, withRule }, reviewed);
  let found = review();
  const again = [...unexplained(found).map(({ test }) => test.id), ...found.stale];
  if (profile !== 'none' && !dump && again.length > 0) {
    // Entries age by seconds, and on a busy machine two requests may take one. So failed tests, and their
    // prerequisites, run a second time, which counts.
    console.log(`\n${profile}, Express ${express}: run again: ${again.join(', ')}`);
    const second = await runInChild({ express, profile, ids: again });
    results = { ...results, ...second.results };
    statuses = { ...statuses, ...second.statuses };
    seconds += second.seconds;
    const once = (ids: string[]) => ids.filter((id) => again.includes(id));
    withoutCache = {
      ...withoutCache,
      ...(await proof(once(listed('failsWithoutCache')), { profile: 'none' })),
    };
    withRule = { ...withRule, ...(await proof(once(listed('passesWithRule')), { withRule: true })) };
    found = review();
  }
  const name = `${profile}, Express ${express}`;
  const result = { name, profile, reviewed, ...bothOutcomes(groups, results), review: found };
  console.log(`\n${printed(groups, result, values.verbose || dump)}\n(${seconds.toFixed(1)} s)`);
  return result;
}

function withTest(suite: readonly SuiteGroup[], id: string): SuiteGroup[] {
  const found = suite
    .map((group) => ({
      ...group,
      // Its prerequisite does not run here, so it cannot count.
      tests: group.tests.filter((test) => test.id === id).map((test) => ({ ...test, dependsOn: [] })),
    }))
    .filter(({ tests }) => tests.length > 0);
  if (found.length === 0) usage(`--id ${id}: there is no such test for a cache at a server`);
  return found;
}

function chosen<T extends string>(
  option: string,
  value: string | undefined,
  absent: readonly T[],
  accepted: readonly T[],
): readonly T[] {
  if (value === undefined) return absent;
  const found = accepted.find((one) => one === value);
  return found ? [found] : usage(`--${option} ${value}: expected one of ${accepted.join(', ')}`);
}

function usage(message: string): never {
  console.error(message);
  process.exit(2);
}
