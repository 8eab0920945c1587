export type {
  CacheExplanation,
  CacheObstacle,
  ExplainedEntry,
  ExplainedKey,
  RequestDescription,
} from './cache/explanation.js';
export { type CacheHints, cacheOf } from './cache/hints.js';
export {
  type CacheRouteMiddleware,
  type CacheStats,
  type Middleware,
  type PurgeAfterOptions,
  type PurgeResult,
  type PurgeTarget,
  type RedisOperationStats,
  type RedisStats,
  type ResponseCache,
  responseCache,
} from './cache/response-cache.js';
export type { XCache } from './cache/status.js';
export type { Permission } from './cache/use.js';
export type {
  CacheContext,
  CacheOptions,
  CacheRule,
  CacheVary,
  StandaloneCacheOptions,
} from './config/cache.js';
export type {
  CacheControlDirectives,
  CacheControlOptions,
  CacheControlPolicy,
} from './config/cache-control.js';
export type { CompressionOptions, CompressionPolicy } from './config/compression.js';
export {
  defineConfig,
  type HotpathConfig,
  type ResolvedConfig,
  type RoutePolicies,
} from './config/config.js';
export type { HotpathRequest, RouteParams } from './config/context.js';
export { configFromEnv, type DatabaseEnvironment, databaseFromEnv } from './config/environment.js';
export { type ConfigProblem, HotpathError, type HotpathErrorCode, isHotpathError } from './config/errors.js';
export type { MetricsOptions } from './config/metrics.js';
export type { RedisClient, RedisOptions } from './config/redis.js';
export type { SizeLimitOptions, SizeLimitPolicy } from './config/size-limit.js';
export type { RequestIdOptions, SlowRequest, TimingOptions } from './config/timing.js';
export type { Duration, Size } from './config/units.js';
export { type Hotpath, type HotpathMetrics, hotpath } from './hotpath.js';
export type { CacheStatus, ForwardReason } from './http/cache-status.js';
export { cacheControl } from './middleware/cache-control.js';
export { compression } from './middleware/compression.js';
export { metrics } from './middleware/metrics.js';
export { sizeLimit } from './middleware/size-limit.js';
export { type RequestTiming, timing, timingOf } from './middleware/timing.js';
export type { Selector } from './store/selector.js';
