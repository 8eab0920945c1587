import { guarded } from './guard.js';

/** Waits. Returns early when the signal aborts. @param holds whether the timer keeps the process alive. Default: false. */
export function sleep(milliseconds: number, signal?: AbortSignal, holds = false): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const end = guarded('sleep', () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    });
    const timer = setTimeout(end, milliseconds);
    if (!holds) timer.unref();
    signal?.addEventListener('abort', end, { once: true });
  });
}
