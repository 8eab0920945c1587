import { vi } from 'vitest';

/** The time that measured code sees; it passes only as the test says. */
export interface StoppedClock {
  pass(milliseconds: number): void;
}

/**
 * Stops `performance.now`, the clock of the cache, of timing and of metrics: what lives for half a second lives
 * until the test lets time pass, however busy the machine is. Timers and sockets go on. `vi.restoreAllMocks()`
 * sets it going again.
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
