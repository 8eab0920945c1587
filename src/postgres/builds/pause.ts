import { sleep } from '../../runtime/sleep.js';

/**
 * Waits, without keeping the process alive.
 *
 * @returns `false` if the signal has ended it.
 */
export async function pauseFor(ms: number, signal: AbortSignal): Promise<boolean> {
  await sleep(ms, signal);
  return !signal.aborted;
}
