import type { ServerResponse } from 'node:http';
import { isHttp2 } from './connection.js';

/** The methods by which an app changes the head of a response, or the response as a whole. */
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
 * Ignores an app's changes to a response while `isLocked` returns true.
 *
 * Node throws if a header is set after the head was sent. The handler of a locked response has not sent it. In an
 * async handler on Express 4, the exception would become an unhandled rejection and end the process.
 */
export function lockResponse(res: ServerResponse, isLocked: () => boolean): void {
  const methods = res as unknown as Record<string, ((...args: unknown[]) => unknown) | undefined>;
  for (const name of METHODS) {
    const original = methods[name];
    if (!original) continue; // the HTTP/2 compatibility response lacks some of them
    methods[name] = function (this: ServerResponse, ...args) {
      return isLocked() ? this : original.apply(this, args);
    };
  }
  // On HTTP/2 they are accessors, and only hotpath reads a late change of the status.
  for (const name of ['statusCode', 'statusMessage'] as const) {
    if (res.req && isHttp2(res.req)) continue;
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
