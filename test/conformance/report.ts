import { bothOutcomes, type Count, countOf, type Outcomes } from './outcome.js';
import {
  applies,
  type Failure,
  type Review,
  type Reviewed,
  type ReviewedEntry,
  tally,
  unexplained,
} from './reviewed.js';
import { KINDS, type Kind, type Published, type SuiteGroup } from './suite.js';

/** One run with its verdict. */
export interface Judged {
  /** A column heading: `rfc9111, Express 5`. */
  readonly name: string;
  readonly profile: string;
  /** The reviewed list for this run. */
  readonly reviewed: Reviewed;
  readonly outcomes: Outcomes;
  /** The outcomes when each passing test counts, even if a dependency fails. */
  readonly alone: Outcomes;
  readonly review: Review;
}

/** Required share of the applicable optimal tests in the profile that allows all of the standard. */
const WANTED = 0.95;

type Column = Pick<Judged, 'name' | 'outcomes' | 'alone'>;

/** The optimal tests that apply to a cache at a server: all of them, and the passed ones. */
function optimalOf(groups: readonly SuiteGroup[], { outcomes, profile, reviewed }: Judged): Count {
  const asked = groups.flatMap(({ tests }) => tests).filter(({ id }) => applies(id, profile, reviewed));
  return countOf(asked, outcomes, 'optimal');
}

/** Whether enough optimal tests pass. The safe profile rejects what they test. */
export function enough(groups: readonly SuiteGroup[], run: Judged): boolean {
  const { passed, total } = optimalOf(groups, run);
  return run.profile !== 'rfc9111' || passed >= WANTED * total;
}

function optimalLine(groups: readonly SuiteGroup[], run: Judged): string {
  const { passed, total } = optimalOf(groups, run);
  const left =
    countOf(
      groups.flatMap(({ tests }) => tests),
      run.outcomes,
      'optimal',
    ).total - total;
  const part = `${((100 * passed) / total).toFixed(1)} %`;
  return `${passed} of the ${total} optimal tests that apply (${part}); ${left} do not apply`;
}

/** The result of a run for the terminal: totals, then each test that has not passed. */
export function printed(groups: readonly SuiteGroup[], run: Judged, everything: boolean): string {
  const lines = [`== ${run.name}`];
  for (const kind of KINDS) {
    const alone = share(groups, run.alone, kind);
    lines.push(
      `${kind.padEnd(9)} ${share(groups, run.outcomes, kind)} passed (${alone} without dependencies)`,
    );
  }
  if (run.profile === 'rfc9111') lines.push(`          ${optimalLine(groups, run)}`);
  const other = [...tally(run.outcomes)].filter(([outcome]) => outcome !== 'pass' && outcome !== 'fail');
  if (other.length > 0)
    lines.push(`          of the rest: ${other.map(([name, n]) => `${n} ${name}`).join(', ')}`);
  const width = Math.max(...groups.map(({ id }) => id.length));
  lines.push('', `${' '.repeat(width)}  ${KINDS.map((kind) => kind.padStart(9)).join(' ')}`);
  for (const group of groups) {
    const counts = KINDS.map((kind) => cell(group, run.outcomes, kind).padStart(9));
    lines.push(`${group.id.padEnd(width)}  ${counts.join(' ')}`);
  }
  const shown = everything ? run.review.failures : unexplained(run.review);
  if (shown.length > 0) lines.push('', everything ? 'not passed:' : 'not passed, and not explained:');
  for (const kind of KINDS) {
    for (const failure of shown.filter(({ test }) => test.kind === kind)) lines.push(...describe(failure));
  }
  if (run.review.stale.length > 0)
    lines.push('', `on the reviewed list, yet passed (take them off): ${run.review.stale.join(', ')}`);
  return lines.join('\n');
}

function describe({ group, test, message, statuses, review, entry }: Failure): string[] {
  const listed = entry?.refusal ?? entry?.seen ?? 'proved by another run';
  const note = review === 'otherwise' ? ` (listed as ${listed}, which the runs do not show)` : '';
  return [
    `  ${test.kind.padEnd(8)} ${group.id} / ${test.id}: ${message}${note}`,
    ...(statuses.length > 0 ? [`           ${statuses.join(' | ')}`] : []),
  ];
}

