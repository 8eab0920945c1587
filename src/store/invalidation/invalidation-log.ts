import type { Stamped } from '../stored-response.js';
import { type Cause, type LogBounds, LogIndex, type RecordKind } from './invalidation-index.js';
import type { CompiledSelector } from './selector.js';

export { type Cause, type LogBounds, type RecordKind, VOID } from './invalidation-index.js';

/** What became of a record. */
export interface AppendResult {
  /** The local position at which it was applied here. */
  readonly position: number;
  /** It is in the shared log, so every instance will apply it. Otherwise it is applied here and will be written. */
  readonly acknowledged: boolean;
  /** How many replicas have it, where that was waited for. */
  readonly replicas?: number;
}

/**
 * The ordered log of invalidations. Every entry is stamped with the position of the log *before* its
 * computation began; it is valid if no later record matches it. So a purge costs the same however much is
 * stored, and a fill that races with a purge loses, without a lock.
 */
export interface InvalidationLog {
  /** Position of the last record: the stamp of what is computed from now on. */
  readonly position: number;
  /** Adds a record. Answers once it is acknowledged and applied here: at once, where there is no one to ask. */
  record(kind: RecordKind, selector: CompiledSelector, cause?: Cause): AppendResult | Promise<AppendResult>;
  /** Until when the log lets an entry be fresh, on its clock: `Infinity`, a time, or `VOID`. */
  limit(entry: Stamped): number;
  /**
   * The same of what was recorded of one URL alone, for an entry of another URL that answers for this one too.
   *
   * @param at gives the host of the URL.
   */
  limitOfUrl(url: string, since: number, at?: Pick<Stamped, 'host'>): number;
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

  record(kind: RecordKind, selector: CompiledSelector, cause: Cause = 'app'): AppendResult {
    const position = ++this.#position;
    this.#index.apply(kind, selector, position, this.#clock(), cause);
    return { position, acknowledged: true };
  }

  limit(entry: Stamped): number {
    return this.#index.limit(entry, this.#position);
  }

  limitOfUrl(url: string, since: number, at?: Pick<Stamped, 'host'>): number {
    return this.#index.limitOfUrl(url, since, at);
  }
}
