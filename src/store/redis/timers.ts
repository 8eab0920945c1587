import { performance } from 'node:perf_hooks';
import { guarded, unawaited } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import { DeadlineError } from './redis-errors.js';

/** Time as the log sees it; tests give it a clock of their own. */
export interface Timers {
  /** Milliseconds, monotonic: the clock that entries' times are on. */
  now(): number;
  /**
   * Calls once, later. @returns what calls it off.
   * @param holds whether the process waits for it. Default false.
   */
  after(milliseconds: number, call: () => void, holds?: boolean): () => void;
  /** Between 0 and 1. */
  random(): number;
}

export const systemTimers: Timers = {
  now: () => performance.now(),
  after(milliseconds, call, holds = false) {
    // What is tried again and again, such as a purge that Redis has not taken yet, keeps no client's AsyncLocalStorage.
    const timer = runInOwnContext(() => setTimeout(guarded('redis', call), milliseconds));
    if (!holds) timer.unref();
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

/**
 * The task goes on after its deadline, and what becomes of it is nobody's concern any more.
 *
 * @param holds whether the process stays for the answer: somebody of the app waits for it.
 * @throws DeadlineError when there is no answer in time.
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
