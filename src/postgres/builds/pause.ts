import { guarded } from '../../runtime/guard.js';

/**
 * Waits, without keeping the process alive.
 *
 * @returns `false` if the signal has ended it.
 */
export function pauseFor(ms: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(false);
    const end = guarded('index builds', () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve(!signal.aborted);
    });
    const timer = setTimeout(end, ms).unref();
    signal.addEventListener('abort', end);
  });
}
