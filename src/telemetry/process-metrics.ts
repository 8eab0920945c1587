import { collectDefaultMetrics, type Registry } from 'prom-client';

/**
 * Registers the metrics of this process (memory, CPU, event loop, garbage collection), unless the registry
 * holds them already. `prom-client` offers no way to stop its observers; they keep no process alive.
 */
export function collectProcessMetrics(registry: Registry): void {
  if (registry.getSingleMetric('process_cpu_user_seconds_total')) return;
  collectDefaultMetrics({ register: registry });
}
