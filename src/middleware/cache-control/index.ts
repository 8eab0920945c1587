export { type CacheControlMiddleware, cacheControl } from './middleware.js';
export type {
  CacheControlDirectives,
  CacheControlOptions,
  CacheControlPolicy,
  StandaloneCacheControlOptions,
} from './options.js';
