import { performance } from 'node:perf_hooks';
import { guarded, unawaited } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import { DeadlineError } from './redis-errors.js';

/** Clock and timers of the log. Tests provide simulated ones. */
export interface Timers {
  /** The cache's clock: milliseconds, monotonic. */
  now(): number;
  /**
   * Calls a function once, later. @returns a function that cancels the call.
   * @param holds whether the timer keeps the process alive. Default: false.
   */
  after(milliseconds: number, call: () => void, holds?: boolean): () => void;
  /** A random number between 0 and 1. */
  random(): number;
}

export const systemTimers: Timers = {
  now: () => performance.now(),
  after(milliseconds, call, holds = false) {
    // A timer of repeated attempts, such as an unwritten purge, must not keep a client's AsyncLocalStorage.
    const timer = runInOwnContext(() => setTimeout(guarded('redis', call), milliseconds));
    if (!holds) timer.unref();
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

/**
 * Rejects after a deadline. The task continues, and its result is ignored.
 *
 * @param holds whether the timer keeps the process alive, because a caller in the app waits.
 * @throws DeadlineError without a result in time.
 */
export function withTimeout<T>(
  timers: Timers,
  milliseconds: number,
  task: Promise<T>,
  holds = false,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = timers.after(milliseconds, () => reject(new DeadlineError(milliseconds)), holds);
    void unawaited(task.then(resolve, reject).finally(cancel), 'redis');
  });
}
