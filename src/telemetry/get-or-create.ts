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
import { configError, HotpathError } from '../options/errors.js';

const PREFIX = Symbol.for('hotpath.metrics-prefix');

type PrefixedRegistry = Registry & { [PREFIX]?: string };

/**
 * Sets what the names of all metrics of hotpath begin with in a registry.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` if another instance has set another prefix.
 */
export function setPrefix(registry: PrefixedRegistry, prefix: string): void {
  const before = (registry[PREFIX] ??= prefix);
  if (before === prefix) return;
  const message =
    `conflicts with the prefix ${JSON.stringify(before)} of another instance with the same registry; ` +
    'use the same prefix, or a registry for each instance';
  throw configError([{ path: 'metrics.prefix', message, received: JSON.stringify(prefix) }]);
}

/** A metric's name in a registry. */
export function prefixedName(registry: PrefixedRegistry, name: string): string {
  return (registry[PREFIX] ?? '') + name;
}

function prefixed<C extends { readonly name: string }>(registry: Registry, configuration: C): C {
  return { ...configuration, name: prefixedName(registry, configuration.name) };
}

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
  given: Omit<CounterConfiguration<Label>, 'registers'>,
): Counter<Label> {
  const configuration = prefixed(registry, given);
  const existing = existingMetric(registry, 'counter', configuration);
  return (existing as Counter<Label>) ?? new Counter({ ...configuration, registers: [registry] });
}

/** Like `counterIn`, for a gauge. */
export function gaugeIn<Label extends string>(
  registry: Registry,
  given: Omit<GaugeConfiguration<Label>, 'registers'>,
): Gauge<Label> {
  const configuration = prefixed(registry, given);
  const existing = existingMetric(registry, 'gauge', configuration);
  return (existing as Gauge<Label>) ?? new Gauge({ ...configuration, registers: [registry] });
}

/** Like `counterIn`, for a histogram. An existing one keeps its buckets. */
export function histogramIn<Label extends string>(
  registry: Registry,
  given: Omit<HistogramConfiguration<Label>, 'registers'>,
): Histogram<Label> {
  const configuration = prefixed(registry, given);
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
