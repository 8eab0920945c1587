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

/** Converts times of the Redis server's clock into ours. `ServerClock` is one. */
export interface SharedClock {
  sample(sent: number, received: number, server: number): void;
  /** `NaN` while nothing is known. */
  fromShared(server: number): number;
}

const EVERYTHING: Target = { kind: 'all', value: '' };

/** What this instance knows of the shared log: which records it has, and what they say. */
export class LogReplica {
  readonly #timers: Timers;
  readonly #clock: SharedClock;
  readonly #index: LogIndex;
  readonly #positions = new LogPositions();
  #lastText: string | undefined;
  /** Records of our own that were acknowledged, and are still to be read: what they say, by position. */
  readonly #unread = new Map<number, string>();
  #isOwnMissing = false;
  #doubtedAt = Number.NEGATIVE_INFINITY;
  readonly counts = {
    /** Records taken in. */
    records: 0,
    /** Entries of the stream that are no records. */
    garbage: 0,
    /** Records of later versions, or damaged; each voided everything. */
    unknown: 0,
    /** Times that records were gone before they were read; each voided everything before. */
    holes: 0,
    /** Epochs followed; each voided everything before. */
    epochs: 0,
  };

  constructor(timers: Timers, clock: SharedClock, bounds: LogBounds = {}) {
    this.#timers = timers;
    this.#clock = clock;
    this.#index = new LogIndex(bounds);
  }

  get positions(): Pick<LogPositions, 'epoch' | 'applied' | 'known' | 'stamp'> {
    return this.#positions;
  }

  /** The record at the position applied last, as the stream has it. */
  get lastText(): string | undefined {
    return this.#lastText;
  }

  /**
   * Whether a record of our own that was acknowledged turned out not to be in the stream: it was on the way to a history
   * that is no longer in force.
   */
  get isOwnMissing(): boolean {
    return this.#isOwnMissing;
  }

  /**
   * When something said last that another epoch may be in force than the one followed; `-Infinity` for never. Until
   * the log is heard to its end after that, records may still be read that are older than those applied here alone,
   * and get higher positions. What is computed here is stamped before; what others have stamped is not to be used.
   */
  get doubtedAt(): number {
    return this.#doubtedAt;
  }

  /** Names and patterns remembered. */
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
   * Takes in the next entry of the stream.
   *
   * @param isContinued whether the record that was applied last is known to stand in the stream still. If it is not,
   * records may have been put in the place of those that were read here.
   */
  take({ id, position, text }: StreamEntry, isContinued = true): void {
    const positions = this.#positions;
    const record = id === `${position}-0` && Number.isSafeInteger(position) ? parseRecord(text) : undefined;
    if (!record) {
      // Not ours, so it is about nothing; its place shows as a hole if the next record is not right behind.
      this.counts.garbage++;
      return;
    }
    if (record.epoch !== positions.epoch) {
      if (this.#unread.size > 0) this.#isOwnMissing = true;
      this.#unread.clear();
      // An epoch whose beginning is gone is followed from here on: nothing is known of what was before.
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
   * A record of our own has its place in the stream; those before it may still be on their way.
   *
   * @returns its local position.
   */
  acknowledge(kind: RecordKind, target: Target, cause: Cause, { epoch, position }: LogStamp): number {
    // Another epoch has begun since, and voids more than this; or begins with this record, and is still to be read.
    if (epoch !== this.#positions.epoch) {
      this.#doubtedAt = this.#timers.now();
      return this.applyHere(kind, target, cause);
    }
    if (position > this.#positions.applied) this.#unread.set(position, wordsOf(kind, target));
    const local = this.#positions.acknowledge(position);
    this.#index.apply(kind, target, local, this.#timers.now(), cause);
    return local;
  }

  /** A record that the stream doesn't have, or not yet. @returns its local position. */
  applyHere(kind: RecordKind, target: Target, cause: Cause): number {
    const local = this.#positions.addHere();
    this.#index.apply(kind, target, local, this.#timers.now(), cause);
    return local;
  }

  /** An epoch that this instance has begun stands behind all that it knows. */
  begin(entry: StreamEntry): void {
    this.#unread.clear();
    this.take(entry);
    this.#isOwnMissing = false;
  }

  #compareOwn(record: LogRecord, position: number, isHole: boolean): void {
    if (this.#unread.size === 0) return;
    // Those in a hole were dropped for their age, with the others there.
    if (isHole) for (const own of this.#unread.keys()) if (own < position) this.#unread.delete(own);
    const own = this.#unread.get(position);
    if (own === undefined) return;
    this.#unread.delete(position);
    if (!('target' in record) || wordsOf(record.kind, record.target) !== own) this.#isOwnMissing = true;
  }

  /** Never later than now: what was expired is not fresh, whatever the clocks say. */
  #timeOf(server: number): number {
    const now = this.#timers.now();
    const at = this.#clock.fromShared(server);
    return Number.isFinite(at) ? Math.min(now, at) : now;
  }
}

function wordsOf(kind: RecordKind, target: Target): string {
  const { code, value } = recordBody(kind, target);
  return `${code} ${value}`;
}
