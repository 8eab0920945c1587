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

/** Settings of the log that instances share. Times in milliseconds. */
export interface RedisLogOptions extends LogBounds, LogReaderTimes {
  /** A connection for the follower alone; closed with the log. */
  readonly follower: StreamLink;
  /** Where records are written, and entries of the shared store come from; not closed. */
  readonly writer: Pick<StreamLink, 'stream' | 'onReady'>;
  readonly clock: SharedClock;
  /**
   * How long an entry may be used that nobody can vouch for, from when it was made or the log was lost. Default
   * 5,000. What is less than 500 counts as 500: the server would have to be asked all the time.
   */
  readonly maxStaleness?: number;
  /** Default 1,000. */
  readonly appendDeadline?: number;
  /** Default 10,000. */
  readonly maxQueued?: number;
  /** Told of failures that were survived. */
  readonly fault?: (error: unknown) => void;
  readonly timers?: Timers;
}

const SHORTEST_SILENCE = 500;

/** The log as it stands; numbers in `counts` only grow. */
export interface RedisLogStats {
  readonly position: number;
  readonly epoch: string | undefined;
  /** Records that were still to be read when the server was last asked. */
  readonly lag: number;
  readonly inContact: boolean;
  /** When the log was last known to be read to its end: milliseconds of our monotonic clock, `-Infinity` for never. */
  readonly heardAt: number;
  /** Records that wait for Redis. */
  readonly queued: number;
  /** Names and patterns remembered. */
  readonly remembered: number;
  readonly counts: Readonly<
    Record<'records' | 'garbage' | 'unknown' | 'holes' | 'epochs' | 'overflows', number>
  >;
}

/**
 * The log that instances share: a Redis Stream, followed on a connection of its own.
 *
 * Whatever was acknowledged anywhere is applied here within the time of a round trip. When the log can't be read,
 * an entry is used for `maxStaleness` at most, from when it was made or the log was last read to its end. So what a
 * purge has made void is never used longer than that after its acknowledgement; add the time that the computation
 * took if it was under way when the log was lost.
 */
export class RedisLog implements InvalidationLog {
  readonly #timers: Timers;
  readonly #view: LogReplica;
  readonly #follower: LogReader;
  readonly #outbox: LogWriter;
  readonly #unwatch: () => void;
  readonly #maxStaleness: number;
  /** Before the log was ever read, it counts as lost since then. */
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
    this.#outbox = new LogWriter({ stream, isKnown, view, timers, fault, deadline, maxQueued });
    const onChange = () => this.#outbox.retry();
    // A silence has to be noticed before what was purged meanwhile would be used for too long.
    const half = Math.floor(Math.max(this.#maxStaleness, SHORTEST_SILENCE) / 2);
    const times = { heartbeat: heartbeat ?? Math.min(1000, half), slack: slack ?? Math.min(2000, half) };
    this.#follower = new LogReader({ link: follower, view, clock, timers, fault, onChange, ...times });
    this.#unwatch = writer.onReady((stream) => void unawaited(this.#follower.renew(stream), 'redis log'));
  }

  get position(): number {
    return this.#view.positions.stamp;
  }

  /**
   * Whether entries may come from Redis. Not while records are still to be read, nor while some of ours are still
   * to be written, or lie in an epoch that is still to be followed: an entry there may lie between.
   */
  get canShare(): boolean {
    const { isCaughtUp, isInContact, heardAt } = this.#follower;
    return isCaughtUp && isInContact && this.#outbox.owed === 0 && heardAt > this.#view.doubtedAt;
  }

  /** Resolves when the record is acknowledged and applied here; or applied here alone, and says so. Never rejects. */
  record(kind: RecordKind, selector: Target, cause: Cause = 'app'): Promise<AppendResult> {
    return this.#outbox.push(kind, selector, cause);
  }

  /** For an entry that `limit` lets be used: contact is its question. */
  limitOfUrl(url: string, since: number, at?: Pick<Stamped, 'host'>): number {
    return this.#view.limitOfUrl(url, since, at);
  }

  limit(entry: Stamped): number {
    const limit = this.#view.limit(entry);
    if (limit === VOID || this.#follower.isInContact) return limit;
    const now = this.#timers.now();
    const lostAt = Math.max(this.#startedAt, this.#follower.heardAt);
    // What another instance has stored may seem to come from the future, if only by the error of the clocks.
    const madeAt = Math.min(now, entry.storedAt ?? lostAt);
    const last = Math.max(madeAt, lostAt) + this.#maxStaleness;
    return last <= now ? VOID : Math.min(limit, last);
  }

  /** The stamp as an entry in Redis carries it; `undefined` for one that must not be stored there. */
  toShared(stamp: number): LogStamp | undefined {
    return this.#view.toShared(stamp);
  }

  /**
   * The stamp here of an entry that has just come from Redis; `undefined` for one that must not be used, of another
   * epoch or because `canShare` has become false. `limit` is still to be asked.
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
      queued: this.#outbox.length,
      remembered: this.#view.size,
      counts: { ...this.#view.counts, overflows: this.#outbox.overflows },
    };
  }

  /** Idempotent. Records that wait are not written any more. */
  close(): void {
    this.#unwatch();
    this.#outbox.close();
    this.#follower.close();
  }
}
