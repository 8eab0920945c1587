export type { IndexBuildEvent, NPlusOneEvent, QueryPlanEvent, SlowQueryEvent } from '../events/channels.js';
export type { RequestDatabase, RequestMark } from '../options/request-types.js';
export type { UnmeasuredReason } from './adviser/buffers/buffer-meter.js';
export type {
  ExistingIndexFinding,
  HelpedQuery,
  IndexReport,
  MissingIndex,
  UnindexedForeignKey,
} from './adviser/report.js';
export type { DatabaseBuilds } from './builds/advised-builds.js';
export type {
  BuildBlocker,
  BuildGain,
  BuildOptions,
  BuildReason,
  BuildRefusal,
  BuildState,
  IndexBuild,
} from './builds/types.js';
export type { FollowedTable } from './changes/followed-tables.js';
export type { ChangeFigures, FlushResult } from './changes/follower.js';
export type { ChangedRow, ChangeMapping, TableChanges } from './changes/mapping.js';
export { type ChangesMigrationOptions, changesMigration, type MigrationTables } from './changes/migration.js';
export type { PurgeOnChangeOptions } from './changes/options.js';
export { type DatabaseStatistics, type PostgresDatabase, postgres } from './database.js';
export type { DatabaseCheckResult } from './database-check.js';
export type { AdviceLevel } from './indexes/advice-level.js';
export type { StartedAnalyze, StartRefusal } from './maintenance/analyze.js';
export type {
  AnalyzeRefusal,
  AnalyzeState,
  BloatedIndex,
  InvalidIndex,
  MaintenanceReadings,
  StaleTable,
  VacuumTable,
} from './maintenance/figures.js';
export type { DatabaseMaintenance, MaintenanceFigures } from './maintenance/maintenance.js';
export {
  type DatabaseFigures,
  type LeakSuspect,
  type MonitoredPoolFigures,
  monitorOf,
  type NPlusOneFigures,
  type PoolMonitor,
  type QueryCounts,
  type SlowQueryFigures,
  type StatementFigures,
} from './monitor/figures.js';
export { type MonitorablePool, monitorPool } from './monitor/monitor-pool.js';
export type { DatabaseBreakerOptions, MonitorPoolOptions, RetryOptions } from './monitor/options.js';
export type {
  DatabaseMaintenanceOptions,
  DatabaseStatisticsOptions,
  IndexOptions,
  PostgresOptions,
} from './options.js';
export { type PoolOptions, poolOptionsFromEnv } from './pool-options.js';
export type { DatabaseReports, ReportOptions } from './report/database-report.js';
export type { Finding } from './report/findings.js';
export type { PoolAdvice } from './report/pool-advice.js';
export type { DatabaseReport, MissingFigure } from './report/report.js';
export type { ClientOptions } from './sessions.js';
export type { CollectedFigures } from './statistics/collector.js';
export type {
  AbsenceReason,
  ActivityFigures,
  BlockedFigures,
  BlockFigures,
  BufferFigures,
  ConnectionFigures,
  ServerFigure,
  ServerFigures,
  ServerReadings,
  ServerStatement,
  SessionFigures,
  StatementWindow,
  TableFigures,
} from './statistics/figures.js';
