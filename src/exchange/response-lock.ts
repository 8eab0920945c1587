import type { ServerResponse } from 'node:http';

/** What an app does to the head of a response, or to the response as a whole. */
const METHODS = [
  'setHeader',
  'setHeaders',
  'appendHeader',
  'removeHeader',
  'addTrailers',
  'flushHeaders',
  'writeContinue',
  'writeProcessing',
  'writeEarlyHints',
  'destroy',
] as const;

/**
 * Makes what an app does to a response be ignored while `isLocked` says so.
 *
 * Node throws for a header that is set after the head has gone. The handler of a locked response knows of no
 * head: in an async handler on Express 4 the throw would be an unhandled rejection, and end the process.
 */
export function lockResponse(res: ServerResponse, isLocked: () => boolean): void {
  const methods = res as unknown as Record<string, ((...args: unknown[]) => unknown) | undefined>;
  for (const name of METHODS) {
    const original = methods[name];
    if (!original) continue; // HTTP/2's compatible response has not all of them
    methods[name] = function (this: ServerResponse, ...args) {
      return isLocked() ? this : original.apply(this, args);
    };
  }
  // HTTP/2's are accessors of its own; there a late change of the status is seen by nobody but us.
  for (const name of ['statusCode', 'statusMessage'] as const) {
    if (res.req?.httpVersionMajor > 1) continue;
    let value: unknown = res[name];
    Object.defineProperty(res, name, {
      configurable: true,
      enumerable: true,
      get: () => value,
      set(wanted: unknown) {
        if (!isLocked()) value = wanted;
      },
    });
  }
}
