import type { NPlusOneEvent } from '../../events/channels.js';
import { POOL_MONITOR } from '../../telemetry/monitored-pool.js';
import type { Durations } from '../../telemetry/requests/figures.js';
import type { Statement } from './statements.js';

/** A connection that was taken long ago and not released. */
export interface LeakSuspect {
  /** Since it was taken. */
  readonly seconds: number;
  /** Where the app's own code took it, with two callers: file, line and column; `null` if none was found. */
  readonly place: string | null;
  /** Template of the route that took it; `null` outside of requests. */
  readonly route: string | null;
}

/** Figures of a pool. */
export interface MonitoredPoolFigures {
  readonly name: string;
  /** The most connections. */
  readonly maxCount: number | null;
  readonly totalCount: number;
  readonly idleCount: number;
  /** Callers that wait for a connection. */
  readonly waitingCount: number;
  readonly activeCount: number;
  /** All connections are in use, and callers wait. */
  readonly isSaturated: boolean;
  /** Connections that were opened, and closed, since the start: churn. A query that fails in `pool.query` closes one. */
  readonly opened: number;
  readonly closed: number;
  /** Callers that got an error in place of a connection. */
  readonly failed: number;
  /** Further attempts of reads whose connection was lost. */
  readonly retries: number;
  /** Connections that were closed because they did not answer a check after they idled. */
  readonly dropped: number;
  /** Callers that the open breaker refused. */
  readonly refused: number;
  /** The state of the breaker; `null`: there is none. */
  readonly breaker: 'closed' | 'open' | 'half-open' | null;
  /** How long callers waited for a connection. */
  readonly wait: Durations;
  /** How long connections were in use. */
  readonly use: Durations;
  /** The longest first; 20 at most. */
  readonly leakSuspects: readonly LeakSuspect[];
}

/** Counts of queries since the start. */
export interface QueryCounts {
  readonly queries: number;
  readonly errors: number;
  /** Rows that were read or changed. */
  readonly rows: number;
  readonly slow: number;
  /** Cursors, streams and COPY. The app decides how long they take, so their time is in no duration. */
  readonly streams: number;
}

/** Figures of one fingerprint. */
export interface StatementFigures extends QueryCounts {
  /** The statement with placeholders, never with values. */
  readonly text: string;
  readonly operation: string;
  /** Of all queries together. */
  readonly seconds: number;
  readonly durations: Durations;
}

/** A slow query. */
export interface SlowQueryFigures {
  /** When it ended. Milliseconds since 1970. */
  readonly at: number;
  readonly text: string;
  readonly seconds: number;
  readonly rows: number;
  readonly route: string | null;
  /** SQLSTATE or `connection`; `null` for a query that succeeded. */
  readonly error: string | null;
  /** How PostgreSQL runs the statement, without values; `null` without the option `explain`, and until it is known. */
  readonly plan: readonly string[] | null;
}

/** A statement that one request ran again and again. */
export interface NPlusOneFigures extends NPlusOneEvent {
  /** Requests of the route that did so. */
  readonly requests: number;
}

/** All figures of a monitored pool. */
export interface DatabaseFigures {
  readonly pool: MonitoredPoolFigures;
  readonly queries: QueryCounts & { readonly durations: Durations; readonly statements: number };
  /** Those that took the most time together first; 50 at most. */
  readonly statements: readonly StatementFigures[];
  /** The worst of the last hour, the slowest first; 50 at most. */
  readonly slowQueries: readonly SlowQueryFigures[];
  /** The requests with the most queries first; 50 at most. */
  readonly nPlusOne: readonly NPlusOneFigures[];
}

/** Counts of a pool since the start. */
export interface PoolTotals {
  /** Callers that got a connection, and how long they waited. */
  readonly checkouts: number;
  readonly waitSeconds: number;
  /** How long connections were in use, until now. */
  readonly useSeconds: number;
}

/** The monitor of a pool. */
export interface PoolMonitor {
  /** Plain data in bounded lists. */
  figures(): DatabaseFigures;
  /** @internal Counts since the start, of which the load of the pool is computed. */
  totals(): PoolTotals;
  /** @internal Those since the start. */
  slowQueries(): number;
  /** @internal The statements with their samples, which no output shows. */
  statements(): readonly Statement[];
  /** Ends the monitoring and gives the pool its own methods back. Idempotent. */
  close(): void;
}

/** The monitor of a pool; `undefined` if `monitorPool` does not watch it. */
export function monitorOf(pool: object): PoolMonitor | undefined {
  return (pool as { [POOL_MONITOR]?: PoolMonitor })[POOL_MONITOR];
}

/** @internal Sets or removes the monitor of a pool. */
export function setMonitor(pool: object, monitor: PoolMonitor | undefined): void {
  Object.defineProperty(pool, POOL_MONITOR, { value: monitor, configurable: true, enumerable: false });
}
