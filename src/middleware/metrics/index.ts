export type { ScrapeHandler } from '../../telemetry/scrape-handler.js';
export { type MetricsMiddleware, metrics } from './middleware.js';
export type { MetricLabel, MetricsOptions, MetricsPolicy } from './options.js';
