export type { MetricsOptions } from '../config/metrics.js';
export { type MetricsMiddleware, metrics } from '../middleware/metrics.js';
export type { ScrapeHandler } from '../telemetry/scrape.js';