/** `RESULTS.md`: these runs beside the published results, then the tests that hotpath fails, with reasons. */
export function resultsPage(
  groups: readonly SuiteGroup[],
  runs: readonly Judged[],
  published: readonly Published[],
  suite: string,
): string {
  const others: Column[] = published.map(({ name, results }) => ({
    name,
    ...bothOutcomes(groups, results),
  }));
  const columns: Column[] = [...runs, ...others];
  const versions = published.map(({ name, version }) => `${name} ${version}`).join(', ');
  const lines = [
    '# Conformance',
    '',
    'Written by `npm run conformance`; do not edit.',
    '',
    `The tests are those of [http-cache-tests](https://cache-tests.fyi) ${suite}, the edition on npm. Our columns`,
    'are `responseCache()` in an Express app before a plain streaming proxy to the origin of the suite:',
    "`profile: 'rfc9111'` with `requestDirectives: 'honor'`, and the default, `'safe'`, with no option at all. The",
    'others are the results that the package carries, of proxies and networks of them; they are as old as the',
    `package: ${versions}.`,
    '',
    'Each cell is passed of all. A *required* test follows the standard; an *optimal* one asks whether what might',
    'be used again is; a *check* only asks what a cache does, and neither answer is wrong. Counted as the result',
    'pages of the suite count: a test that is only for browsers is left out; one whose setup went wrong, whose',
    'request was sent twice, or which depends on a test that is not passed, is not passed. The rows *alone* count',
    'as the totals of the suite do, which do not look at dependencies.',
    '',
    '## Totals',
    '',
    ...table(columns, [
      ...KINDS.map((kind) => [kind, ...columns.map(({ outcomes }) => share(groups, outcomes, kind))]),
      ...KINDS.map((kind) => [`${kind}, alone`, ...columns.map(({ alone }) => share(groups, alone, kind))]),
    ]),
  ];
  for (const kind of KINDS) {
    const rows = groups
      .filter(({ tests }) => tests.some((test) => test.kind === kind))
      .map((group) => [group.name, ...columns.map(({ outcomes }) => cell(group, outcomes, kind))]);
    lines.push('', `## By suite: ${kind}`, '', ...table(columns, rows));
  }
  lines.push('', '## What we do not pass', '');
  lines.push(
    'Every test that counts and is not passed stands on a list that was reviewed one by one',
    '(`test/conformance/reviewed.json`), with the refusal that explains it: the word that `Cache-Status` gives. The run',
    'fails when a test is not passed and not on the list, when the answers before the one that fails give another',
    'refusal than the list, when a proof that the list speaks of does not hold, and when a test of the list is passed.',
  );
  for (const run of runs) lines.push('', ...failuresOf(groups, run));
  return `${lines.join('\n')}\n`;
}

function failuresOf(groups: readonly SuiteGroup[], run: Judged): string[] {
  const lines = [`### ${run.name}`, ''];
  if (run.profile === 'rfc9111') lines.push(`${optimalLine(groups, run)}.`, '');
  const { failures } = run.review;
  const counted = failures.filter(({ test }) => test.kind !== 'check');
  if (counted.length === 0) lines.push('Nothing that counts.', '');
  for (const entry of run.reviewed) {
    const found = counted.filter((failure) => failure.review === 'explained' && failure.entry === entry);
    if (found.length > 0) lines.push(`**${headingOf(entry)}** ${entry.reason}`, '', ...listed(found), '');
  }
  const left = counted.filter(({ review }) => review !== 'explained');
  if (left.length > 0) lines.push('**Not explained.**', '', ...listed(left), '');
  const checks = failures.filter(({ test }) => test.kind === 'check');
  if (checks.length > 0) {
    lines.push(
      'Of the tests that only ask what a cache does, these are answered by no:',
      '',
      ...listed(checks),
    );
  }
  return lines.at(-1) === '' ? lines.slice(0, -1) : lines;
}

function headingOf({ refusal, applies: isAsked }: ReviewedEntry): string {
  const parts = [
    refusal === undefined ? undefined : `\`${refusal}\``,
    isAsked === false ? 'does not apply' : undefined,
  ];
  const text = parts.filter((part) => part !== undefined).join(', ');
  return text === '' ? 'Decided.' : `${text}.`;
}

function listed(failures: readonly Failure[]): string[] {
  return KINDS.flatMap((kind) => {
    const ids = failures.filter(({ test }) => test.kind === kind).map(({ test }) => `\`${test.id}\``);
    return ids.length > 0 ? [`- ${kind} (${ids.length}): ${ids.join(', ')}`] : [];
  });
}

function table(columns: readonly Column[], rows: readonly string[][]): string[] {
  return [
    `| | ${columns.map(({ name }) => name).join(' | ')} |`,
    `| --- | ${columns.map(() => '---:').join(' | ')} |`,
    ...rows.map((row) => `| ${row.map(escaped).join(' | ')} |`),
  ];
}

function share(groups: readonly SuiteGroup[], outcomes: Outcomes, kind: Kind): string {
  const { passed, total } = countOf(
    groups.flatMap(({ tests }) => tests),
    outcomes,
    kind,
  );
  return `${passed}/${total}`;
}

function cell(group: SuiteGroup, outcomes: Outcomes, kind: Kind): string {
  const { passed, total } = countOf(group.tests, outcomes, kind);
  return total === 0 ? '' : `${passed}/${total}`;
}

function escaped(text: string): string {
  return text.replaceAll('|', '\\|');
}
