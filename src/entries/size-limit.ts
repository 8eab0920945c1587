export type { SizeLimitOptions, SizeLimitPolicy, StandaloneSizeLimitOptions } from '../config/size-limit.js';
export { type SizeLimitMiddleware, sizeLimit } from '../middleware/size-limit.js';
