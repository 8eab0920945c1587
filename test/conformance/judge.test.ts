import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { bothOutcomes, countOf, outcomesOf } from './outcome.js';
import { enough, type Judged, resultsPage } from './report.js';
import {
  misplacedIds,
  type Reviewed,
  type ReviewedEntry,
  type RunFacts,
  reviewRun,
  unexplained,
} from './reviewed.js';
import { type Kind, loadPublished, loadSuite, type Results, type SuiteGroup } from './suite.js';

function group(...tests: [id: string, kind: Kind, dependsOn?: string[]][]): SuiteGroup {
  return {
    id: 'group',
    name: 'Group',
    tests: tests.map(([id, kind, dependsOn = []]) => ({ id, name: id, kind, dependsOn })),
  };
}

const wrong: Results[string] = ['Assertion', 'wrong'];

describe('how a test ended', () => {
  it('a test proves nothing when one that it depends on is not passed, however far away', () => {
    const groups = [group(['c', 'check', ['b']], ['b', 'required', ['a']], ['a', 'optimal'])];
    const { outcomes, alone } = bothOutcomes(groups, { a: wrong, b: true, c: true });
    expect(Object.fromEntries(outcomes)).toEqual({ a: 'fail', b: 'dependency', c: 'dependency' });
    expect(Object.fromEntries(alone)).toEqual({ a: 'fail', b: 'pass', c: 'pass' });
  });

  it('tells failures, setups that went wrong, retries, errors and tests without a result apart', () => {
    const groups = [
      group(['a', 'required'], ['b', 'required'], ['c', 'required'], ['d', 'required'], ['e', 'required']),
    ];
    const results: Results = { a: wrong, b: ['Setup', 'x'], c: ['Setup', 'retry'], d: ['FetchError', 'x'] };
    expect([...outcomesOf(groups, results).values()]).toEqual(['fail', 'setup', 'retry', 'fail', 'untested']);
  });
});

describe('what the reviewed list explains', () => {
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

  it('a test that counts, is not passed and not listed makes the run fail; one that only asks does not', () => {
    expect(ids(unexplained(review([])))).toEqual(['a', 'c']);
    expect(ids(unexplained(review([entry])))).toEqual(['c']);
  });

  it('an entry explains nothing in a profile that it does not name', () => {
    expect(ids(unexplained(review([entry], { profile: 'rfc9111' })))).toEqual(['a', 'c']);
  });

  it.each([
    ['no answer gives its refusal', ['hotpath; fwd=uri-miss; stored', 'hotpath; hit']],
    ['none is known', []],
    ['only the answer that fails gives it', ['hotpath; stored', 'hotpath; detail=set-cookie']],
    ['the answers before give another', ['hotpath; fwd=uri-miss; detail=status', 'hotpath; fwd=uri-miss']],
    ['one before gives another too', ['hotpath; detail=set-cookie', 'hotpath; detail=status', 'hotpath']],
  ])('an entry explains nothing when %s', (_when, statuses) => {
    const at = statuses.length > 2 ? 3 : 2;
    const failed = { ...results, a: ['Assertion', `Response ${at} does not come from cache`] } as const;
    expect(ids(unexplained(review([entry], { results: failed, statuses: { a: statuses } })))).toContain('a');
  });

  it('a request by another method passes by, which is no second refusal', () => {
    const third = { ...results, a: ['Assertion', 'Response 3 does not come from cache'] } as const;
    const statuses = { a: ['hotpath; detail=set-cookie', 'hotpath; fwd=method', 'hotpath'] };
    expect(ids(unexplained(review([entry], { results: third, statuses })))).toEqual(['c']);
  });

  it('what is listed by the answer that fails must be in that answer', () => {
    const hit: ReviewedEntry = { profiles: ['safe'], seen: 'hit', reason: 'why', tests: ['a'] };
    expect(ids(unexplained(review([hit])))).toEqual(['a', 'c']);
    expect(ids(unexplained(review([hit], { statuses: { a: ['hotpath; stored', 'hotpath; hit'] } })))).toEqual(
      ['c'],
    );
  });

  it('what is listed as failing without a cache must fail there in this very run', () => {
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

  it('what is listed as passing with a rule must pass with one in this very run', () => {
    const ruled: ReviewedEntry = { ...entry, passesWithRule: true };
    expect(ids(unexplained(review([ruled], { withRule: { a: true } })))).toEqual(['c']);
    expect(ids(unexplained(review([ruled], { withRule: { a: wrong } })))).toEqual(['a', 'c']);
    expect(ids(unexplained(review([ruled])))).toEqual(['a', 'c']);
  });

  it('a listed test that passes is told of', () => {
    const passing = [{ ...entry, tests: ['b'] }];
    expect(review(passing).stale).toEqual(['b']);
    expect(review(passing, { profile: 'rfc9111' }).stale).toEqual([]);
  });

  it('a listed test that the suite does not have, or that is listed twice, is told of', () => {
    expect(misplacedIds(groups, [entry, { ...entry, tests: ['z'] }])).toEqual(['z']);
    expect(misplacedIds(groups, [entry, { ...entry, tests: ['a'] }])).toEqual(['a']);
    expect(misplacedIds(groups, [entry, { ...entry, profiles: ['rfc9111'], tests: ['a'] }])).toEqual([]);
  });

  it('an optimal test counts where it applies, and 95 of 100 are enough', () => {
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

describe('the suite as it is installed', () => {
  it('has its tests for caches at servers, and published results whose counts are known', async () => {
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

  it('its reviewed list names only tests that it has, each once for a profile', async () => {
    const list = await readFile(new URL('reviewed.json', import.meta.url), 'utf8');
    expect(misplacedIds(await loadSuite(), JSON.parse(list) as Reviewed)).toEqual([]);
  });

  it('the page of results lists every test that we do not pass, with its reason', () => {
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
