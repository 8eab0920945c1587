import { reportFault } from './run-listeners.js';

/** What the last bytes of an answer wait for; nothing, where it answers with nothing. */
export type EndBarrier<Exchange> = (exchange: Exchange) => Promise<unknown> | undefined;

/** All that the end has to wait for; `undefined` for nothing. */
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
      reportFault('hold', error);
    }
  }
  return waits && Promise.allSettled(waits);
}
