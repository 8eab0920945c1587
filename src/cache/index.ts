export * from '../functions/index.js';
export type { CacheStatus, ForwardReason } from '../http/cache-status.js';
export type {
  HotpathRequest,
  RequestDatabase,
  RequestMark,
  RouteParams,
} from '../options/request-types.js';
export type { Duration, Size } from '../options/units.js';
export type { Selector } from '../store/invalidation/selector.js';
export type { RedisClient, RedisOptions } from '../store/redis/options.js';
export type { KeyList, KeyListOptions, ListedKey, PurgePreview } from './explain/key-list.js';
export type {
  CacheExplanation,
  CacheObstacle,
  ExplainedEntry,
  ExplainedKey,
  RequestDescription,
} from './explain/types.js';
export type { Permission } from './lookup/reuse.js';
export {
  type CacheContext,
  type CacheOptions,
  type CacheRule,
  type CacheVary,
  type StandaloneCacheOptions,
  TRACKING_PARAMETERS,
} from './options.js';
export { type CacheHints, cacheOf } from './request/handler-hints.js';
export {
  type CacheCheck,
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
} from './response-cache.js';
export type { XCache } from './serve/cache-status.js';
export type { EncodingUpgrades } from './storage/encoded-bodies.js';
