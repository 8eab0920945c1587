export { type RequestTiming, type TimingMiddleware, timing, timingOf } from './middleware.js';
export type { RequestIdOptions, SlowRequest, TimingOptions } from './options.js';
