import type { Duration, Size } from '../../options/units.js';
import type { UnmeasuredReason } from '../adviser/buffers/buffer-meter.js';
import type { AdviceLevel } from '../indexes/advice-level.js';

/** Which indexes `POST /indexes/optimize` may build, and how. Every duration is in seconds if it is a number. */
export interface BuildOptions {
  /** Whether indexes may be built at all. Default: `false`. */
  apply?: boolean | undefined;
  /** The levels of advice that may be built. Default: `['verified']`; on PGlite `['verified', 'trial']`. */
  levels?: readonly AdviceLevel[] | undefined;
  /** Larger tables get no index, with all of their partitions counted. Default: `'20gb'`. */
  maxTableBytes?: Size | undefined;
  /**
   * How long a build waits for each transaction of others that is open: the `lock_timeout` of its connection. No writer
   * waits meanwhile. Default: `'5m'`.
   */
  lockTimeout?: Duration | undefined;
  /** A transaction that is open for this long is a reason to refuse a build. Default: `'1m'`. */
  maxTransactionAge?: Duration | undefined;
  /** No attempt begins later than this after the request. Default: `'30m'`. */
  retryFor?: Duration | undefined;
}

/**
 * A state of a build.
 *
 * - `waiting`: for its turn, or for a further attempt.
 * - `building`: the server works.
 * - `built`: the index is valid and ready.
 * - `failed`: no further attempt is made.
 * - `absent`: there is no such index, and nothing builds it.
 */
export type BuildState = 'waiting' | 'building' | 'built' | 'failed' | 'absent';

/** A transaction that a build waits for. */
export interface BuildBlocker {
  /** Of its process on the server; `null` for a prepared transaction. */
  readonly pid: number | null;
  /** As in `pg_stat_activity`, or `prepared`. `null`: not visible to the role. */
  readonly state: string | null;
  /** The age of the transaction. `null`: not visible to the role. */
  readonly seconds: number | null;
}

/** The change that an index made for a query. */
export interface BuildGain {
  /** The query with placeholders. */
  readonly text: string;
  /** The cost of the plan, in the units of PostgreSQL. */
  readonly costBefore: number;
  readonly costAfter: number;
  /** Pages of one run before the build and one after it; `null`: not measured. */
  readonly buffersBefore: number | null;
  readonly buffersAfter: number | null;
  /** Why a figure of buffers was not measured; `null`: both were. */
  readonly buffersReason: UnmeasuredReason | null;
}

/** An index that was requested, or that was built here. */
export interface IndexBuild {
  /** The id of the advice. `null`: only its beginning is known, from the name of the index. */
  readonly id: string | null;
  /** The name of the index. `null`: not known to this instance. */
  readonly index: string | null;
  /** The table with its schema. `null`: not known to this instance. */
  readonly table: string | null;
  readonly state: BuildState;
  /** Why it has failed, or why it waits. `null`: neither. */
  readonly reason: BuildReason | null;
  /** The code of the server that belongs to the reason. */
  readonly sqlstate: string | null;
  /** As in `pg_stat_progress_create_index`. */
  readonly phase: string | null;
  /** Of this phase; from 0 to 1. */
  readonly progress: number | null;
  /** Partitions that have their index; `null` for a table without partitions. */
  readonly partitions: { readonly done: number; readonly total: number } | null;
  readonly blocker: BuildBlocker | null;
  /** `pending`: an invalid index is left until its blocker ends; `done`: it was dropped; `none`: there was none. */
  readonly cleanup: 'none' | 'pending' | 'done';
  /** `null`: not known to this instance. */
  readonly attempts: number | null;
  /** Since the request; of a build that has ended, until then. */
  readonly seconds: number | null;
  /** The size of the index. */
  readonly bytes: number | null;
  /** Plans before and after, of the queries that it helps. `null`: not measured. */
  readonly gains: readonly BuildGain[] | null;
}

/** Why a build is refused, waits or has failed. */
export type BuildReason =
  | 'apply-off'
  | 'unknown-id'
  | 'level'
  | 'pooler'
  | 'standby'
  | 'read-only'
  | 'unsupported-version'
  | 'no-table'
  | 'system-table'
  | 'foreign-partition'
  | 'not-owner'
  | 'no-create-right'
  | 'too-large'
  | 'old-transaction'
  | 'prepared-transaction'
  | 'other-build'
  | 'equal-index'
  | 'name-taken'
  | 'too-many-builds'
  | 'lock-timeout'
  | 'deadlock'
  | 'yielded'
  | 'cancelled'
  | 'backend-terminated'
  | 'connection-lost'
  | 'disk-full'
  | 'right-missing'
  | 'invalid'
  | 'closed'
  | 'error';

/** A refusal of one index. */
export interface BuildRefusal {
  readonly id: string;
  readonly reason: BuildReason;
  /** The obstacle, then the remedy. */
  readonly detail: string;
}
