import {
  type Cause,
  type LogBounds,
  LogIndex,
  type RecordKind,
  type Target,
} from '../../invalidation/invalidation-index.js';
import type { Stamped } from '../../stored-response.js';
import type { Timers } from '../timers.js';
import { LogPositions, type LogStamp } from './log-positions.js';
import { type LogRecord, parseRecord, recordBody } from './log-records.js';
import type { StreamEntry } from './redis-stream.js';

/** Converts times of the Redis server's clock to ours. Implemented by `ServerClock`. */
export interface SharedClock {
  sample(sent: number, received: number, server: number): void;
  /** `NaN` before the first sample. */
  fromShared(server: number): number;
}

const EVERYTHING: Target = { kind: 'all', value: '' };

/**
 * The copy of the Redis log that this instance keeps: which records were applied, and their combined effect.
 */
export class LogReplica {
  readonly #timers: Timers;
  readonly #clock: SharedClock;
  readonly #index: LogIndex;
  readonly #positions = new LogPositions();
  #lastText: string | undefined;
  /** Acknowledged records of this instance that were not read yet: their text, by position. */
  readonly #unread = new Map<number, string>();
  #isOwnMissing = false;
  #doubtedAt = Number.NEGATIVE_INFINITY;
  readonly counts = {
    /** Records applied. */
    records: 0,
    /** Entries of the stream that are not records. */
    garbage: 0,
    /** Records of later versions, or damaged ones; each invalidated everything. */
    unknown: 0,
    /** Gaps of records that were trimmed before they were read; each invalidated everything before. */
    holes: 0,
    /** Epochs followed; each invalidated everything before. */
    epochs: 0,
  };

  constructor(timers: Timers, clock: SharedClock, bounds: LogBounds = {}) {
    this.#timers = timers;
    this.#clock = clock;
    this.#index = new LogIndex(bounds);
  }

  get positions(): Pick<LogPositions, 'epoch' | 'applied' | 'known' | 'stamp' | 'settled'> {
    return this.#positions;
  }

  /** Text of the record that was applied last, as in the stream. */
  get lastText(): string | undefined {
    return this.#lastText;
  }

  /**
   * Whether an acknowledged record of this instance is missing from the stream: it was written to a history
   * that is no longer in force.
   */
  get isOwnMissing(): boolean {
    return this.#isOwnMissing;
  }

  /**
   * When the reader last found a sign of another epoch than the followed one; `-Infinity` for never. Until
   * the log is then read to its end, older records may still arrive and get higher local positions. Entries
   * of this instance have an earlier stamp, so they are safe. Entries of other instances must not be used.
   */
  get doubtedAt(): number {
    return this.#doubtedAt;
  }

  /** Number of names and patterns in the index. */
  get size(): number {
    return this.#index.size;
  }

  limit(entry: Stamped): number {
    return this.#index.limit(entry, this.#positions.settled);
  }

  limitOfUrl(url: string, since: number, at?: Pick<Stamped, 'host'>): number {
    return this.#index.limitOfUrl(url, since, at);
  }

  toShared(stamp: number): LogStamp | undefined {
    return this.#positions.toShared(stamp);
  }

  fromShared(stamp: LogStamp): number | undefined {
    return this.#positions.fromShared(stamp);
  }

  /**
   * Applies the next entry of the stream.
   *
   * @param isContinued whether the record that was applied last is known to be in the stream. If not, other
   * records may have replaced those that were read here.
   */
  take({ id, position, text }: StreamEntry, isContinued = true): void {
    const positions = this.#positions;
    const record = id === `${position}-0` && Number.isSafeInteger(position) ? parseRecord(text) : undefined;
    if (!record) {
      // An entry of another program has no effect. Its position appears as a hole if the next record does not
      // follow it directly.
      this.counts.garbage++;
      return;
    }
    if (record.epoch !== positions.epoch) {
      if (this.#unread.size > 0) this.#isOwnMissing = true;
      this.#unread.clear();
      // The beginning of the epoch is gone, so it is followed from here, and everything before is
      // invalidated.
      this.#index.restart(positions.adopt(record.epoch, record.kind === 'epoch' ? position : position - 1));
      this.counts.epochs++;
      this.#lastText = record.kind === 'epoch' ? text : undefined;
    }
    if (position <= positions.applied) return;
    const isHole = position !== positions.applied + 1;
    if (isHole) {
      this.#index.raiseFloor(positions.advance(position - 1));
      this.counts.holes++;
    }
    this.#compareOwn(record, position, isHole);
    const local = positions.advance(position);
    if (!isContinued) this.#index.raiseFloor(local);
    this.#lastText = text;
    this.counts.records++;
    if (record.kind === 'unknown') {
      this.counts.unknown++;
      this.#index.apply('purge', EVERYTHING, local, 0);
    } else if (record.kind !== 'epoch') {
      this.#index.apply(record.kind, record.target, local, this.#timeOf(record.at), record.cause);
    }
  }

  /**
   * Registers the position of a record of this instance; earlier records may still arrive.
   *
   * @returns the local position.
   */
  acknowledge(kind: RecordKind, target: Target, cause: Cause, { epoch, position }: LogStamp): number {
    // Either a later epoch has begun, which invalidates more than this record, or this record begins an epoch
    // that was not read yet.
    if (epoch !== this.#positions.epoch) {
      this.#doubtedAt = this.#timers.now();
      return this.applyHere(kind, target, cause);
    }
    if (position > this.#positions.applied) this.#unread.set(position, recordText(kind, target));
    const local = this.#positions.acknowledge(position);
    this.#index.apply(kind, target, local, this.#timers.now(), cause);
    return local;
  }

  /** Applies a record that is not in the stream, or not yet. @returns its local position. */
  applyHere(kind: RecordKind, target: Target, cause: Cause): number {
    const local = this.#positions.addHere();
    this.#index.apply(kind, target, local, this.#timers.now(), cause);
    return local;
  }

  /** Adopts an epoch that this instance began, after all known records. */
  begin(entry: StreamEntry): void {
    this.#unread.clear();
    this.take(entry);
    this.#isOwnMissing = false;
  }

  #compareOwn(record: LogRecord, position: number, isHole: boolean): void {
    if (this.#unread.size === 0) return;
    // Records within a hole were trimmed for their age, together with ours.
    if (isHole) for (const own of this.#unread.keys()) if (own < position) this.#unread.delete(own);
    const own = this.#unread.get(position);
    if (own === undefined) return;
    this.#unread.delete(position);
    if (!('target' in record) || recordText(record.kind, record.target) !== own) this.#isOwnMissing = true;
  }

  /** Never in the future: an expired entry is stale, whatever the clocks say. */
  #timeOf(server: number): number {
    const now = this.#timers.now();
    const at = this.#clock.fromShared(server);
    return Number.isFinite(at) ? Math.min(now, at) : now;
  }
}

function recordText(kind: RecordKind, target: Target): string {
  const { code, value } = recordBody(kind, target);
  return `${code} ${value}`;
}
