import { bothOutcomes, countOf, type Outcomes } from './outcome.js';
import { type Failure, type Review, tally, unexplained } from './reviewed.js';
import { KINDS, type Kind, type Published, type SuiteGroup } from './suite.js';

/** One run, judged. */
export interface Judged {
  /** As a column's heading: `rfc9111, Express 5`. */
  readonly name: string;
  readonly outcomes: Outcomes;
  /** The outcomes when a test that passes counts, whatever it depends on. */
  readonly alone: Outcomes;
  readonly review: Review;
}

type Column = Pick<Judged, 'name' | 'outcomes' | 'alone'>;

/** What a run found, for the terminal: totals, then every test that is not passed. */
export function printed(groups: readonly SuiteGroup[], run: Judged, everything: boolean): string {
  const lines = [`== ${run.name}`];
  for (const kind of KINDS) {
    const alone = share(groups, run.alone, kind);
    lines.push(
      `${kind.padEnd(9)} ${share(groups, run.outcomes, kind)} passed (${alone} without dependencies)`,
    );
  }
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
  if (shown.length > 0)
    lines.push('', everything ? 'not passed:' : 'required, not passed, and not explained:');
  for (const kind of KINDS) {
    for (const failure of shown.filter(({ test }) => test.kind === kind)) lines.push(...describe(failure));
  }
  if (run.review.stale.length > 0)
    lines.push('', `on the reviewed list, yet passed: ${run.review.stale.join(', ')}`);
  return lines.join('\n');
}

function describe({ group, test, message, statuses, review, entry }: Failure): string[] {
  const note = review === 'otherwise' ? ` (listed as ${entry?.refusal}, which no answer says)` : '';
  return [
    `  ${test.kind.padEnd(8)} ${group.id} / ${test.id}: ${message}${note}`,
    ...(statuses.length > 0 ? [`           ${statuses.join(' | ')}`] : []),
  ];
}

/** `RESULTS.md`: our runs beside the published results, then what we do not pass and why. */
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
  lines.push('', '## What we do not pass');
  for (const run of runs) lines.push('', ...failuresOf(run));
  return `${lines.join('\n')}\n`;
}

function failuresOf({ name, review }: Judged): string[] {
  const lines = [`### ${name}`, ''];
  const { failures } = review;
  if (failures.length === 0) return [...lines, 'Nothing.'];
  lines.push('| test | kind | refusal | reason |', '| --- | --- | --- | --- |');
  for (const { test, review: how, entry } of failures) {
    const reason =
      how === 'explained' ? entry?.reason : how === 'unlisted' ? 'not reviewed' : 'another than listed';
    lines.push(`| \`${test.id}\` | ${test.kind} | ${entry?.refusal ?? ''} | ${escaped(reason ?? '')} |`);
  }
  return lines;
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
