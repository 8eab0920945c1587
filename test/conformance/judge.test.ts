import { describe, expect, it } from 'vitest';
import { bothOutcomes, countOf, outcomesOf } from './outcome.js';
import { resultsPage } from './report.js';
import { type Reviewed, reviewRun, unexplained, unknownIds } from './reviewed.js';
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
  const groups = [group(['a', 'required'], ['b', 'required'], ['c', 'optimal'])];
  const entry = { profiles: ['safe'], refusal: 'set-cookie', reason: 'why' };
  const said = { a: ['hotpath; fwd=uri-miss; detail=set-cookie', 'hotpath; fwd=uri-miss'] };
  const review = (reviewed: Reviewed, profile = 'safe', statuses: Record<string, string[]> = said) =>
    reviewRun(groups, { profile, results: { a: wrong, b: true, c: wrong }, statuses }, reviewed);
  const ids = (list: { test: { id: string } }[]) => list.map(({ test }) => test.id);

  it('a required test that is not passed and not listed makes the run fail; an optimal one does not', () => {
    expect(ids(unexplained(review({})))).toEqual(['a']);
    expect(ids(unexplained(review({ a: entry })))).toEqual([]);
  });

  it('an entry explains nothing in a profile that it does not name', () => {
    expect(ids(unexplained(review({ a: entry }, 'rfc9111')))).toEqual(['a']);
  });

  it('an entry explains nothing when no answer gives its refusal', () => {
    expect(ids(unexplained(review({ a: { ...entry, refusal: 'cookie' } })))).toEqual(['a']);
    expect(ids(unexplained(review({ a: entry }, 'safe', {})))).toEqual(['a']);
    expect(ids(unexplained(review({ a: { profiles: ['safe'], reason: 'why' } }, 'safe', {})))).toEqual([]);
  });

  it('a listed test that passes is told of', () => {
    expect(review({ b: entry }).stale).toEqual(['b']);
    expect(review({ b: entry }, 'rfc9111').stale).toEqual([]);
  });

  it('a listed test that the suite does not have is told of', () => {
    expect(unknownIds(groups, { a: entry, z: entry })).toEqual(['z']);
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

  it('the page of results lists every test that we do not pass, with its reason', async () => {
    const groups = [group(['a', 'required'], ['b', 'required'])];
    const reviewed = { a: { profiles: ['safe'], reason: 'a | b' } };
    const results = { a: wrong, b: wrong };
    const run = {
      name: 'safe, Express 5',
      ...bothOutcomes(groups, results),
      review: reviewRun(groups, { profile: 'safe', results, statuses: {} }, reviewed),
    };
    const page = resultsPage(groups, [run], [], '1.2.3');
    expect(page).toContain('| required | 0/2 |');
    expect(page).toContain('| `a` | required |  | a \\| b |');
    expect(page).toContain('| `b` | required |  | not reviewed |');
    expect(resultsPage(groups, [run], [], '1.2.3')).toBe(page);
  });
});
