import type { SlowQueryFigures } from './figures.js';

const MOST_QUERIES = 50;

/** Older ones are dropped. Milliseconds. */
const LONGEST_AGE = 3_600_000;

/** The slowest queries of the last hour. */
export class SlowestQueries {
  /** The slowest first. */
  #queries: SlowQueryFigures[] = [];

  add(query: SlowQueryFigures): void {
    const queries = this.list();
    const at = queries.findIndex(({ seconds }) => seconds < query.seconds);
    queries.splice(at < 0 ? queries.length : at, 0, query);
    this.#queries = queries.slice(0, MOST_QUERIES);
  }

  list(): SlowQueryFigures[] {
    const oldest = Date.now() - LONGEST_AGE;
    return this.#queries.filter(({ at }) => at >= oldest);
  }
}
