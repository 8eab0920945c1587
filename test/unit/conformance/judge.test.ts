import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { bothOutcomes, countOf, outcomesOf } from '../../conformance/outcome.js';
import { enough, type Judged, resultsPage } from '../../conformance/report.js';
import {
  misplacedIds,
  type Reviewed,
  type ReviewedEntry,
  type RunFacts,
  reviewRun,
  unexplained,
} from '../../conformance/reviewed.js';
import {
  type Kind,
  loadPublished,
  loadSuite,
  type Results,
  type SuiteGroup,
} from '../../conformance/suite.js';

function group(...tests: [id: string, kind: Kind, dependsOn?: string[]][]): SuiteGroup {
  return {
    id: 'group',
    name: 'Group',
    tests: tests.map(([id, kind, dependsOn = []]) => ({ id, name: id, kind, dependsOn })),
  };
}

const wrong: Results[string] = ['Assertion', 'wrong'];

describe('test outcomes', () => {
  it('prove nothing when a direct or indirect dependency has not passed', () => {
    const groups = [group(['c', 'check', ['b']], ['b', 'required', ['a']], ['a', 'optimal'])];
    const { outcomes, alone } = bothOutcomes(groups, { a: wrong, b: true, c: true });
    expect(Object.fromEntries(outcomes)).toEqual({ a: 'fail', b: 'dependency', c: 'dependency' });
    expect(Object.fromEntries(alone)).toEqual({ a: 'fail', b: 'pass', c: 'pass' });
  });

  it('tell failures, wrong setups, retries, errors and missing results apart', () => {
    const groups = [
      group(['a', 'required'], ['b', 'required'], ['c', 'required'], ['d', 'required'], ['e', 'required']),
    ];
    const results: Results = { a: wrong, b: ['Setup', 'x'], c: ['Setup', 'retry'], d: ['FetchError', 'x'] };
    expect([...outcomesOf(groups, results).values()]).toEqual(['fail', 'setup', 'retry', 'fail', 'untested']);
  });
});

describe('the reviewed list', () => {
  const groups = [group(['a', 'required'], ['b', 'required'], ['c', 'optimal'], ['d', 'check'])];
  const entry: ReviewedEntry = { profiles: ['safe'], refusal: 'set-cookie', reason: 'why', tests: ['a'] };
  const second: Results[string] = ['Assertion', 'Response 2 does not come from cache'];
  const results = { a: second, b: true, c: wrong, d: wrong } as const;
  const said = { a: ['hotpath; fwd=uri-miss; detail=set-cookie', 'hotpath; fwd=uri-miss; detail=status'] };
  const review = (reviewed: Reviewed, facts: Partial<RunFacts> = {}) =>
    reviewRun(
      groups,
      { profile: 'safe', results, statuses: said, withoutCache: {}, withRule: {}, ...facts },
      reviewed,
    );
  const ids = (list: { test: { id: string } }[]) => list.map(({ test }) => test.id);

  it('fails the run for an unlisted failing test that counts, and not for a mere check', () => {
    expect(ids(unexplained(review([])))).toEqual(['a', 'c']);
    expect(ids(unexplained(review([entry])))).toEqual(['c']);
  });

  it('explains nothing in a profile that an entry does not name', () => {
    expect(ids(unexplained(review([entry], { profile: 'rfc9111' })))).toEqual(['a', 'c']);
  });

  it.each([
    ['no answer gives its refusal', ['hotpath; fwd=uri-miss; stored', 'hotpath; hit']],
    ['none is known', []],
    ['only the answer that fails gives it', ['hotpath; stored', 'hotpath; detail=set-cookie']],
    ['the answers before give another', ['hotpath; fwd=uri-miss; detail=status', 'hotpath; fwd=uri-miss']],
    ['one before gives another too', ['hotpath; detail=set-cookie', 'hotpath; detail=status', 'hotpath']],
  ])('explains nothing when %s', (_when, statuses) => {
    const at = statuses.length > 2 ? 3 : 2;
    const failed = { ...results, a: ['Assertion', `Response ${at} does not come from cache`] } as const;
    expect(ids(unexplained(review([entry], { results: failed, statuses: { a: statuses } })))).toContain('a');
  });

  it('counts a request with another method as a bypass, not as a second refusal', () => {
    const third = { ...results, a: ['Assertion', 'Response 3 does not come from cache'] } as const;
    const statuses = { a: ['hotpath; detail=set-cookie', 'hotpath; fwd=method', 'hotpath'] };
    expect(ids(unexplained(review([entry], { results: third, statuses })))).toEqual(['c']);
  });

  it('requires the listed word in the response that fails', () => {
    const hit: ReviewedEntry = { profiles: ['safe'], seen: 'hit', reason: 'why', tests: ['a'] };
    expect(ids(unexplained(review([hit])))).toEqual(['a', 'c']);
    expect(ids(unexplained(review([hit], { statuses: { a: ['hotpath; stored', 'hotpath; hit'] } })))).toEqual(
      ['c'],
    );
  });

  it('requires a test listed as failing without a cache to fail there in this run', () => {
    const hopeless: ReviewedEntry = {
      profiles: ['safe'],
      failsWithoutCache: true,
      reason: 'why',
      tests: ['a'],
    };
    expect(ids(unexplained(review([hopeless], { withoutCache: { a: wrong } })))).toEqual(['c']);
    expect(ids(unexplained(review([hopeless], { withoutCache: { a: true } })))).toEqual(['a', 'c']);
    expect(ids(unexplained(review([hopeless])))).toEqual(['a', 'c']);
  });

  it('requires a test listed as passing with a rule to pass with one in this run', () => {
    const ruled: ReviewedEntry = { ...entry, passesWithRule: true };
    expect(ids(unexplained(review([ruled], { withRule: { a: true } })))).toEqual(['c']);
    expect(ids(unexplained(review([ruled], { withRule: { a: wrong } })))).toEqual(['a', 'c']);
    expect(ids(unexplained(review([ruled])))).toEqual(['a', 'c']);
  });

  it('reports a listed test that passes', () => {
    const passing = [{ ...entry, tests: ['b'] }];
    expect(review(passing).stale).toEqual(['b']);
    expect(review(passing, { profile: 'rfc9111' }).stale).toEqual([]);
  });

  it('reports a listed test that is unknown or listed twice', () => {
    expect(misplacedIds(groups, [entry, { ...entry, tests: ['z'] }])).toEqual(['z']);
    expect(misplacedIds(groups, [entry, { ...entry, tests: ['a'] }])).toEqual(['a']);
    expect(misplacedIds(groups, [entry, { ...entry, profiles: ['rfc9111'], tests: ['a'] }])).toEqual([]);
  });

  it('counts an optimal test where it applies, and requires 95 of 100', () => {
    const many = group(...Array.from({ length: 21 }, (_one, n): [string, Kind] => [`t${n}`, 'optimal']));
    const listed = (tests: string[], applies?: false): ReviewedEntry[] => [
      { profiles: ['rfc9111'], reason: 'why', tests, applies },
    ];
    const run = (failing: string[], reviewed: Reviewed, profile = 'rfc9111'): Judged => {
      const outcome = Object.fromEntries(
        many.tests.map(({ id }) => [id, failing.includes(id) ? wrong : true] as const),
      );
      const facts = { profile, results: outcome, statuses: {}, withoutCache: {}, withRule: {} };
      const found = reviewRun([many], facts, reviewed);
      return { name: profile, profile, reviewed, ...bothOutcomes([many], outcome), review: found };
    };
    expect(enough([many], run(['t0'], listed(['t0'])))).toBe(true); // 20 of 21
    expect(enough([many], run(['t0', 't1'], listed(['t0', 't1'])))).toBe(false); // 19 of 21
    expect(enough([many], run(['t0', 't1'], [...listed(['t0']), ...listed(['t1'], false)]))).toBe(true); // 19 of 20
    expect(enough([many], run(['t0', 't1'], listed(['t0', 't1']), 'safe'))).toBe(true);
  });
});

