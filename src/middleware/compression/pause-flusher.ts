import { performance } from 'node:perf_hooks';
import { guarded } from '../../runtime/guard.js';

/** Least time between two flushes: each costs some bytes, and the encoder loses some of its gain. Milliseconds. */
const FLUSH_INTERVAL_MS = 100;

/**
 * Flushes an encoder when the handler pauses, so that text which is written in pieces arrives in pieces.
 *
 * A flush is due after a pause in the writes. If a handler writes without a pause, it is due when the oldest waiting
 * bytes reach the least time between two flushes. The first timer starts at a `write` that no `end` follows in the
 * same tick. Ordinary responses have none.
 */
export class PauseFlusher {
  readonly #pauseMs: number;
  readonly #flush: () => void;
  #isStarted = false;
  #isStopped = false;
  /** The client reads too slowly: it has enough to read, and what waits goes out later. */
  #isHeld = false;
  /** Since when bytes wait, and when the last ones came; `undefined` for none. `performance.now()`. */
  #waitingSince: number | undefined;
  #writtenAt = 0;
  #flushedAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /** @param flush sends what waits. */
  constructor(pauseMs: number, flush: () => void) {
    this.#pauseMs = pauseMs;
    this.#flush = flush;
  }

  /** The handler has written, and its bytes may wait in the encoder. */
  wrote(): void {
    if (this.#isStopped) return;
    this.#writtenAt = performance.now();
    if (this.#waitingSince !== undefined) return;
    this.#waitingSince = this.#writtenAt;
    if (this.#isStarted) {
      this.#arm();
      return;
    }
    this.#isStarted = true;
    process.nextTick(this.#startLater);
  }

  /** Nothing waits any more: the app has flushed. */
  flushed(): void {
    this.#waitingSince = undefined;
    this.#flushedAt = performance.now();
  }

  /** Until `release`, nothing is flushed. */
  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    if (this.#isStarted) this.#arm();
  }

  /** Nothing is flushed any more. Idempotent. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  readonly #startLater = guarded('compression', () => this.#arm());

  readonly #fire = guarded('compression', () => {
    this.#timer = undefined;
    if (this.#waitingSince === undefined || this.#isHeld || this.#isStopped) return;
    // Timers may fire a fraction of a millisecond early.
    if (this.#dueAt(this.#waitingSince) - performance.now() >= 1) {
      this.#arm();
      return;
    }
    this.flushed();
    this.#flush();
  });

  #arm(): void {
    if (this.#waitingSince === undefined || this.#timer || this.#isHeld || this.#isStopped) return;
    const wait = Math.max(1, this.#dueAt(this.#waitingSince) - performance.now());
    this.#timer = setTimeout(this.#fire, wait).unref();
  }

  #dueAt(waitingSince: number): number {
    const paused = Math.min(
      this.#writtenAt + this.#pauseMs,
      waitingSince + Math.max(FLUSH_INTERVAL_MS, this.#pauseMs),
    );
    return Math.max(paused, this.#flushedAt + FLUSH_INTERVAL_MS);
  }
}
