import { performance } from 'node:perf_hooks';
import { sleep } from '../runtime/sleep.js';

/** The event loop is late if a timer fires so much too late. Milliseconds. */
const LATE_MS = 50;

/** Pauses end after this time, so that warming goes on slowly in a process that is always late. Milliseconds. */
const LONGEST_PAUSE_MS = 2000;

/** Waits until the event loop is on time. */
export async function pauseWhileLate(signal: AbortSignal): Promise<void> {
  const since = performance.now();
  while (!signal.aborted) {
    const before = performance.now();
    await sleep(1, signal);
    const late = performance.now() - before - 1;
    if (late < LATE_MS || performance.now() - since > LONGEST_PAUSE_MS) return;
    await sleep(Math.min(2 * late, 500), signal);
  }
}
