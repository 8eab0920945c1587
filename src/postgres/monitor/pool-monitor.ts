import { performance } from 'node:perf_hooks';
import { type SlowQueryEvent, slowQueryEvents } from '../../events/channels.js';
import type { Exchange } from '../../exchange/exchange.js';
import { callHook, unawaited } from '../../runtime/guard.js';
import { durationsOf } from '../../telemetry/requests/figures.js';
import { DurationHistogram } from '../../telemetry/requests/histogram.js';
import { codeOf, type DriverPool } from '../driver.js';
import { SlowQueryPlans } from '../explain/slow-plans.js';
import type { ReadRetry } from '../resilience/retry.js';
import type { SoundConnect } from '../resilience/sound-connect.js';
import { Sessions } from '../sessions.js';
import { type CallTrace, callSiteOf } from './call-site.js';
import type {
  DatabaseFigures,
  LeakSuspect,
  MonitoredPoolFigures,
  PoolTotals,
  QueryCounts,
  StatementFigures,
} from './figures.js';
import { type DatabaseCounts, type DatabaseSeries, noSeries, showDatabase } from './metrics.js';
import { NPlusOneList } from './n-plus-one.js';
import type { MonitorPoolSettings } from './options.js';
import { RequestQueries } from './request-queries.js';
import { SlowestQueries } from './slowest-queries.js';
import { type Statement, Statements } from './statements.js';

const MOST_LEAKS = 20;

const MOST_STATEMENTS_SHOWN = 50;

/** Error codes that are counted apart; the server has some 250. */
const MOST_CODES = 300;

/** A connection that a caller wants, and then holds. One object for both, because each query of a pool makes one. */
export interface Checkout {
  readonly request: Exchange | undefined;
  /** `performance.now()`, as all times here. */
  readonly wantedAt: number;
  /** 0 before. */
  takenAt: number;
  /** When the query of a `pool.query` ended, which then releases the connection; 0 before. */
  endedAt: number;
  /** The caller's stack, for `connect()`; `undefined` for `pool.query`. */
  readonly trace: CallTrace | undefined;
  /** It is that of a `pool.query`. */
  readonly isOfPool: boolean;
  /** The statement of a `pool.query`, until it is sent. */
  statement: Statement | undefined;
}

/** A query that was sent. */
export interface SentQuery {
  readonly statement: Statement;
  readonly request: Exchange | undefined;
  /** `performance.now()`. */
  readonly startedAt: number;
  /** The app decides how long it takes: a cursor, a stream, COPY. */
  readonly isStream: boolean;
  /** As the app sent it. */
  readonly sql: string;
  /** Its values, as the app gave them. */
  readonly values: unknown;
}

/** Acts where connections are lost. */
interface Resilience {
  readonly sound: SoundConnect | undefined;
  readonly retry: ReadRetry | undefined;
}

/** The counts of one pool. */
export class PoolRecorder {
  readonly settings: MonitorPoolSettings;
  readonly statements: Statements;
  readonly checkouts = new Set<Checkout>();
  /** Clients keep their own methods then, which count nothing. */
  isClosed = false;
  opened = 0;
  closed = 0;
  failed = 0;
  /** Absent parts are off. */
  resilience: Resilience = { sound: undefined, retry: undefined };
  readonly #pool: DriverPool;
  readonly #series: DatabaseSeries;
  readonly #wait = new DurationHistogram();
  readonly #use = new DurationHistogram();
  readonly #durations = new DurationHistogram();
  readonly #errors = new Map<string, number>();
  readonly #counts = { queries: 0, errors: 0, rows: 0, slow: 0, streams: 0 };
  readonly #slowest = new SlowestQueries();
  readonly #nPlusOne: NPlusOneList;
  readonly #plans: SlowQueryPlans | undefined;
  readonly #slowMs: number;
  readonly #limit: number;

