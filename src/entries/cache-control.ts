export type {
  CacheControlDirectives,
  CacheControlOptions,
  CacheControlPolicy,
  StandaloneCacheControlOptions,
} from '../config/cache-control.js';
export { type CacheControlMiddleware, cacheControl } from '../middleware/cache-control.js';
