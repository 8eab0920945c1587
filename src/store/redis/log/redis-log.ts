import { unawaited } from '../../../runtime/guard.js';
import type { Target } from '../../invalidation/invalidation-index.js';
import {
  type AppendResult,
  type Cause,
  type InvalidationLog,
  type LogBounds,
  type RecordKind,
  VOID,
} from '../../invalidation/invalidation-log.js';
import type { Stamped } from '../../stored-response.js';
import { systemTimers, type Timers } from '../timers.js';
import type { LogStamp } from './log-positions.js';
import { LogReader, type LogReaderTimes } from './log-reader.js';
import { LogReplica, type SharedClock } from './log-replica.js';
import { LogWriter } from './log-writer.js';
import type { StreamLink } from './redis-stream.js';

export type { LogStamp } from './log-positions.js';

/** Settings of the log in Redis. Times in milliseconds. */
export interface RedisLogOptions extends LogBounds, LogReaderTimes {
  /** A connection for the reader alone; closed with the log. */
  readonly follower: StreamLink;
  /** The connection for writing records, which also reads entries; not closed. */
  readonly writer: Pick<StreamLink, 'stream' | 'onReady'>;
  readonly clock: SharedClock;
  /**
   * How long an unverified entry may be used, counted from its creation or from the loss of the log. Values
   * below 500 count as 500, because shorter ones would query the server too often. Default: 5,000.
   */
  readonly maxStaleness?: number;
  /** Default: 1,000. */
  readonly appendDeadline?: number;
  /** Default: 10,000. */
  readonly maxQueued?: number;
  /** Called with failures that did not affect a request. */
  readonly fault?: (error: unknown) => void;
  readonly timers?: Timers;
}

const SHORTEST_SILENCE = 500;

/** State of the log. The numbers in `counts` only grow. */
export interface RedisLogStats {
  readonly position: number;
  readonly epoch: string | undefined;
  /** Records that were unread when the server last replied. */
  readonly lag: number;
  readonly inContact: boolean;
  /** When the log was last read to its end: milliseconds of our monotonic clock, `-Infinity` for never. */
  readonly heardAt: number;
  /** Records that wait for Redis. */
  readonly queued: number;
  /** Number of names and patterns in memory. */
  readonly remembered: number;
  readonly counts: Readonly<
    Record<'records' | 'garbage' | 'unknown' | 'holes' | 'epochs' | 'overflows', number>
  >;
}

/**
 * The invalidation log of all instances: a Redis Stream, read on a connection of its own.
 *
 * An acknowledged record is applied here within a round trip. While the log cannot be read, an entry is used
 * for at most `maxStaleness`, counted from its creation or from the last complete read. So a purged entry is
 * used no longer than that after the acknowledgement. If its computation was in flight when the log was lost,
 * add the time of the computation.
 */
export class RedisLog implements InvalidationLog {
  readonly #timers: Timers;
  readonly #view: LogReplica;
  readonly #follower: LogReader;
  readonly #writer: LogWriter;
  readonly #unwatch: () => void;
  readonly #maxStaleness: number;
  /** The log counts as lost since this time until it is read. */
  readonly #startedAt: number;

  constructor(options: RedisLogOptions) {
    const {
      timers = systemTimers,
      clock,
      follower,
      writer,
      heartbeat,
      slack,
      maxNames,
      maxPatterns,
      clientBuckets,
      clientHashKey,
    } = options;
    const fault = options.fault ?? (() => {});
    this.#timers = timers;
    this.#startedAt = timers.now();
    this.#maxStaleness = options.maxStaleness ?? 5000;
    const view = new LogReplica(timers, clock, { maxNames, maxPatterns, clientBuckets, clientHashKey });
    this.#view = view;
    const stream = () => writer.stream;
    const isKnown = () => !this.#follower.isNameless || this.#follower.isCaughtUp;
    const { appendDeadline: deadline = 1000, maxQueued = 10_000 } = options;
    this.#writer = new LogWriter({ stream, isKnown, view, timers, fault, deadline, maxQueued });
    const onChange = () => this.#writer.retry();
    // A loss of contact must be noticed before `maxStaleness` is over.
    const half = Math.floor(Math.max(this.#maxStaleness, SHORTEST_SILENCE) / 2);
    const times = { heartbeat: heartbeat ?? Math.min(1000, half), slack: slack ?? Math.min(2000, half) };
    this.#follower = new LogReader({ link: follower, view, clock, timers, fault, onChange, ...times });
    this.#unwatch = writer.onReady((stream) => void unawaited(this.#follower.renew(stream), 'redis log'));
  }

  get position(): number {
    return this.#view.positions.stamp;
  }

  /** The position up to which every record of the log has been applied here. */
  get settled(): number {
    return this.#view.positions.settled;
  }

  /**
   * Whether entries in Redis may be used. Not while records are unread. Not while records of this instance are
   * unwritten, or in an epoch that is not followed yet. An entry could be newer than a purge that Redis does not know.
   */
  get canShare(): boolean {
    const { isCaughtUp, isInContact, heardAt } = this.#follower;
    return isCaughtUp && isInContact && this.#writer.unacknowledged === 0 && heardAt > this.#view.doubtedAt;
  }

  /**
   * Never rejects. Resolves once the record is acknowledged and applied here, or applied here only, with
   * `acknowledged: false`.
   */
  record(kind: RecordKind, selector: Target, cause: Cause = 'app'): Promise<AppendResult> {
    return this.#writer.push(kind, selector, cause);
  }

  /** For an entry that passed `limit`, which also checks the contact. */
  limitOfUrl(url: string, since: number, at?: Pick<Stamped, 'host'>): number {
    return this.#view.limitOfUrl(url, since, at);
  }

  limit(entry: Stamped): number {
    const limit = this.#view.limit(entry);
    if (limit === VOID || this.#follower.isInContact) return limit;
    const now = this.#timers.now();
    const lostAt = Math.max(this.#startedAt, this.#follower.heardAt);
    // An entry of another instance may seem to come from the future because of clock errors.
    const madeAt = Math.min(now, entry.storedAt ?? lostAt);
    const last = Math.max(madeAt, lostAt) + this.#maxStaleness;
    return last <= now ? VOID : Math.min(limit, last);
  }

  /** The stamp for an entry in Redis; `undefined` if it must not be stored there. */
  toShared(stamp: number): LogStamp | undefined {
    return this.#view.toShared(stamp);
  }

  /**
   * The local stamp of an entry read from Redis. `undefined` if it must not be used: it is of another epoch, or
   * `canShare` is now false. The caller must still check `limit`.
   */
  fromShared(stamp: LogStamp): number | undefined {
    return this.canShare ? this.#view.fromShared(stamp) : undefined;
  }

  get stats(): RedisLogStats {
    const { epoch, stamp } = this.#view.positions;
    return {
      position: stamp,
      epoch,
      lag: this.#follower.lag,
      inContact: this.#follower.isInContact,
      heardAt: this.#follower.heardAt,
      queued: this.#writer.length,
      remembered: this.#view.size,
      counts: { ...this.#view.counts, overflows: this.#writer.overflows },
    };
  }

  /** Idempotent. Queued records are dropped. */
  close(): void {
    this.#unwatch();
    this.#writer.close();
    this.#follower.close();
  }
}
