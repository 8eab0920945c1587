export { type SizeLimitMiddleware, sizeLimit } from './middleware.js';
export type { SizeLimitOptions, SizeLimitPolicy, StandaloneSizeLimitOptions } from './options.js';
