import { AsyncLocalStorage } from 'node:async_hooks';
import type { ServerResponse } from 'node:http';
import type { RequestHandler } from 'express';

/** Names the header that `countQueries` sets. It belongs to one response, so the cache must not store it. */
export const QUERY_COUNT = 'X-SQL-Queries';

interface Counter {
  readonly res: ServerResponse;
  queries: number;
}

const counters = new AsyncLocalStorage<Counter>();

/** Counts a statement of the current request; does nothing outside of a request. */
export function countQuery(): void {
  const counter = counters.getStore();
  if (!counter) return;
  counter.queries += 1;
  show(counter);
}

/**
 * Sends `X-SQL-Queries`, the number of statements of this request, for the page that shows the effect of the cache.
 *
 * It sets the header at each statement. To count beneath hotpath instead, when the headers are sent, it would have to
 * patch the response. On patched responses, hotpath serves no hits at the front door. A hit does not come here, so it
 * has no such header: it needs no statement.
 */
export const countQueries: RequestHandler = (_req, res, next) => {
  const counter: Counter = { res, queries: 0 };
  show(counter);
  counters.run(counter, next);
};

function show({ res, queries }: Counter): void {
  if (!res.headersSent) res.setHeader(QUERY_COUNT, queries);
}
