import { AsyncLocalStorage } from 'node:async_hooks';
import type { RequestListener } from 'node:http';
import onHeaders from 'on-headers';

interface Counter {
  queries: number;
}

const counters = new AsyncLocalStorage<Counter>();

/** Notes that the current request sends one statement to the database; outside of a request, nothing. */
export function countQuery(): void {
  const counter = counters.getStore();
  if (counter) counter.queries += 1;
}

/**
 * Sends `X-SQL-Queries`: how many statements this very request sent, for the page that shows what a cache saves.
 *
 * It stands around the whole app, so the number is written beneath hotpath, when the headers really leave. A
 * header set inside would be stored with the response, and a hit would repeat the number of the miss.
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
