import type { IncomingMessage } from 'node:http';
import type { Exchange } from '../../exchange/exchange.js';
import { timingOf } from '../../middleware/timing/request-timing.js';
import type { RequestDatabase, RequestMark } from '../../options/request-types.js';
import { type CallTrace, captureTrace } from './call-site.js';
import type { Statement } from './statements.js';

/** The owner of a request's queries on its exchange: two copies of the package count together. */
const QUERIES = Symbol.for('hotpath.queries');

/** One statement in one request. */
interface StatementUse {
  /** Queries that began. */
  queries: number;
  /** Of those that ended. Milliseconds. */
  milliseconds: number;
  /** The stack of the query that reached the limit; reading it makes its text. */
  trace: CallTrace | undefined;
}

type Marked = IncomingMessage & { hotpath?: RequestMark };

/** A repeated statement of a request that has ended. */
export interface RepeatedStatement {
  readonly statement: Statement;
  readonly queries: number;
  readonly milliseconds: number;
  readonly stack: string | undefined;
}

/** The queries of one request. */
export class RequestQueries implements RequestDatabase {
  readonly #exchange: Exchange;
  readonly #uses = new Map<Statement, StatementUse>();
  #isShown = false;
  #isWatched = false;

  private constructor(exchange: Exchange) {
    this.#exchange = exchange;
    exchange.onHead(() => this.#show());
    const req: Marked = exchange.req;
    req.hotpath = { ...req.hotpath, database: this };
  }

  /** Those of a request; the first call begins to count. */
  static of(exchange: Exchange): RequestQueries {
    const known = exchange.dataOf(QUERIES) as RequestQueries | undefined;
    if (known) return known;
    const queries = new RequestQueries(exchange);
    exchange.setData(QUERIES, queries);
    return queries;
  }

  get queries(): number {
    return this.#exchange.queryCount;
  }

  get seconds(): number {
    return this.#exchange.queryMs / 1000;
  }

  /**
   * A query begins.
   *
   * @param limit of queries of one statement; reaching it keeps the stack.
   * @param called the function that the app called; the stack begins above it.
   * @param report is called with the repeated statements, once, at the end of the request.
   */
  began(
    statement: Statement,
    limit: number,
    called: (...args: never[]) => unknown,
    report: (exchange: Exchange, repeated: readonly RepeatedStatement[]) => void,
  ): void {
    let use = this.#uses.get(statement);
    if (!use) this.#uses.set(statement, (use = { queries: 0, milliseconds: 0, trace: undefined }));
    if (++use.queries !== limit) return;
    use.trace = captureTrace(called);
    if (this.#isWatched) return;
    this.#isWatched = true;
    this.#exchange.onClose((exchange) => report(exchange, this.#repeated(limit)));
  }

  ended(statement: Statement, milliseconds: number): void {
    this.#exchange.queryCount++;
    this.#exchange.queryMs += milliseconds;
    const use = this.#uses.get(statement);
    if (use) use.milliseconds += milliseconds;
  }

  #repeated(limit: number): RepeatedStatement[] {
    return [...this.#uses]
      .filter(([, { queries }]) => queries >= limit)
      .map(([statement, { queries, milliseconds, trace }]) => ({
        statement,
        queries,
        milliseconds,
        stack: trace?.stack,
      }));
  }

  /** Sending the headers may fail and be tried again. */
  #show(): void {
    if (this.#isShown || this.queries === 0) return;
    this.#isShown = true;
    const noun = this.queries === 1 ? 'query' : 'queries';
    timingOf(this.#exchange.res).add('db', this.#exchange.queryMs, `${this.queries} ${noun}`);
  }
}
