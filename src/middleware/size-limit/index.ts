export { type SizeLimitMiddleware, sizeLimit } from './middleware.js';
export type {
  BodyRefusal,
  SizeLimitOptions,
  SizeLimitPolicy,
  StandaloneSizeLimitOptions,
} from './options.js';
