import { collectDefaultMetrics, type Metric, Registry, register } from 'prom-client';
import { prefixedName } from './get-or-create.js';

/** Stored on `prom-client` itself, so that all instances and all copies of this package that use it share them. */
const SHARED_METRICS = Symbol.for('hotpath.process-metrics');
type SharedMetrics = Registry & { [SHARED_METRICS]?: Registry };

/** The parts of a metric that a registry reads for its output. */
interface Value {
  labels: object;
}
interface Written {
  name: string;
  values: Value[];
}

/**
 * Adds the metrics of this process (memory, CPU, event loop, garbage collection) to a registry, unless it
 * contains them already.
 *
 * `prom-client` cannot stop its observers, and an observer keeps its registry. With one set for each
 * registry, a process that makes instances repeatedly (tests, hot reload) would leak memory and
 * timers. So there is one set for all. Event loop lags are measured since the previous scrape of
 * any registry.
 */
export function collectProcessMetrics(registry: Registry): void {
  if (registry.getSingleMetric(prefixedName(registry, 'process_cpu_user_seconds_total'))) return;
  for (const metric of processMetrics().getMetricsAsArray()) {
    registry.registerMetric(viewOf(metric as unknown as Metric, registry));
  }
}

function processMetrics(): Registry {
  const home = register as SharedMetrics;
  if (!home[SHARED_METRICS]) {
    const shared = new Registry();
    collectDefaultMetrics({ register: shared });
    home[SHARED_METRICS] = shared;
  }
  return home[SHARED_METRICS];
}

/**
 * A metric as one registry sees it. Registries change their metrics: OpenMetrics removes `_total` from the name,
 * default labels are added to the values, a reset empties it. Other registries must not see these changes.
 */
function viewOf(metric: Metric, registry: Registry): Metric {
  const { name: ownName = '', help, type, aggregator } = metric as unknown as Record<string, string>;
  const view = {
    name: prefixedName(registry, ownName),
    help,
    type,
    aggregator,
    async get() {
      const written = (await metric.get()) as unknown as Written;
      return { ...written, name: view.name, values: written.values.map((value) => ({ ...value })) };
    },
    reset() {},
  };
  return view as unknown as Metric;
}
