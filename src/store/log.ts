import type { Stamped } from './entry.js';
import { type LogBounds, LogIndex, type RecordKind } from './log-index.js';
import type { CompiledSelector } from './selector.js';

export { type LogBounds, type RecordKind, VOID } from './log-index.js';

/**
 * The ordered log of invalidations. Every entry is stamped with the position of the log *before* its
 * computation began; it is valid if no later record matches it. So a purge costs the same however much is
 * stored, and a fill that races with a purge loses, without a lock.
 */
export interface InvalidationLog {
  /** Position of the last record: the stamp of what is computed from now on. */
  readonly position: number;
  /** The record's position, once it is acknowledged and applied here: at once, where there is no one to ask. */
  append(kind: RecordKind, selector: CompiledSelector): number | Promise<number>;
  /** Until when the log lets an entry be fresh, on its clock: `Infinity`, a time, or `VOID`. */
  limit(entry: Stamped): number;
}

/** The log of one process: a counter, and the last position at which each name was invalidated. */
export class MemoryLog implements InvalidationLog {
  #position = 0;
  readonly #index: LogIndex;
  readonly #clock: () => number;

  /** @param clock milliseconds, monotonic: the clock that entries' times are on. */
  constructor(clock: () => number, bounds: LogBounds = {}) {
    this.#clock = clock;
    this.#index = new LogIndex(bounds);
  }

  get position(): number {
    return this.#position;
  }

  append(kind: RecordKind, selector: CompiledSelector): number {
    const position = ++this.#position;
    this.#index.apply(kind, selector, position, this.#clock());
    return position;
  }

  limit(entry: Stamped): number {
    return this.#index.limit(entry, this.#position);
  }
}
