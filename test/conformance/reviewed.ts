import type { Outcomes } from './outcome.js';
import type { Results, SuiteGroup, SuiteTest } from './suite.js';

/** Why a test is not passed, as somebody has reviewed it. */
export interface ReviewedEntry {
  /** The profiles that it holds for. */
  readonly profiles: readonly string[];
  /**
   * The refusal that explains it: a word that `Cache-Status` must say in one of the test's answers, so that the
   * test is known to fail for this reason and no other. None: the reason lies outside the cache.
   */
  readonly refusal?: string;
  readonly reason: string;
}

export type Reviewed = Readonly<Record<string, ReviewedEntry>>;

/** A test that is not passed. */
export interface Failure {
  readonly group: SuiteGroup;
  readonly test: SuiteTest;
  /** What the suite saw. */
  readonly message: string;
  /** `Cache-Status` of the answers. */
  readonly statuses: readonly string[];
  /** `explained`; `unlisted`; or listed with a refusal that no answer gave. */
  readonly review: 'explained' | 'unlisted' | 'otherwise';
  readonly entry: ReviewedEntry | undefined;
}

export interface Review {
  readonly failures: readonly Failure[];
  /** Tests that are on the list and pass. */
  readonly stale: readonly string[];
}

/** What one run has to say, beside the outcomes. */
export interface RunFacts {
  readonly profile: string;
  readonly results: Results;
  readonly statuses: Readonly<Record<string, readonly string[]>>;
}

/**
 * Holds a run against the reviewed list. A test that passes by itself is no failure when one that it depends on
 * is not passed: that other one is.
 */
export function reviewRun(
  groups: readonly SuiteGroup[],
  { profile, results, statuses }: RunFacts,
  reviewed: Reviewed,
): Review {
  const failures: Failure[] = [];
  const stale: string[] = [];
  for (const group of groups) {
    for (const test of group.tests) {
      const result = results[test.id];
      const listed = reviewed[test.id];
      const entry = listed?.profiles.includes(profile) ? listed : undefined;
      if (result === true) {
        if (entry) stale.push(test.id);
        continue;
      }
      const seen = statuses[test.id] ?? [];
      failures.push({
        group,
        test,
        message: result ? `${result[0] === 'Assertion' ? '' : `${result[0]}: `}${result[1]}` : 'no result',
        statuses: seen,
        review: !entry ? 'unlisted' : explains(entry, seen) ? 'explained' : 'otherwise',
        entry,
      });
    }
  }
  return { failures, stale };
}

/** The failures that make a run fail: required tests that no reviewed entry explains. */
export function unexplained({ failures }: Review): Failure[] {
  return failures.filter(({ test, review }) => test.kind === 'required' && review !== 'explained');
}

/** Entries of the list that no test of the suite has. */
export function unknownIds(groups: readonly SuiteGroup[], reviewed: Reviewed): string[] {
  const known = new Set(groups.flatMap(({ tests }) => tests.map(({ id }) => id)));
  return Object.keys(reviewed).filter((id) => !known.has(id));
}

function explains({ refusal }: ReviewedEntry, statuses: readonly string[]): boolean {
  if (refusal === undefined) return true;
  return statuses.some((status) => status.split(/[\s;,="]+/).includes(refusal));
}

/** How many tests ended how, of those that were not passed. */
export function tally(outcomes: Outcomes): Map<string, number> {
  const counts = new Map<string, number>();
  for (const outcome of outcomes.values()) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  return counts;
}
