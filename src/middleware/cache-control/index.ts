export { type CacheControlMiddleware, cacheControl } from './middleware.js';
export type {
  CacheControlDirectiveOptions,
  CacheControlOptions,
  CacheControlPolicy,
  StandaloneCacheControlOptions,
} from './options.js';
