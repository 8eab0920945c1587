import { guarded, unawaited } from '../runtime/guard.js';
import { runInOwnContext } from '../runtime/module-context.js';
import type { StoredResult } from '../store/stored-response.js';
import type { MadeOfRefusal, UsedResult } from './used-results.js';

/** How a load ended. */
export type Outcome =
  /** A result that each caller can have. */
  | {
      readonly kind: 'result';
      readonly item: StoredResult;
      /** From Redis: no function ran. */
      readonly isFound: boolean;
      readonly refusal: MadeOfRefusal | undefined;
    }
  /** The result cannot be copied, so it is for the call that started the run. */
  | { readonly kind: 'private'; readonly value: unknown; readonly made: UsedResult }
  /** The function threw, or the result is refused. */
  | { readonly kind: 'error'; readonly error: unknown; readonly made: UsedResult }
  /** A run in the background that was dropped, because too many wait. */
  | { readonly kind: 'dropped' };

/** A lookup in Redis and a run of the function, for all calls of one key that wait for it. */
export class Load {
  readonly key: string;
  /** Log position from before it began. */
  readonly stamp: number;
  /** Milliseconds on the cache's clock. */
  readonly startedAt: number;
  /** Known before the run; `undefined` if the function of the option failed, so that the result is not stored. */
  readonly tags: readonly string[] | undefined;
  readonly settled: Promise<Outcome>;
  /** The result in memory when it began. */
  readonly replaces: StoredResult | undefined;
  /** A stale result that was found in Redis. */
  found: StoredResult | undefined;
  /** Calls wait for it. */
  isAwaited = false;
  /** Its run has failed, or reached its timeout, and was counted so. */
  hasFailed = false;
  /** The loads that its run waits for. */
  readonly waitsFor = new Set<Load>();
  #resolve!: (outcome: Outcome) => void;
  #late: Promise<'late'> | undefined;

  constructor(start: Pick<Load, 'key' | 'stamp' | 'startedAt' | 'tags' | 'replaces'>) {
    this.key = start.key;
    this.stamp = start.stamp;
    this.startedAt = start.startedAt;
    this.tags = start.tags;
    this.replaces = start.replaces;
    this.settled = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  settle(outcome: Outcome): void {
    this.#resolve(outcome);
  }

  /** Resolves some time after the first call that waits, so that a function that never returns blocks no others. */
  whenLate(ms: number): Promise<'late'> {
    this.#late ??= new Promise((resolve) => {
      const timer = runInOwnContext(() =>
        setTimeout(
          guarded('function', () => resolve('late')),
          ms,
        ).unref(),
      );
      void unawaited(this.settled.then(guarded('function', () => clearTimeout(timer))), 'function');
    });
    return this.#late;
  }

  /** Whether it waits for another load, directly or not: then neither would ever end. */
  dependsOn(other: Load): boolean {
    const seen = new Set<Load>();
    const reaches = (load: Load): boolean => {
      if (load === other) return true;
      if (seen.has(load)) return false;
      seen.add(load);
      return [...load.waitsFor].some(reaches);
    };
    return reaches(this);
  }
}
