import type { IncomingMessage, ServerResponse } from 'node:http';
import { guarded } from '../runtime/guard.js';
import { shareHiddenClass } from '../runtime/hidden-class.js';

/** A global symbol, so that two copies of the package (ESM and CommonJS, two versions) share one exchange on `res`. */
export const EXCHANGE = Symbol.for('hotpath.exchange');

/** The three methods that every response uses. */
export interface Methods {
  writeHead: (this: ServerResponse, status: number, reason?: unknown, headers?: unknown) => ServerResponse;
  write: (this: ServerResponse, chunk: unknown, encoding?: unknown, callback?: unknown) => boolean;
  end: (this: ServerResponse, chunk?: unknown, encoding?: unknown, callback?: unknown) => ServerResponse;
}

/** Receives the intercepted calls. */
export interface Interceptor {
  writeHead(status: number, reason: unknown, headers: unknown): ServerResponse;
  write(chunk: unknown, encoding: unknown, callback: unknown): boolean;
  end(chunk: unknown, encoding: unknown, callback: unknown): ServerResponse;
  finished(): void;
  gone(): void;
}

type Patched = ServerResponse & { [EXCHANGE]?: Interceptor };

// Functions of the module, not closures: a request sets only three properties on `res`.
const patched: Methods = {
  writeHead(status, reason, headers) {
    return (this as Patched)[EXCHANGE]!.writeHead(status, reason, headers);
  },
  write(chunk, encoding, callback) {
    return (this as Patched)[EXCHANGE]!.write(chunk, encoding, callback);
  },
  end(chunk, encoding, callback) {
    return (this as Patched)[EXCHANGE]!.end(chunk, encoding, callback);
  },
};

const onFinish = guarded('finish', function (this: ServerResponse) {
  (this as Patched)[EXCHANGE]?.finished();
});
const onClose = guarded('close', function (this: ServerResponse) {
  (this as Patched)[EXCHANGE]?.gone();
});

/** Tells the exchange when its response ends. */
export function listenForEnd(res: ServerResponse): void {
  // Before Node's own listener, which detaches the socket.
  res.prependListener('finish', onFinish);
  res.on('close', onClose);
}

/** Patches `res`, after `shareHiddenClass` so that this adds no hidden class. @returns the methods from before. */
export function patch(req: IncomingMessage, res: ServerResponse): Methods {
  shareHiddenClass(req, res);
  const methods = res as unknown as Methods;
  const { writeHead, write, end } = methods;
  methods.writeHead = patched.writeHead; // three stores, which cost less than `Object.assign`
  methods.write = patched.write;
  methods.end = patched.end;
  return { writeHead, write, end };
}

/** Whether `end` has not been patched since. */
export function isOnTop(res: ServerResponse): boolean {
  return (res as unknown as Methods).end === patched.end;
}
