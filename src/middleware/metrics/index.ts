export type { ScrapeHandler } from '../../telemetry/scrape-handler.js';
export { shareMetrics } from '../../telemetry/workers/share-metrics.js';
export { type MetricsMiddleware, metrics } from './middleware.js';
export type { MetricLabel, MetricsOptions, MetricsPolicy } from './options.js';
export { collectWorkerMetrics, type WorkerMetrics, type WorkerMetricsOptions } from './worker-metrics.js';
