import { HotpathError } from '../options/errors.js';
import { IndexAdviser } from './adviser/adviser.js';
import { readExistingIndexes } from './adviser/findings.js';
import type { ExistingIndexes, IndexReport } from './adviser/report.js';
import { AdvisedBuilds, type DatabaseBuilds } from './builds/advised-builds.js';
import { TableChangeReader, type TableChangesApi } from './changes/table-changes.js';
import { checkDatabase, type DatabaseCheckResult } from './database-check.js';
import type { DriverPool } from './driver.js';
import { type DatabaseMaintenance, makeMaintenance } from './maintenance/maintenance.js';
import { monitorOf } from './monitor/figures.js';
import type { MonitorablePool } from './monitor/monitor-pool.js';
import type { Statement } from './monitor/statements.js';
import { type PostgresOptions, type PostgresSettings, resolvePostgres } from './options.js';
import { DatabaseReporter, type DatabaseReports, type ReportOptions } from './report/database-report.js';
import { Sessions } from './sessions.js';
import { type CollectedFigures, FigureCollector } from './statistics/collector.js';
import type { ServerReadings } from './statistics/figures.js';
import { statisticsReadings } from './statistics/readings.js';

/** Shared by the parts of the database monitor. */
export interface DatabaseContext {
  readonly pool: DriverPool;
  readonly settings: PostgresSettings;
  readonly sessions: Sessions;
  /** The statements of the app with their samples; none without `monitorPool`. */
  statements(): readonly Statement[];
}

/** Statistics of the server and the database. */
export type DatabaseStatistics = CollectedFigures<ServerReadings>;

/** The database behind a pool. */
export interface PostgresDatabase extends TableChangesApi, DatabaseReports, DatabaseBuilds {
  /** The pool of the app. */
  readonly pool: MonitorablePool;
  /**
   * Statistics of the server and the database: sessions, sizes, caching, tables, locks and statements. Callers within
   * `statistics.cacheFor` share one reading. A figure that cannot be read has the reason in its place. Never rejects.
   */
  statistics(): Promise<DatabaseStatistics>;
  /**
   * Which indexes are missing, duplicate, redundant, unused or invalid. It plans the statements of the app and runs none of
   * them. Calls at the same time share one computation.
   *
   * @throws the error of the connection.
   */
  indexes(): Promise<IndexReport>;
  /**
   * A check for `health({ checks: { database: db.check } })`. It fails if the server does not respond, and warns if nearly all
   * of its connections are in use. Never rejects.
   */
  check(): Promise<DatabaseCheckResult>;
  /** Tables and indexes that want maintenance, and ANALYZE. */
  readonly maintenance: DatabaseMaintenance;
  /** Ends the monitor's own connections and timers. The pool stays open. Idempotent. */
  close(): Promise<void>;
}

/**
 * Watches the database behind a pool of `pg`, on connections of its own.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function postgres(pool: MonitorablePool, options?: PostgresOptions): PostgresDatabase {
  const settings = resolvePostgres(options);
  if (typeof (pool as { Client?: unknown } | undefined)?.Client !== 'function') {
    throw new HotpathError(
      'HOTPATH_CONFIG_INVALID',
      'postgres: the first argument must be a pool of pg: new pg.Pool(...)',
    );
  }
  const context: DatabaseContext = {
    pool,
    settings,
    sessions: new Sessions(pool, settings.connection),
    statements: () => monitorOf(pool)?.statements() ?? [],
  };
  const { sessions, statements } = context;
  const collector = new FigureCollector(sessions, 'statistics', statisticsReadings(), settings.statistics);
  const changes = new TableChangeReader({ pool, sessions, perf: settings.perf });
  const statistics = () => collector.read();
  const maintenance = makeMaintenance(sessions, settings.maintenance, settings.statistics);
  const adviser = new IndexAdviser({
    sessions,
    statements,
    trialMaxBytes: settings.indexes.trialMaxBytes,
    mayRunReads: settings.indexes.measure,
  });
  adviser.start();
  const builds = new AdvisedBuilds(adviser, sessions, settings.indexes);
  const existing = new FigureCollector<{ existingIndexes: ExistingIndexes }>(
    sessions,
    'indexes',
    { existingIndexes: readExistingIndexes },
    settings.statistics,
  );
  const reporter = new DatabaseReporter({
    pool,
    perf: settings.perf,
    statistics,
    maintenance,
    existingIndexes: async () => (await existing.read()).existingIndexes,
    missingIndexes: async (isNew) => (isNew ? await builds.indexes() : adviser.lastReport),
  });
  return {
    pool,
    statistics,
    indexes: () => builds.indexes(),
    check: () => checkDatabase(sessions),
    maintenance,
    report: ((options?: ReportOptions & { format?: 'markdown' }) =>
      options?.format === 'markdown'
        ? reporter.markdown(options)
        : reporter.report(options)) as DatabaseReports['report'],
    poolAdvice: () => reporter.poolAdvice(),
    purgeOnChange: (mapping, options) => changes.purgeOnChange(mapping, options),
    flush: () => changes.flush(),
    changes: () => changes.changes(),
    mayBuildIndexes: builds.mayBuildIndexes,
    buildIndexes: (ids) => builds.buildIndexes(ids),
    indexBuilds: (id) => builds.indexBuilds(id),
    close: async () => {
      builds.close();
      reporter.close();
      await changes.close();
      await sessions.close();
    },
  };
}
