import { reportFault } from './run-listeners.js';

/** Returns a promise that holds the end of a response, or `undefined`. */
export type EndBarrier<Exchange> = (exchange: Exchange) => Promise<unknown> | undefined;

/** Calls all barriers. Returns a promise for all of them, or `undefined` if there is nothing to wait for. */
export function waitForBarriers<Exchange>(
  barriers: readonly EndBarrier<Exchange>[],
  exchange: Exchange,
): Promise<unknown> | undefined {
  let waits: Promise<unknown>[] | undefined;
  for (const barrier of barriers) {
    try {
      const wait = barrier(exchange);
      if (wait) (waits ??= []).push(wait);
    } catch (error) {
      reportFault('end barrier', error);
    }
  }
  return waits && Promise.allSettled(waits);
}
