import { performance } from 'node:perf_hooks';
import { idOf } from '../indexes/definition.js';
import type { BuildFailure } from './build-error.js';
import type { AdvisedIndex } from './preflight.js';

/** The progress of one requested index at one moment. */
export type BuildSnapshot = Readonly<
  Pick<
    BuildRecord,
    'index' | 'id' | 'state' | 'failure' | 'attempts' | 'hadLeftover' | 'hasLeftover' | 'seconds' | 'isEnded'
  >
>;

/** The progress of one requested index, in the memory of the instance that builds it. */
export class BuildRecord {
  readonly index: AdvisedIndex;
  readonly id: string;
  readonly startedAt = performance.now();
  endedAt: number | undefined;
  state: 'waiting' | 'building' | 'built' | 'failed' = 'waiting';
  failure: Pick<BuildFailure, 'reason' | 'sqlstate'> | undefined;
  attempts = 0;
  /** Whether an attempt has left an invalid index. */
  hadLeftover = false;
  /** Whether it is still there. */
  hasLeftover = false;

  constructor(index: AdvisedIndex) {
    this.index = index;
    this.id = idOf(index.definition);
  }

  /** A copy that no longer changes. */
  snapshot(): BuildSnapshot {
    const { index, id, state, failure, attempts, hadLeftover, hasLeftover, seconds, isEnded } = this;
    return { index, id, state, failure, attempts, hadLeftover, hasLeftover, seconds, isEnded };
  }

  get seconds(): number {
    return ((this.endedAt ?? performance.now()) - this.startedAt) / 1000;
  }

  get isEnded(): boolean {
    return this.endedAt !== undefined;
  }
}

/** The state of the leftover of a build. */
export function cleanupOf({ hasLeftover, hadLeftover }: BuildSnapshot): 'none' | 'pending' | 'done' {
  if (hasLeftover) return 'pending';
  return hadLeftover ? 'done' : 'none';
}
