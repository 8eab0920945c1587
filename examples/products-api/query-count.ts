import { AsyncLocalStorage } from 'node:async_hooks';
import type { RequestListener } from 'node:http';
import onHeaders from 'on-headers';

interface Counter {
  queries: number;
}

const counters = new AsyncLocalStorage<Counter>();

/** Counts a statement of the current request; does nothing outside of a request. */
export function countQuery(): void {
  const counter = counters.getStore();
  if (counter) counter.queries += 1;
}

/**
 * Sends `X-SQL-Queries`, the number of statements of this request, for the page that shows the effect of the
 * cache.
 *
 * It wraps the whole app and writes the header beneath hotpath, when the headers are sent. A header set
 * inside the app would be stored with the response, so that a hit would repeat the number of the miss.
 */
export function withQueryCount(listener: RequestListener): RequestListener {
  return (req, res) => {
    const counter: Counter = { queries: 0 };
    onHeaders(res, () => {
      res.setHeader('X-SQL-Queries', counter.queries);
    });
    counters.run(counter, () => listener(req, res));
  };
}