  constructor(pool: DriverPool, settings: MonitorPoolSettings) {
    const { perf, name, naming, slow, nPlusOne, maxStatements, explain, onNPlusOne } = settings;
    this.settings = settings;
    this.#pool = pool;
    const registry = perf?.metrics.registry;
    this.#series = registry ? showDatabase(registry, naming, name, () => this.#metrics()) : noSeries();
    this.statements = new Statements(maxStatements, (operation) => this.#series.of(operation));
    this.#nPlusOne = new NPlusOneList(onNPlusOne);
    this.#plans = explain ? new SlowQueryPlans(new Sessions(pool, undefined)) : undefined;
    this.#slowMs = slow === false ? Number.POSITIVE_INFINITY : slow * 1000;
    this.#limit = nPlusOne === false ? Number.POSITIVE_INFINITY : nPlusOne;
  }

  /**
   * The app calls a query, for a request or not.
   *
   * @param called the function that it called.
   */
  began(statement: Statement, request: Exchange | undefined, called: (...args: never[]) => unknown): void {
    if (request) RequestQueries.of(request).began(statement, this.#limit, called, this.#nPlusOne.report);
  }

  /** @param error `undefined` for a query that succeeded. */
  ended(query: SentQuery, endedAt: number, rows: number, error: unknown): void {
    const { statement, request, startedAt, isStream } = query;
    const duration = endedAt - startedAt;
    statement.lastAt = endedAt;
    statement.rows += rows;
    statement.series.rows += rows;
    this.#counts.queries++;
    this.#counts.rows += rows;
    if (error !== undefined) this.#failed(statement, error);
    // The time of a stream is that of the app that reads it.
    if (isStream) {
      statement.streams++;
      this.#counts.streams++;
      return;
    }
    statement.durations.record(duration);
    this.#durations.record(duration);
    statement.series.seconds.observe(duration / 1000);
    if (request) RequestQueries.of(request).ended(statement, duration);
    if (duration >= this.#slowMs) this.#slow(query, duration, rows, error);
  }

  /** A caller waited for a connection. @param duration milliseconds. */
  waited(duration: number): void {
    this.#wait.record(duration);
    this.#series.wait.observe(duration / 1000);
  }

  /** A connection was in use. @param duration milliseconds. */
  used(duration: number): void {
    this.#use.record(duration);
    this.#series.use.observe(duration / 1000);
  }

  get slowQueries(): number {
    return this.#counts.slow;
  }

  figures(): DatabaseFigures {
    const statements = this.statements
      .list()
      .map(figuresOfStatement)
      .filter(({ queries }) => queries > 0)
      .sort((a, b) => b.seconds - a.seconds)
      .slice(0, MOST_STATEMENTS_SHOWN);
    return {
      pool: this.#poolFigures(),
      queries: { ...this.#counts, durations: durationsOf(this.#durations), statements: this.statements.size },
      statements,
      slowQueries: this.#slowest.list(),
      nPlusOne: this.#nPlusOne.list(),
    };
  }

  totals(): PoolTotals {
    const now = performance.now();
    const open = [...this.checkouts].reduce((sum, { takenAt }) => sum + (now - takenAt), 0);
    return {
      checkouts: this.#wait.count,
      waitSeconds: this.#wait.sum / 1000,
      useSeconds: (this.#use.sum + open) / 1000,
    };
  }

  close(): void {
    this.isClosed = true;
    this.#series.close();
    void unawaited(this.#plans?.close(), 'monitorPool');
    this.checkouts.clear();
  }

  #failed(statement: Statement, error: unknown): void {
    statement.errors++;
    this.#counts.errors++;
    const code = codeOf(error);
    if (this.#errors.has(code) || this.#errors.size < MOST_CODES)
      this.#errors.set(code, (this.#errors.get(code) ?? 0) + 1);
  }

  #slow(query: SentQuery, duration: number, rows: number, error: unknown): void {
    const { statement, request, sql, values } = query;
    statement.slow++;
    this.#counts.slow++;
    const { text } = statement.fingerprint;
    const route = request?.template;
    const seconds = duration / 1000;
    const code = error === undefined ? null : codeOf(error);
    this.#slowest.add(statement, { at: Date.now(), seconds, rows, route: route ?? null, error: code });
    this.#plans?.offer(statement, sql, values);
    const event: SlowQueryEvent = { text, seconds, route };
    if (slowQueryEvents.hasSubscribers) slowQueryEvents.publish(event);
    const { onSlowQuery } = this.settings;
    if (onSlowQuery) callHook('onSlowQuery', onSlowQuery, event);
  }

  #poolFigures(): MonitoredPoolFigures {
    const { totalCount, idleCount, waitingCount, options } = this.#pool;
    const { max } = options;
    const isFull = max !== undefined && totalCount >= max;
    return {
      name: this.settings.name,
      maxCount: max ?? null,
      totalCount,
      idleCount,
      waitingCount,
      activeCount: totalCount - idleCount,
      isSaturated: isFull && idleCount === 0 && waitingCount > 0,
      opened: this.opened,
      closed: this.closed,
      failed: this.failed,
      ...this.#resilienceFigures(),
      wait: durationsOf(this.#wait),
      use: durationsOf(this.#use),
      leakSuspects: this.#suspects().slice(0, MOST_LEAKS).map(describeSuspect),
    };
  }

  #resilienceFigures() {
    const { sound, retry } = this.resilience;
    return {
      retries: retry?.count ?? 0,
      dropped: sound?.dropped ?? 0,
      refused: sound?.refused ?? 0,
      breaker: sound?.breakerState ?? null,
    };
  }

  #suspects(): Checkout[] {
    const { leakAfter } = this.settings;
    if (leakAfter === false) return [];
    const latest = performance.now() - leakAfter * 1000;
    return [...this.checkouts].filter(({ takenAt }) => takenAt <= latest);
  }

  #metrics(): DatabaseCounts {
    const { totalCount, idleCount, waitingCount, options } = this.#pool;
    const { opened, closed, failed } = this;
    return {
      ...this.#resilienceFigures(),
      errors: this.#errors,
      slow: this.#counts.slow,
      opened,
      closed,
      failed,
      leakSuspects: this.#suspects().length,
      idle: idleCount,
      used: totalCount - idleCount,
      max: options.max,
      pending: waitingCount,
    };
  }
}

function describeSuspect({ takenAt, trace, request }: Checkout): LeakSuspect {
  return {
    seconds: (performance.now() - takenAt) / 1000,
    place: callSiteOf(trace?.stack) ?? null,
    route: request?.template ?? null,
  };
}

function figuresOfStatement(statement: Statement): StatementFigures {
  const { fingerprint, durations, errors, rows, slow, streams } = statement;
  const counts: QueryCounts = { queries: durations.count + streams, errors, rows, slow, streams };
  return { ...fingerprint, ...counts, seconds: durations.sum / 1000, durations: durationsOf(durations) };
}
