import type { SlowQueryFigures } from './figures.js';
import type { Statement } from './statements.js';

const MOST_QUERIES = 50;

/** Older ones are dropped. Milliseconds. */
const LONGEST_AGE = 3_600_000;

/** A slow query whose statement is known. */
interface SlowQuery {
  readonly statement: Statement;
  readonly figures: Omit<SlowQueryFigures, 'text' | 'plan'>;
}

/** The slowest queries of the last hour. */
export class SlowestQueries {
  /** The slowest first. */
  #queries: SlowQuery[] = [];

  add(statement: Statement, figures: SlowQuery['figures']): void {
    const queries = this.#recent();
    const at = queries.findIndex(({ figures: { seconds } }) => seconds < figures.seconds);
    queries.splice(at < 0 ? queries.length : at, 0, { statement, figures });
    this.#queries = queries.slice(0, MOST_QUERIES);
  }

  list(): SlowQueryFigures[] {
    return this.#recent().map(({ statement: { fingerprint, plan }, figures }) => ({
      ...figures,
      text: fingerprint.text,
      plan: plan ?? null,
    }));
  }

  #recent(): SlowQuery[] {
    const oldest = Date.now() - LONGEST_AGE;
    return this.#queries.filter(({ figures: { at } }) => at >= oldest);
  }
}
