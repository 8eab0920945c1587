export interface Result {
  readonly outcome: 'passed' | 'failed' | 'skipped';
  readonly error?: string;
}

export interface Difference {
  readonly title: string;
  readonly error: string;
}

export interface ReviewedDifference {
  readonly suites: readonly string[];
  readonly reason: string;
  /** Text that the error of each test contains, so that the list does not hide another error. */
  readonly shows: string;
  readonly tests: readonly string[];
}

export function readResults(text: string): Map<string, Result>;

export function findDifferences(
  without: ReadonlyMap<string, Result>,
  behind: ReadonlyMap<string, Result>,
): Difference[];

export function review(
  suite: string,
  differences: readonly Difference[],
  reviewed: readonly ReviewedDifference[],
): {
  readonly unlisted: readonly Difference[];
  /** Titles of the list that do not differ any more. */
  readonly gone: readonly string[];
  readonly explained: number;
};
