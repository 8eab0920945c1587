import { reportFault } from './report-fault.js';

/**
 * Wraps a callback that the event loop calls: a listener, a timer, the continuation of a promise. No caller
 * can catch its exceptions, so Node would end the process. They are reported instead.
 *
 * Every such callback in the package must be wrapped; a test checks the source.
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
 * Handles a promise that nobody awaits, or another object with a `then`, of any realm: its rejection is
 * reported. Never rejects.
 *
 * @param where names the promise in the report; absent if the error was already reported.
 */
export async function unawaited(promise: unknown, where?: string): Promise<void> {
  try {
    await promise;
  } catch (error) {
    if (where !== undefined) reportFault(where, error);
  }
}

/**
 * Calls a function of the app that is only notified. Its exceptions and rejections are reported.
 *
 * @param name the option that it was given as.
 */
export function callHook<Subject>(name: string, hook: (subject: Subject) => void, subject: Subject): void {
  try {
    // The type says `void`, but TypeScript also accepts async functions.
    const result: unknown = hook(subject);
    if (result !== undefined) void unawaited(result, name);
  } catch (error) {
    reportFault(name, error);
  }
}
