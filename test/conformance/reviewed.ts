import type { Outcomes } from './outcome.js';
import type { Results, SuiteGroup, SuiteTest } from './suite.js';

/** Tests that are not passed for one reason, as somebody has reviewed them one by one. */
export interface ReviewedEntry {
  /** The profiles that it holds for. */
  readonly profiles: readonly string[];
  /**
   * The refusal that explains it: of the answers before the one that fails, `Cache-Status` must give this word and
   * no other, so that the tests are known to fail for this reason alone.
   */
  readonly refusal?: string;
  /** A word that `Cache-Status` must say in the very answer that fails. */
  readonly seen?: string;
  /** The tests fail with no cache in between too; each run shows it anew. */
  readonly failsWithoutCache?: true;
  /** The tests pass once a rule says that the routes may be cached; each run shows it anew. */
  readonly passesWithRule?: true;
  /** `false`: what the tests ask is not asked of this cache, so they do not count among the optimal ones. */
  readonly applies?: false;
  readonly reason: string;
  readonly tests: readonly string[];
}

export type Reviewed = readonly ReviewedEntry[];

/** A test that is not passed. */
export interface Failure {
  readonly group: SuiteGroup;
  readonly test: SuiteTest;
  /** What the suite saw. */
  readonly message: string;
  /** `Cache-Status` of the answers. */
  readonly statuses: readonly string[];
  /** `explained`; `unlisted`; or listed with a reason that the run does not show. */
  readonly review: 'explained' | 'unlisted' | 'otherwise';
  readonly entry: ReviewedEntry | undefined;
}

export interface Review {
  readonly failures: readonly Failure[];
  /** Tests that are on the list and pass: there they would hide the day when they no longer do. */
  readonly stale: readonly string[];
}

/** What one run has to say, beside the outcomes. */
export interface RunFacts {
  readonly profile: string;
  readonly results: Results;
  readonly statuses: Readonly<Record<string, readonly string[]>>;
  /** Results of a run with no cache in between; at least of the tests that are reviewed to fail there. */
  readonly withoutCache: Results;
  /** Results of a run with a rule for all routes; at least of the tests that are reviewed to pass there. */
  readonly withRule: Results;
}

/**
 * Holds a run against the reviewed list. A test that passes by itself is no failure when one that it depends on
 * is not passed: that other one is.
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

/** The failures that make a run fail: tests that count, and that no reviewed entry explains. */
export function unexplained({ failures }: Review): Failure[] {
  return failures.filter(({ test, review }) => test.kind !== 'check' && review !== 'explained');
}

/** Tests of the list that the suite does not have, and those that stand on it twice for one profile. */
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

/** The tests of a profile whose reason is proved by another run: one without a cache, or one with a rule. */
export function provedBy(
  proof: 'failsWithoutCache' | 'passesWithRule',
  profile: string,
  reviewed: Reviewed,
): string[] {
  return reviewed
    .filter((entry) => entry[proof] && entry.profiles.includes(profile))
    .flatMap(({ tests }) => tests);
}

/** Whether a test is asked of this cache in this profile. */
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
  // Methods other than GET always pass by: a reason of its own only where it is the one that is listed.
  if (refusal !== 'method') refusals.delete('method');
  return refusals.size === 1 && refusals.has(refusal);
}

/** The refusal that an answer's `Cache-Status` names. */
function refusalOf(status: string): string[] {
  if (/; fwd=method\b/.test(status)) return ['method'];
  const detail = /; detail="?([^";]+)/.exec(status)?.[1];
  return detail === undefined ? [] : [detail];
}

function wordsOf(status: string | undefined): string[] {
  return status?.split(/[\s;,="]+/) ?? [];
}

/** How many tests ended how, of those that were not passed. */
export function tally(outcomes: Outcomes): Map<string, number> {
  const counts = new Map<string, number>();
  for (const outcome of outcomes.values()) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  return counts;
}
