export type { Authorize, AuthorizeContext } from './access/authorize.js';
export { type BasicAuthOptions, basicAuth } from './access/basic-auth.js';
export { type Dashboard, type DashboardOptions, dashboard } from './dashboard/dashboard.js';
export {
  type CheckedPool,
  eventLoopCheck,
  postgresCheck,
  type ReadinessGate,
  readinessGate,
} from './health/checks.js';
export { type HealthMiddleware, health } from './health/health.js';
export type {
  CheckContext,
  CheckFunction,
  CheckResult,
  HealthCheckOptions,
  HealthOptions,
} from './health/options.js';
export type { CheckReport, HealthReport } from './health/report.js';
export type { PerformanceApiOptions, PoolCounts } from './options.js';
export type { JobFigures, JobWorkerFigures, ReadJobFigures } from './performance-api/job-figures.js';
export { type PerformanceApi, performanceApi } from './performance-api/performance-api.js';
export { endOnShutdown } from './shutdown/end-on-shutdown.js';
export type { ShutdownOptions } from './shutdown/options.js';
export { shutdown } from './shutdown/shutdown.js';
export type { ShutdownSummary } from './shutdown/shutdown-state.js';
