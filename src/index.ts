export * from './cache/index.js';
export {
  defineConfig,
  type HotpathConfig,
  type ResolvedConfig,
  type RoutePolicies,
} from './config.js';
export { configFromEnv, type DatabaseEnvironment, databaseFromEnv } from './environment.js';
export type {
  AlertEvent,
  BreakerEvent,
  CacheEvent,
  PurgeEvent,
  RequestEvent,
  ShedEvent,
  SlowQueryEvent,
  SlowRequestEvent,
  WarmingEvent,
} from './events/channels.js';
export { type Hotpath, type HotpathMetrics, hotpath } from './hotpath.js';
export * from './middleware/cache-control/index.js';
export * from './middleware/compression/index.js';
export * from './middleware/load-shedding/index.js';
export * from './middleware/metrics/index.js';
export * from './middleware/request-log/index.js';
export * from './middleware/size-limit/index.js';
export * from './middleware/timing/index.js';
export { type ConfigProblem, HotpathError, type HotpathErrorCode, isHotpathError } from './options/errors.js';
export type { AdviceItem } from './telemetry/advice.js';
export type {
  Alert,
  AlertsOptions,
  BreakerAlertOptions,
  CustomAlert,
  ErrorRateAlertOptions,
  EventLoopAlertOptions,
  HitRatioAlertOptions,
  PoolWaitingAlertOptions,
  SlowRequestsAlertOptions,
} from './telemetry/alerts/options.js';
export type { ProcessFigureName, RouteHistory, TelemetryHistory } from './telemetry/history/history.js';
export type { InstanceFigures, InstancesReport } from './telemetry/instances/instances.js';
export type { InstanceLabels, InstanceState } from './telemetry/instances/snapshot.js';
export type { TelemetryOptions } from './telemetry/options.js';
export type { CacheUseFigures } from './telemetry/requests/cache-use.js';
export type { Durations, RequestFigures } from './telemetry/requests/figures.js';
export type { RouteFigures } from './telemetry/requests/route-series.js';
export type { TopKey } from './telemetry/requests/top-keys.js';
export type { HostFigures } from './telemetry/system/host-sampler.js';
export type { ProcessUsage } from './telemetry/system/other-processes.js';
export type { ProcessFigures } from './telemetry/system/process-sampler.js';
export type { CacheTelemetry, SystemFigures, Telemetry, TelemetrySnapshot } from './telemetry/telemetry.js';
export type {
  Warming,
  WarmingCheckResult,
  WarmingContext,
  WarmingResult,
  WarmingStartOptions,
  WarmingStopOptions,
  WarmingTaskFigures,
  WarmingTaskOptions,
} from './warming/index.js';
