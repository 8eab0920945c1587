import { reportFault } from './report-fault.js';

/**
 * Wraps a callback that the event loop calls: a listener, a timer, the continuation of a promise. No caller is left
 * there to catch what it throws, so Node would end the process. It is reported instead.
 *
 * Every such callback of ours goes through here; a test reads the source for others.
 *
 * @param where names the callback in the report.
 */
export function guarded<This, Args extends unknown[]>(
  where: string,
  callback: (this: This, ...args: Args) => unknown,
): (this: This, ...args: Args) => void {
  return function (this: This, ...args: Args): void {
    try {
      callback.apply(this, args);
    } catch (error) {
      reportFault(where, error);
    }
  };
}

/**
 * Takes care of a promise that nobody waits for, or of anything else with a `then`, of whatever realm: its rejection
 * is reported. Never rejects.
 *
 * @param where names it in the report; absent where somebody has been told already.
 */
export async function unawaited(promise: unknown, where?: string): Promise<void> {
  try {
    await promise;
  } catch (error) {
    if (where !== undefined) reportFault(where, error);
  }
}
