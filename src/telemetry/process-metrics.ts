import { collectDefaultMetrics, type Metric, Registry, register } from 'prom-client';

/** Kept with `prom-client` itself, so that all instances, and all copies of this package, that use one share them. */
const SHARED = Symbol.for('hotpath.process-metrics');
type Shared = Registry & { [SHARED]?: Registry };

/** What a registry asks of a metric when it is written. */
interface Value {
  labels: object;
}
interface Written {
  name: string;
  values: Value[];
}

/**
 * Shows the metrics of this process (memory, CPU, event loop, garbage collection) in a registry, unless it
 * holds them already.
 *
 * `prom-client` offers no way to stop its observers, and an observer keeps its registry: with one set for each
 * registry, a process that makes instances again and again (tests, hot reload) would grow, and its clock would
 * tick for each. There is one set for all. The lags of the event loop are those since the scrape before,
 * whichever registry that was of.
 */
export function collectProcessMetrics(registry: Registry): void {
  if (registry.getSingleMetric('process_cpu_user_seconds_total')) return;
  for (const metric of processMetrics().getMetricsAsArray()) {
    registry.registerMetric(viewOf(metric as unknown as Metric));
  }
}

function processMetrics(): Registry {
  const home = register as Shared;
  if (!home[SHARED]) {
    const shared = new Registry();
    collectDefaultMetrics({ register: shared });
    home[SHARED] = shared;
  }
  return home[SHARED];
}

/**
 * A metric as one registry sees it. Registries write on what they hold: OpenMetrics takes `_total` off its name,
 * default labels are put on its values, a reset empties it; and that must not be seen in another.
 */
function viewOf(metric: Metric): Metric {
  const { name, help, type, aggregator } = metric as unknown as Record<string, string>;
  const view = {
    name,
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
