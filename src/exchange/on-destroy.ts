import { ServerResponse } from 'node:http';
import type { Exchange } from './exchange.js';
import { dataOn } from './exchange-data.js';
import { runGuarded } from './run-listeners.js';

type Destroy = (this: ServerResponse, error?: Error) => ServerResponse;

/** What an exchange has noted of the `destroy` of its response. */
interface DestroyListeners {
  readonly listeners: (() => void)[];
  readonly beneath: Destroy;
}

const OWNER = Symbol('hotpath.destroy');

/**
 * Calls `listener` when the app itself gives the response up, as a `pipeline` into it does when its source
 * fails. A client that leaves does not: Node closes the response without `destroy`.
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

// One for all responses: V8 gives each object a hidden class of its own once it has a function of its own in a place
// where others have another, and that lives until the whole heap is marked, with all that the function can reach.
const destroy: Destroy = function (error) {
  const given = dataOn(this, OWNER) as DestroyListeners | undefined;
  // Called on something else, as a listener of a stream is that was given the method alone.
  if (!given) return ServerResponse.prototype.destroy.call(this, error);
  for (const listener of given.listeners) runGuarded(listener, undefined, 'destroy');
  return given.beneath.call(this, error);
};
