import { vi } from 'vitest';

/** The clock of measured code. It moves only when the test moves it. */
export interface StoppedClock {
  pass(milliseconds: number): void;
}

/**
 * Stops `performance.now`, the clock of the cache, timing and metrics, so that a lifetime of half a second
 * does not end on a slow machine. Timers and sockets keep running. `vi.restoreAllMocks()`
 * restarts the clock.
 */
export function stopClock(): StoppedClock {
  let now = performance.now();
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  return {
    pass(milliseconds) {
      now += milliseconds;
    },
  };
}
