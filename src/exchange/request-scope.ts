import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { reportFault } from '../runtime/report-fault.js';
import { type Exchange, exchangeOf } from './exchange.js';

/** Where an instance of hotpath keeps its scope, for other entries of the package; two copies of it agree. */
export const REQUEST_SCOPE: unique symbol = Symbol.for('hotpath.request-scope');

/**
 * Tells code that runs for a request which request that is, once a monitor uses it. `AsyncLocalStorage` slows down every
 * `await` on Node 20, so without a monitor no request enters it.
 */
export class RequestScope {
  readonly #storage = new AsyncLocalStorage<Exchange>();
  readonly #closers = new Set<() => void>();
  #isUsed = false;

  /** The middleware; it begins the context of a request. */
  readonly middleware = (
    req: IncomingMessage,
    res: ServerResponse,
    next: (error?: unknown) => void,
  ): void => {
    const exchange = this.#isUsed ? exchangeIn(req, res) : undefined;
    if (exchange) this.#storage.run(exchange, next);
    else next();
  };

  /**
   * Begins to follow requests.
   *
   * @param close is called when the instance closes.
   * @returns ends that; idempotent.
   */
  join(close: () => void): () => void {
    this.#isUsed = true;
    this.#closers.add(close);
    return () => void this.#closers.delete(close);
  }

  /** The request for which the calling code runs; `undefined` outside of requests. */
  current(): Exchange | undefined {
    return this.#storage.getStore();
  }

  /** Closes everything that joined. Idempotent. */
  close(): void {
    this.#isUsed = false;
    for (const close of this.#closers) close();
    this.#closers.clear();
  }
}

function exchangeIn(req: IncomingMessage, res: ServerResponse): Exchange | undefined {
  try {
    return exchangeOf(req, res);
  } catch (error) {
    reportFault('request scope', error);
    return undefined;
  }
}
