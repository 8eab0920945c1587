import type { Registry } from 'prom-client';

/** Options of the metrics middleware. */
export interface MetricsOptions {
  /** Whether the process's own metrics (memory, event loop, garbage collection) are collected too. Default `true`. */
  defaultMetrics?: boolean;
  /** The `prom-client` registry to register in. Default: one of its own. */
  registry?: Registry;
  /** Upper bounds of the duration histogram, in seconds, ascending. Default 0.005 to 10, the Prometheus clients' own. */
  buckets?: readonly number[];
  /** Most label sets per metric; further ones are counted as overflow. Default 2,000. */
  maxSeries?: number;
}

/** Resolved options of the metrics middleware. */
export interface MetricsSettings {
  readonly defaultMetrics: boolean;
  readonly registry?: Registry;
  readonly buckets: readonly number[];
  readonly maxSeries: number;
}

export function resolveMetrics(_input?: MetricsOptions, _path = 'metrics'): MetricsSettings {
  throw new Error('not built yet');
}
