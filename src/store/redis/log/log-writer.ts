import { unawaited } from '../../../runtime/guard.js';
import type { Cause, RecordKind, Target } from '../../invalidation/invalidation-index.js';
import type { AppendResult } from '../../invalidation/invalidation-log.js';
import { type Timers, withTimeout } from '../timers.js';
import { headOf, type RecordBody, recordBody } from './log-records.js';
import type { LogReplica } from './log-replica.js';
import type { LogStream } from './redis-stream.js';

export interface LogWriterSetup {
  /** The stream for commands, while there is a connection. */
  readonly stream: () => LogStream | undefined;
  /** Whether the writer is known to use the same server as the reader. */
  readonly isKnown: () => boolean;
  readonly view: LogReplica;
  readonly timers: Timers;
  readonly fault: (error: unknown) => void;
  /**
   * Time limit of an append, after which the caller gets `acknowledged: false`. Milliseconds. Default: 1,000.
   */
  readonly deadline?: number;
  /** Maximum number of queued records; above it, they become one purge of everything. Default: 10,000. */
  readonly maxQueued?: number;
}

interface PendingRecord {
  readonly kind: RecordKind;
  readonly target: Target;
  readonly body: RecordBody;
  isApplied: boolean;
  settle?: ((recorded: AppendResult) => void) | undefined;
}

/** Records per command. */
const BATCH = 200;

/** Longest wait before the next attempt, unless the reader reports a change. Milliseconds. */
const MAX_DELAY = 5000;

/**
 * Writes records to the log in Redis, in order. A record that cannot be written is applied here, queued, and
 * written when Redis is back. A record may be written twice if the reply to the first attempt was lost, which
 * is harmless.
 */
export class LogWriter {
  readonly #setup: Required<LogWriterSetup>;
  #queue: PendingRecord[] = [];
  /** Texts of the queued records. */
  readonly #waiting = new Set<string>();
  /** Records in flight. */
  #sending: PendingRecord[] = [];
  #isBusy = false;
  #failures = 0;
  #cancelRetry: (() => void) | undefined;
  #wake: (() => void) | undefined;
  #isClosed = false;
  #unacknowledged = 0;
  /** How often the queue became one purge of everything. */
  overflows = 0;

  constructor(setup: LogWriterSetup) {
    this.#setup = { deadline: 1000, maxQueued: 10_000, ...setup };
  }

  get length(): number {
    return this.#queue.length + this.#sending.length;
  }

  /**
   * Records that are applied here but not in the log in Redis. Entries in Redis may be older than they are.
   */
  get unacknowledged(): number {
    return this.#unacknowledged;
  }

