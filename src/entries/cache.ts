export type {
  CacheExplanation,
  CacheObstacle,
  ExplainedEntry,
  ExplainedKey,
  RequestDescription,
} from '../cache/explanation.js';
export { type CacheHints, cacheOf } from '../cache/hints.js';
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
} from '../cache/response-cache.js';
export type { XCache } from '../cache/status.js';
export type { Permission } from '../cache/use.js';
export type {
  CacheContext,
  CacheOptions,
  CacheRule,
  CacheVary,
  StandaloneCacheOptions,
} from '../config/cache.js';
export type { HotpathRequest, RouteParams } from '../config/context.js';
export type { RedisClient, RedisOptions } from '../config/redis.js';
export type { Duration, Size } from '../config/units.js';
export type { CacheStatus, ForwardReason } from '../http/cache-status.js';
export type { Selector } from '../store/selector.js';
