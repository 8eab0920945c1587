import type { Kind, Results, SuiteGroup, SuiteTest } from './suite.js';

/**
 * The outcome of a test, by the rules of the result pages of the suite:
 * - `dependency`: a test that it depends on has not passed, so its own result proves nothing;
 * - `setup`: a step before the point of the test failed;
 * - `retry`: the origin received one request twice;
 * - `untested`: there is no result.
 */
export type Outcome = 'pass' | 'fail' | 'setup' | 'retry' | 'dependency' | 'untested';

export type Outcomes = ReadonlyMap<string, Outcome>;

/** The outcome of every test. */
export function outcomesOf(groups: readonly SuiteGroup[], results: Results): Outcomes {
  const tests = new Map(groups.flatMap((group) => group.tests).map((test) => [test.id, test]));
  const outcomes = new Map<string, Outcome>();
  const outcomeOf = (test: SuiteTest): Outcome => {
    const known = outcomes.get(test.id);
    if (known) return known;
    const outcome = judge(test);
    outcomes.set(test.id, outcome);
    return outcome;
  };
  const judge = (test: SuiteTest): Outcome => {
    const result = results[test.id];
    if (result === undefined) return 'untested';
    const needed = test.dependsOn.flatMap((id) => tests.get(id) ?? []);
    if (needed.some((other) => outcomeOf(other) !== 'pass')) return 'dependency';
    if (result === true) return 'pass';
    if (result[0] === 'Setup') return result[1] === 'retry' ? 'retry' : 'setup';
    return 'fail';
  };
  for (const test of tests.values()) outcomeOf(test);
  return outcomes;
}

/** The outcomes as the suite shows and counts them: each test alone. */
export function bothOutcomes(
  groups: readonly SuiteGroup[],
  results: Results,
): { outcomes: Outcomes; alone: Outcomes } {
  const independent = groups.map((group) => ({
    ...group,
    tests: group.tests.map((test) => ({ ...test, dependsOn: [] })),
  }));
  return { outcomes: outcomesOf(groups, results), alone: outcomesOf(independent, results) };
}

/** Passed tests, and all tests. */
export interface Count {
  passed: number;
  total: number;
}

export function countOf(tests: readonly SuiteTest[], outcomes: Outcomes, kind: Kind): Count {
  const ofKind = tests.filter((test) => test.kind === kind);
  return {
    passed: ofKind.filter(({ id }) => outcomes.get(id) === 'pass').length,
    total: ofKind.length,
  };
}
