export type {
  CacheExplanation,
  CacheObstacle,
  ExplainedEntry,
  ExplainedKey,
  RequestDescription,
} from './cache/explain/types.js';
export { type CacheHints, cacheOf } from './cache/hints.js';
export type { Permission } from './cache/lookup/reuse.js';
export type {
  CacheContext,
  CacheOptions,
  CacheRule,
  CacheVary,
  StandaloneCacheOptions,
} from './cache/options.js';
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
export type { XCache } from './cache/serve/cache-status.js';
export {
  defineConfig,
  type HotpathConfig,
  type ResolvedConfig,
  type RoutePolicies,
} from './config.js';
export { configFromEnv, type DatabaseEnvironment, databaseFromEnv } from './environment.js';
export { type Hotpath, type HotpathMetrics, hotpath } from './hotpath.js';
export type { CacheStatus, ForwardReason } from './http/cache-status.js';
export { cacheControl } from './middleware/cache-control/middleware.js';
export type {
  CacheControlDirectiveOptions,
  CacheControlOptions,
  CacheControlPolicy,
} from './middleware/cache-control/options.js';
export { compression } from './middleware/compression/middleware.js';
export type { CompressionOptions, CompressionPolicy } from './middleware/compression/options.js';
export { metrics } from './middleware/metrics/middleware.js';
export type { MetricsOptions } from './middleware/metrics/options.js';
export { sizeLimit } from './middleware/size-limit/middleware.js';
export type { SizeLimitOptions, SizeLimitPolicy } from './middleware/size-limit/options.js';
export { type RequestTiming, timing, timingOf } from './middleware/timing/middleware.js';
export type { RequestIdOptions, SlowRequest, TimingOptions } from './middleware/timing/options.js';
export { type ConfigProblem, HotpathError, type HotpathErrorCode, isHotpathError } from './options/errors.js';
export type { HotpathRequest, RouteParams } from './options/request-types.js';
export type { Duration, Size } from './options/units.js';
export type { Selector } from './store/invalidation/selector.js';
export type { RedisClient, RedisOptions } from './store/redis/options.js';
