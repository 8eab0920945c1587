export type { RequestIdOptions, SlowRequest, TimingOptions } from '../config/timing.js';
export { type RequestTiming, type TimingMiddleware, timing, timingOf } from '../middleware/timing.js';
