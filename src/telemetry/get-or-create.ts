import {
  Counter,
  type CounterConfiguration,
  Gauge,
  type GaugeConfiguration,
  Histogram,
  type HistogramConfiguration,
  type Metric,
  type Registry,
} from 'prom-client';
import { HotpathError } from '../options/errors.js';

type MetricType = 'counter' | 'gauge' | 'histogram';

/**
 * The counter with this name in the registry, or a new one, so that two instances on one
 * registry count together.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` when the name belongs to another kind of metric, or to one with
 *   other labels.
 */
export function counterIn<Label extends string>(
  registry: Registry,
  configuration: Omit<CounterConfiguration<Label>, 'registers'>,
): Counter<Label> {
  const existing = existingMetric(registry, 'counter', configuration);
  return (existing as Counter<Label>) ?? new Counter({ ...configuration, registers: [registry] });
}

/** Like `counterIn`, for a gauge. */
export function gaugeIn<Label extends string>(
  registry: Registry,
  configuration: Omit<GaugeConfiguration<Label>, 'registers'>,
): Gauge<Label> {
  const existing = existingMetric(registry, 'gauge', configuration);
  return (existing as Gauge<Label>) ?? new Gauge({ ...configuration, registers: [registry] });
}

/** Like `counterIn`, for a histogram. An existing one keeps its buckets. */
export function histogramIn<Label extends string>(
  registry: Registry,
  configuration: Omit<HistogramConfiguration<Label>, 'registers'>,
): Histogram<Label> {
  const existing = existingMetric(registry, 'histogram', configuration);
  return (existing as Histogram<Label>) ?? new Histogram({ ...configuration, registers: [registry] });
}

function existingMetric(
  registry: Registry,
  kind: MetricType,
  { name, labelNames = [] }: { name: string; labelNames?: readonly string[] },
): Metric | undefined {
  const metric = registry.getSingleMetric(name);
  if (!metric) return undefined;
  // Reads its declared type, because the class may come from another copy of prom-client.
  const { type, labelNames: found = [] } = metric as { type?: string; labelNames?: readonly string[] };
  if (type === kind && [...found].sort().join() === [...labelNames].sort().join()) return metric;
  throw new HotpathError(
    'HOTPATH_CONFIG_INVALID',
    `metrics.registry: it already holds \`${name}\`, a ${type} with the labels (${found.join(', ')}); ` +
      `expected none, or a ${kind} with the labels (${labelNames.join(', ')}). Give hotpath a registry of its own.`,
  );
}
