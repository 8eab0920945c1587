import { ServerResponse } from 'node:http';
import type { Exchange } from './exchange.js';
import { dataOn } from './exchange-data.js';
import { runGuarded } from './run-listeners.js';

type Destroy = (this: ServerResponse, error?: Error) => ServerResponse;

/** The `destroy` listeners of one response, and its original method. */
interface DestroyListeners {
  readonly listeners: (() => void)[];
  readonly beneath: Destroy;
}

const OWNER = Symbol('hotpath.destroy');

/**
 * Calls `listener` when the app destroys the response, as `pipeline` does if its source fails. When the client
 * disconnects, Node closes the response without a call of `destroy`.
 */
export function onDestroy(exchange: Exchange, listener: () => void): void {
  const known = exchange.dataOf(OWNER) as DestroyListeners | undefined;
  if (known) {
    known.listeners.push(listener);
    return;
  }
  const response = exchange.res as { destroy: Destroy };
  exchange.setData(OWNER, { listeners: [listener], beneath: response.destroy } satisfies DestroyListeners);
  response.destroy = destroy;
}

// One function for all responses. If an object has a function of its own where others have another, V8 gives it a
// hidden class of its own. That class is kept, with all that the function references, until the next full garbage
// collection.
const destroy: Destroy = function (error) {
  const given = dataOn(this, OWNER) as DestroyListeners | undefined;
  // Called on another object, such as a stream that got the bare method as a listener.
  if (!given) return ServerResponse.prototype.destroy.call(this, error);
  for (const listener of given.listeners) runGuarded(listener, undefined, 'destroy');
  return given.beneath.call(this, error);
};
