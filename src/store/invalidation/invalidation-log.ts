import type { Stamped } from '../stored-response.js';
import { type Cause, type LogBounds, LogIndex, type RecordKind } from './invalidation-index.js';
import type { CompiledSelector } from './selector.js';

export { type Cause, type LogBounds, type RecordKind, VOID } from './invalidation-index.js';

/** The result of adding a record. */
export interface AppendResult {
  /** The position in this process at which the record was applied. */
  readonly position: number;
  /**
   * Whether the record is in the log in Redis, so that every instance applies it. If not, it is applied here
   * and written later.
   */
  readonly acknowledged: boolean;
  /** The number of replicas that have the record, if the append waited for them. */
  readonly replicas?: number | undefined;
}

/** How a purge went. */
export interface PurgeResult {
  /** Position of the last record in the invalidation log. */
  readonly position: number;
  /**
   * Entries deleted from this process's memory. Without `erase`, entries are dropped at their next lookup or evicted.
   * In Redis they expire.
   */
  readonly erased: number;
  /**
   * Whether every instance will apply the purge. `false` if Redis is unreachable: the purge applies here and is
   * written once Redis is back. Until then, other instances may serve purged entries; those that have lost Redis too,
   * for at most `maxStaleness`. Without Redis there is one instance, so it is `true`. It is `false` in a worker of
   * `node:cluster`, because the other workers do not learn of the purge.
   */
  readonly acknowledged: boolean;
}

/**
 * The ordered log of invalidations. Every entry is stamped with the log position from *before* its
 * computation began. It is valid if no later record matches it. So a purge costs the same for any number of entries,
 * and a fill that races with a purge loses without a lock.
 */
export interface InvalidationLog {
  /** Position of the last record: the stamp for computations that begin now. */
  readonly position: number;
  /**
   * Adds a record. Returns when the record is acknowledged and applied here; immediately, if there is no
   * Redis.
   */
  record(kind: RecordKind, selector: CompiledSelector, cause?: Cause): AppendResult | Promise<AppendResult>;
  /** Until when an entry may be fresh, on the log's clock: `Infinity`, a time, or `VOID`. */
  limit(entry: Stamped): number;
  /**
   * Like `limit`, for the records of one URL only. For an entry of another URL that is equivalent to this
   * one.
   *
   * @param at gives the host of the URL.
   */
  limitOfUrl(url: string, since: number, at?: Pick<Stamped, 'host'>): number;
}

/** The log of one process: a counter, and the position of the last invalidation of each name. */
export class MemoryLog implements InvalidationLog {
  #position = 0;
  readonly #index: LogIndex;
  readonly #clock: () => number;

  /** @param clock milliseconds, monotonic: the cache's clock. */
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