describe('the installed suite', () => {
  it('has its tests for caches at servers, and published results with known counts', async () => {
    const groups = await loadSuite();
    const tests = groups.flatMap((one) => one.tests);
    const count = (kind: Kind) => tests.filter((test) => test.kind === kind).length;
    expect([count('required'), count('optimal'), count('check')]).toEqual([165, 95, 90]);

    const published = await loadPublished();
    expect(published.map(({ name }) => name)).toEqual([
      ...['nginx', 'Squid', 'ATS', 'httpd', 'Varnish', 'nuster', 'Fastly'],
    ]);
    const squid = bothOutcomes(groups, published[1]?.results as Results);
    expect(countOf(tests, squid.alone, 'required')).toEqual({ passed: 141, total: 165 });
    expect(countOf(tests, squid.outcomes, 'required')).toEqual({ passed: 122, total: 165 });
  });

  it('has every test of the reviewed list, each listed once for a profile', async () => {
    const list = await readFile(new URL('../../conformance/reviewed.json', import.meta.url), 'utf8');
    expect(misplacedIds(await loadSuite(), JSON.parse(list) as Reviewed)).toEqual([]);
  });

  it('has every test that hotpath fails on the results page, with its reason', () => {
    const groups = [group(['a', 'required'], ['b', 'required'], ['c', 'check'])];
    const reviewed: Reviewed = [
      { profiles: ['safe'], refusal: 'no-store', reason: 'Because.', tests: ['a'] },
    ];
    const results: Results = { a: ['Assertion', 'Response 2 does not come from cache'], b: wrong, c: wrong };
    const facts = {
      profile: 'safe',
      results,
      statuses: { a: ['hotpath; detail=no-store'] },
      withoutCache: {},
      withRule: {},
    };
    const run: Judged = {
      name: 'safe, Express 5',
      profile: 'safe',
      reviewed,
      ...bothOutcomes(groups, results),
      review: reviewRun(groups, facts, reviewed),
    };
    const page = resultsPage(groups, [run], [], '1.2.3');
    expect(page).toContain('| required | 0/2 |');
    expect(page).toContain('**`no-store`.** Because.\n\n- required (1): `a`\n');
    expect(page).toContain('**Not explained.**\n\n- required (1): `b`\n');
    expect(page).toContain('answered by no:\n\n- check (1): `c`\n');
    expect(resultsPage(groups, [run], [], '1.2.3')).toBe(page);
  });
});
