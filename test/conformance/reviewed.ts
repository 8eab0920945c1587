import type { Outcomes } from './outcome.js';
import type { Results, SuiteGroup, SuiteTest } from './suite.js';

/** Failing tests that share one reason. Each was reviewed by hand. */
export interface ReviewedEntry {
  /** The profiles of this entry. */
  readonly profiles: readonly string[];
  /**
   * The refusal that explains the failure. `Cache-Status` of the earlier responses must contain this word and no
   * other, which proves that the tests fail for this reason alone.
   */
  readonly refusal?: string;
  /** A word that `Cache-Status` of the failing response must contain. */
  readonly seen?: string;
  /** The tests also fail without a cache. Each run checks this. */
  readonly failsWithoutCache?: true;
  /** The tests pass with a rule that allows caching the routes. Each run checks this. */
  readonly passesWithRule?: true;
  /** `false`: the tests do not apply to this cache, so they do not count as optimal tests. */
  readonly applies?: false | undefined;
  readonly reason: string;
  readonly tests: readonly string[];
}

export type Reviewed = readonly ReviewedEntry[];

/** A test that has not passed. */
export interface Failure {
  readonly group: SuiteGroup;
  readonly test: SuiteTest;
  /** The observation of the suite. */
  readonly message: string;
  /** `Cache-Status` of the responses. */
  readonly statuses: readonly string[];
  /** `explained`; `unlisted`; or listed with a reason that this run contradicts. */
  readonly review: 'explained' | 'unlisted' | 'otherwise';
  readonly entry: ReviewedEntry | undefined;
}

export interface Review {
  readonly failures: readonly Failure[];
  /** Listed tests that pass. They must leave the list, or it would hide a later failure. */
  readonly stale: readonly string[];
}

/** Results of one run beside the outcomes. */
export interface RunFacts {
  readonly profile: string;
  readonly results: Results;
  readonly statuses: Readonly<Record<string, readonly string[]>>;
  /** Results of a run without a cache, at least for the tests that the list expects to fail there. */
  readonly withoutCache: Results;
  /** Results of a run with a rule for all routes, at least for the tests that the list expects to pass there. */
  readonly withRule: Results;
}

/**
 * Compares a run with the reviewed list. A passing test with a failed dependency is no failure: the dependency
 * is.
 */
export function reviewRun(groups: readonly SuiteGroup[], facts: RunFacts, reviewed: Reviewed): Review {
  const failures: Failure[] = [];
  const stale: string[] = [];
  for (const group of groups) {
    for (const test of group.tests) {
      const result = facts.results[test.id];
      const entry = entryFor(test.id, facts.profile, reviewed);
      if (result === true) {
        if (entry) stale.push(test.id);
        continue;
      }
      const message = result
        ? `${result[0] === 'Assertion' ? '' : `${result[0]}: `}${result[1]}`
        : 'no result';
      const failure = { group, test, message, statuses: facts.statuses[test.id] ?? [], entry };
      const review = !entry ? 'unlisted' : explains(entry, failure, facts) ? 'explained' : 'otherwise';
      failures.push({ ...failure, review });
    }
  }
  return { failures, stale };
}

/** Failures that make a run fail: tests that count and that no list entry explains. */
export function unexplained({ failures }: Review): Failure[] {
  return failures.filter(({ test, review }) => test.kind !== 'check' && review !== 'explained');
}

/** Listed tests that the suite does not have, and tests that are listed twice for one profile. */
export function misplacedIds(groups: readonly SuiteGroup[], reviewed: Reviewed): string[] {
  const known = new Set(groups.flatMap(({ tests }) => tests.map(({ id }) => id)));
  const seen = new Set<string>();
  const misplaced = new Set<string>();
  for (const { profiles, tests } of reviewed) {
    for (const id of tests) {
      if (!known.has(id)) misplaced.add(id);
      for (const profile of profiles) {
        if (seen.has(`${profile} ${id}`)) misplaced.add(id);
        seen.add(`${profile} ${id}`);
      }
    }
  }
  return [...misplaced];
}

/** Tests of a profile whose reason another run proves: one without a cache, or one with a rule. */
export function provedBy(
  proof: 'failsWithoutCache' | 'passesWithRule',
  profile: string,
  reviewed: Reviewed,
): string[] {
  return reviewed
    .filter((entry) => entry[proof] && entry.profiles.includes(profile))
    .flatMap(({ tests }) => tests);
}

/** Whether a test applies to this cache in this profile. */
export function applies(id: string, profile: string, reviewed: Reviewed): boolean {
  return entryFor(id, profile, reviewed)?.applies !== false;
}

function entryFor(id: string, profile: string, reviewed: Reviewed): ReviewedEntry | undefined {
  return reviewed.find(({ profiles, tests }) => profiles.includes(profile) && tests.includes(id));
}

function explains(
  { refusal, seen, failsWithoutCache, passesWithRule }: ReviewedEntry,
  { test, message, statuses }: { test: SuiteTest; message: string; statuses: readonly string[] },
  { withoutCache, withRule }: RunFacts,
): boolean {
  if (passesWithRule && withRule[test.id] !== true) return false;
  if (failsWithoutCache && (withoutCache[test.id] ?? true) === true) return false;
  if (refusal === undefined && seen === undefined) return true;
  const at = /\b(?:Response|Request) (\d+)\b/.exec(message);
  if (!at) return false;
  const failing = Number(at[1]) - 1;
  if (seen !== undefined && !wordsOf(statuses[failing]).includes(seen)) return false;
  if (refusal === undefined) return true;
  const refusals = new Set(statuses.slice(0, failing).flatMap(refusalOf));
  // All methods except GET bypass the cache, so that counts as a reason only where it is listed.
  if (refusal !== 'method') refusals.delete('method');
  return refusals.size === 1 && refusals.has(refusal);
}

/** The refusal that the `Cache-Status` of a response names. */
function refusalOf(status: string): string[] {
  if (/; fwd=method\b/.test(status)) return ['method'];
  const detail = /; detail="?([^";]+)/.exec(status)?.[1];
  return detail === undefined ? [] : [detail];
}

function wordsOf(status: string | undefined): string[] {
  return status?.split(/[\s;,="]+/) ?? [];
}

/** The number of tests by outcome, without passed tests. */
export function tally(outcomes: Outcomes): Map<string, number> {
  const counts = new Map<string, number>();
  for (const outcome of outcomes.values()) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  return counts;
}