  /** Never rejects. */
  push(kind: RecordKind, target: Target, cause: Cause): Promise<AppendResult> {
    const item: PendingRecord = { kind, target, body: recordBody(kind, target, cause), isApplied: false };
    const done = new Promise<AppendResult>((resolve) => {
      item.settle = resolve;
    });
    if (this.#isClosed) {
      this.#settleHere(item);
      return done;
    }
    // Redis is known to be unreachable, so the caller need not wait.
    if (this.#failures > 0) {
      // The queued record with the same text will get a later position than this one.
      if (this.#waiting.has(recordText(item))) {
        item.settle!({ position: this.#applyHere(item), acknowledged: false });
        return done;
      }
      this.#settleHere(item);
    }
    this.#enqueue([item]);
    if (this.#failures > 0) this.#bound();
    else void unawaited(this.#send(), 'purge');
    return done;
  }

  /** Tries again: the log is followed again, or in another epoch. */
  retry(): void {
    this.#wake?.();
    if (!this.#cancelRetry) return;
    this.#cancelRetry();
    this.#cancelRetry = undefined;
    void unawaited(this.#send(), 'purge');
  }

  /** Drops the queue. */
  close(): void {
    this.#isClosed = true;
    this.#cancelRetry?.();
    for (const item of [...this.#sending, ...this.#queue]) this.#settleHere(item);
    this.#queue = [];
    this.#waiting.clear();
    this.#wake?.();
  }

  async #send(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    // Records of the same tick go together.
    await undefined;
    while (this.#queue.length > 0 && !this.#isClosed) {
      this.#sending = this.#queue.splice(0, BATCH);
      for (const item of this.#sending) this.#waiting.delete(recordText(item));
      const isSent = await this.#write(this.#sending).catch((error) => this.#setup.fault(error));
      if (isSent) this.#failures = 0;
      else this.#fail();
      this.#sending = [];
      if (!isSent) break;
    }
    this.#isBusy = false;
  }

  /** @returns false if there is no connection. @throws if the append failed or its outcome is unknown. */
  async #write(batch: readonly PendingRecord[]): Promise<boolean> {
    const { view, timers, deadline, isKnown, stream: streamNow } = this.#setup;
    const until = timers.now() + deadline;
    for (;;) {
      const { epoch, known } = view.positions;
      const stream = streamNow();
      if (epoch !== undefined && isKnown()) {
        if (!stream) return false;
        const bodies = batch.map(({ body }) => body);
        const left = Math.max(1, until - timers.now());
        const reply = await withTimeout(timers, left, stream.append(epoch, known, bodies), true);
        if ('position' in reply) {
          const { replicas } = reply;
          for (const [i, item] of batch.entries()) {
            const at = { epoch: reply.epoch, position: reply.position + i };
            const position = view.acknowledge(item.kind, item.target, item.body.cause, at);
            item.settle?.({ position, acknowledged: true, replicas });
            if (item.isApplied) this.#unacknowledged--;
          }
          return true;
        }
      }
      // Redis may have another epoch than the one we follow, or older data; or no epoch is known yet. The reader
      // will find out.
      const left = until - timers.now();
      if (left <= 0 || this.#isClosed) return false;
      await this.#change(left);
    }
  }

  /** Resolves when the reader reports a change or the time is over. */
  #change(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#setup.timers.after(milliseconds, resolve, true);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  #fail(): void {
    const { timers } = this.#setup;
    this.#failures++;
    const items = [...this.#sending, ...this.#queue.splice(0)];
    for (const item of items) this.#settleHere(item);
    // Duplicates are written once, at the position of the last one.
    const unique = new Map(items.map((item) => [recordText(item), item]));
    this.#unacknowledged -= items.length - unique.size;
    this.#enqueue([...unique.values()]);
    if (this.#isClosed) return;
    this.#sending = [];
    this.#bound();
    const delay = Math.min(MAX_DELAY, 100 * 2 ** Math.min(this.#failures - 1, 10));
    this.#cancelRetry = timers.after(delay * (0.5 + timers.random() / 2), () => this.retry());
  }

  #enqueue(items: readonly PendingRecord[]): void {
    for (const item of items) {
      this.#queue.push(item);
      this.#waiting.add(recordText(item));
    }
  }

  #applyHere({ kind, target, body }: PendingRecord): number {
    return this.#setup.view.applyHere(kind, target, body.cause);
  }

  #settleHere(item: PendingRecord): void {
    if (!item.settle) return;
    const position = this.#applyHere(item);
    item.isApplied = true;
    this.#unacknowledged++;
    item.settle({ position, acknowledged: false });
    item.settle = undefined;
  }

  /** Limits the queue of records that cannot be written. A burst that Redis accepts does not count. */
  #bound(): void {
    if (this.length <= this.#setup.maxQueued) return;
    for (const item of this.#queue.splice(0)) this.#settleHere(item);
    const target: Target = { kind: 'all', value: '' };
    this.#waiting.clear();
    this.#enqueue([{ kind: 'purge', target, body: recordBody('purge', target), isApplied: true }]);
    this.#unacknowledged = this.#sending.filter(({ isApplied }) => isApplied).length + 1;
    this.overflows++;
  }
}

function recordText({ body }: PendingRecord): string {
  return headOf(body) + body.value;
}
