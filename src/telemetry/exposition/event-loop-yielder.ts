import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** The longest stretch of work before others get a turn. Milliseconds. */
const LONGEST_STRETCH = 5;

/** Lines that are written between two looks at the clock. */
const LINES_PER_LOOK = 100;

/** Splits long work into stretches, so that a scrape of many series does not block the event loop. */
export class EventLoopYielder {
  #since = performance.now();
  #lines = 0;

  /** Counts a line. @returns whether `yield` must be awaited. */
  afterLine(): boolean {
    return ++this.#lines % LINES_PER_LOOK === 0 && this.isDue;
  }

  get isDue(): boolean {
    return performance.now() - this.#since >= LONGEST_STRETCH;
  }

  /** Lets everything else run that waits for the event loop. */
  async yield(): Promise<void> {
    await nextTurn();
    this.#since = performance.now();
  }
}
