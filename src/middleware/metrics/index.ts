export type { ScrapeHandler } from '../../telemetry/scrape-handler.js';
export { type MetricsMiddleware, metrics } from './middleware.js';
export type { MetricsOptions } from './options.js';
