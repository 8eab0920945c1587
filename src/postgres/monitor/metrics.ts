import type { Registry } from 'prom-client';
import { type Count, registerCounters } from '../../telemetry/callback-counters.js';
import { registerGauges } from '../../telemetry/callback-gauges.js';
import { histogramIn } from '../../telemetry/get-or-create.js';
import { RouteHistogram } from '../../telemetry/route-histogram.js';
import type { OperationSeries } from './statements.js';

/** Those that OpenTelemetry advises for `db.client.operation.duration`. Seconds. */
const BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10];

/** The names of metrics and labels. */
interface DatabaseNames {
  readonly query: string;
  readonly wait: string;
  readonly use: string;
  readonly connections: string;
  readonly max: string;
  readonly pending: string;
  readonly pool: string;
  readonly operation: string;
  readonly state: string;
}

/** Figures that OpenTelemetry does not name have the same names in both. */
const NAMES: Readonly<Record<'prometheus' | 'otel', DatabaseNames>> = {
  prometheus: {
    query: 'hotpath_db_query_duration_seconds',
    wait: 'hotpath_db_connection_wait_seconds',
    use: 'hotpath_db_connection_use_seconds',
    connections: 'hotpath_db_connections',
    max: 'hotpath_db_connections_max',
    pending: 'hotpath_db_connections_pending',
    pool: 'pool',
    operation: 'operation',
    state: 'state',
  },
  otel: {
    query: 'db_client_operation_duration_seconds',
    wait: 'db_client_connection_wait_time_seconds',
    use: 'db_client_connection_use_time_seconds',
    connections: 'db_client_connection_count',
    max: 'db_client_connection_max',
    pending: 'db_client_connection_pending_requests',
    pool: 'db_client_connection_pool_name',
    operation: 'db_operation_name',
    state: 'db_client_connection_state',
  },
};

/** The counts that the metrics show. */
export interface DatabaseCounts {
  readonly errors: ReadonlyMap<string, number>;
  readonly slow: number;
  readonly opened: number;
  readonly closed: number;
  readonly failed: number;
  readonly retries: number;
  readonly dropped: number;
  readonly refused: number;
  readonly breaker: string | null;
  readonly leakSuspects: number;
  readonly idle: number;
  readonly used: number;
  readonly max: number | undefined;
  readonly pending: number;
}

type Observer = OperationSeries['seconds'];

/** Where the durations of a pool are observed. */
export interface DatabaseSeries {
  readonly wait: Observer;
  readonly use: Observer;
  of(operation: string): OperationSeries;
  /** Removes the gauges and counters from the registry. Idempotent. */
  close(): void;
}

const NOWHERE: Observer = { observe() {} };

/** Observes nothing: for a pool without a registry. */
export function noSeries(): DatabaseSeries {
  return { wait: NOWHERE, use: NOWHERE, of: () => ({ seconds: NOWHERE, rows: 0 }), close() {} };
}

/**
 * Shows a pool as metrics.
 *
 * @param pool its name.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` when the registry holds other metrics by these names.
 */
export function showDatabase(
  registry: Registry,
  naming: keyof typeof NAMES,
  pool: string,
  read: () => DatabaseCounts,
): DatabaseSeries {
  const names = NAMES[naming];
  const histogram = (name: string, help: string, ...labelNames: string[]) =>
    new RouteHistogram(histogramIn<string>(registry, { name, help, labelNames, buckets: BUCKETS }));
  const durations = histogram(
    names.query,
    'Time from the call of a query to its result.',
    names.pool,
    names.operation,
  );
  const wait = histogram(names.wait, 'Time that callers waited for a connection of the pool.', names.pool);
  const use = histogram(names.use, 'Time that connections were in use.', names.pool);
  const operations = new Map<string, OperationSeries>();
  const releases = [
    ...showConnections(registry, names, pool, read),
    ...showCounts(registry, pool, read),
    registerCounters(
      registry,
      'hotpath_db_rows_total',
      'Rows that were read or changed.',
      ['pool', 'operation'],
      () => [...operations].map(([operation, { rows }]) => ({ labels: { pool, operation }, value: rows })),
    ),
  ];
  return {
    wait: wait.labels([pool], undefined),
    use: use.labels([pool], undefined),
    of(operation) {
      let series = operations.get(operation);
      if (!series)
        operations.set(
          operation,
          (series = { seconds: durations.labels([pool, operation], undefined), rows: 0 }),
        );
      return series;
    },
    close: () => {
      for (const release of releases.splice(0)) release();
    },
  };
}

function showConnections(
  registry: Registry,
  names: DatabaseNames,
  pool: string,
  read: () => DatabaseCounts,
): (() => void)[] {
  const labels = { [names.pool]: pool };
  const gauge = (name: string, help: string, value: (counts: DatabaseCounts) => number | undefined) =>
    registerGauges<string>(registry, name, help, [names.pool], () => {
      const level = value(read());
      return level === undefined ? [] : [{ labels, value: level }];
    });
  return [
    registerGauges<string>(
      registry,
      names.connections,
      'Open connections.',
      [names.pool, names.state],
      () => {
        const { idle, used } = read();
        return [
          { labels: { ...labels, [names.state]: 'idle' }, value: idle },
          { labels: { ...labels, [names.state]: 'used' }, value: used },
        ];
      },
    ),
    gauge(names.max, 'The most connections of the pool.', ({ max }) => max),
    gauge(names.pending, 'Callers that wait for a connection.', ({ pending }) => pending),
  ];
}

function showCounts(registry: Registry, pool: string, read: () => DatabaseCounts): (() => void)[] {
  const counter = (name: string, help: string, value: (counts: DatabaseCounts) => number) =>
    registerCounters(registry, `hotpath_db_${name}`, help, ['pool'], () => [
      { labels: { pool }, value: value(read()) },
    ]);
  return [
    counter('slow_queries_total', 'Queries that took at least the limit for slow ones.', ({ slow }) => slow),
    counter('connections_opened_total', 'Connections that were opened.', ({ opened }) => opened),
    counter('connections_closed_total', 'Connections that were closed.', ({ closed }) => closed),
    counter('connections_failed_total', 'Callers that got no connection.', ({ failed }) => failed),
    counter('connections_dropped_total', 'Idle connections that failed a check.', ({ dropped }) => dropped),
    counter('connections_refused_total', 'Callers that the open breaker refused.', ({ refused }) => refused),
    counter('query_retries_total', 'Further attempts of lost reads.', ({ retries }) => retries),
    registerGauges(registry, 'hotpath_db_breaker_open', '1: the breaker is not closed.', ['pool'], () => {
      const { breaker } = read();
      return breaker === null ? [] : [{ labels: { pool }, value: Number(breaker !== 'closed') }];
    }),
    registerCounters(
      registry,
      'hotpath_db_query_errors_total',
      'Queries that failed, by SQLSTATE, or `connection`.',
      ['pool', 'code'],
      () =>
        [...read().errors].map(
          ([code, value]): Count<'pool' | 'code'> => ({ labels: { pool, code }, value }),
        ),
    ),
    registerGauges(
      registry,
      'hotpath_db_leak_suspects',
      'Connections that were taken long ago and not released.',
      ['pool'],
      () => [{ labels: { pool }, value: read().leakSuspects }],
    ),
  ];
}
