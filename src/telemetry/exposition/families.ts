import { performance } from 'node:perf_hooks';
import type { Registry } from 'prom-client';
import { unawaited } from '../../runtime/guard.js';
import { reportFault } from '../../runtime/report-fault.js';
import { EventLoopYielder } from './event-loop-yielder.js';

/** A reference from a sample to a trace. */
export interface Exemplar {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  /** Seconds since 1970. */
  readonly timestamp?: number | undefined;
}

/** One line of an exposition. */
export interface MetricSample {
  /** As the text format has it; for a counter that of the family. */
  readonly name: string;
  /** `{method="GET",path="/"}`, escaped; empty without labels. */
  readonly labels: string;
  readonly value: number;
  readonly exemplar?: Exemplar | undefined;
}

/** A metric with all its samples. */
export interface Family {
  /** As it is registered, so with `_total` for a counter that has it. */
  readonly name: string;
  readonly help: string;
  readonly type: string;
  /** How the samples of several processes are combined, in the words of `prom-client`. */
  readonly aggregator: string;
  readonly samples: readonly MetricSample[];
}

type Labels = Readonly<Record<string, string | number>>;

/** A metric as `prom-client` gives it. Labels of a histogram that its buckets have in common are given once. */
interface ReadMetric {
  readonly help: string;
  readonly type: string;
  readonly aggregator?: string;
  readonly values?: readonly {
    readonly labels?: Labels;
    readonly sharedLabels?: Labels;
    readonly value: number;
    readonly metricName?: string;
    readonly exemplar?: {
      readonly labelSet: Labels;
      readonly value: number;
      readonly timestamp?: number;
    } | null;
  }[];
}

interface ReadableMetric {
  readonly name: string;
  readonly type: unknown;
  /** A function of the app that reads the values. */
  readonly collect?: unknown;
  get(): Promise<ReadMetric> | ReadMetric;
  getForPromString?(): Promise<ReadMetric>;
}

/** How long the `collect` functions of a registry may take together, and how long the last ones at least. Milliseconds. */
const LONGEST_READ = { all: 5000, each: 100 };

/**
 * Reads all metrics of a registry. It changes none: `prom-client` renames counters for ever when it writes OpenMetrics.
 * A metric whose `collect` has not settled in time is left out, so that the others can be scraped.
 *
 * @throws what a metric throws when it is read.
 */
export async function readFamilies(registry: Registry, yielder = new EventLoopYielder()): Promise<Family[]> {
  const defaults = (registry as unknown as { _defaultLabels?: Labels })._defaultLabels ?? {};
  const families: Family[] = [];
  const until = performance.now() + LONGEST_READ.all;
  for (const metric of registry.getMetricsAsArray() as unknown as ReadableMetric[]) {
    // A registry in the OpenMetrics format has cut the name, but not the one by which it knows the metric.
    const full = `${metric.name}_total`;
    const isCut = metric.type === 'counter' && (registry.getSingleMetric(full) as unknown) === metric;
    const name = isCut ? full : metric.name;
    const read = await readInTime(metric, until);
    if (!read) continue;
    families.push({
      name,
      help: read.help,
      type: read.type,
      aggregator: read.aggregator ?? 'sum',
      samples: await readSamples(read, name, defaults, yielder),
    });
    if (yielder.isDue) await yielder.yield();
  }
  return families;
}

async function readInTime(metric: ReadableMetric, until: number): Promise<ReadMetric | undefined> {
  const reading = metric.getForPromString ? metric.getForPromString() : metric.get();
  if (typeof metric.collect !== 'function') return reading;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, Math.max(LONGEST_READ.each, until - performance.now()), undefined).unref();
  });
  try {
    const read = await Promise.race([reading, late]);
    if (!read) {
      reportFault('metrics', new Error(`collect of ${metric.name} has not settled in time`));
      void unawaited(reading); // it may reject later
    }
    return read;
  } finally {
    clearTimeout(timer);
  }
}

async function readSamples(
  { values = [], type }: ReadMetric,
  family: string,
  defaults: Labels,
  yielder: EventLoopYielder,
): Promise<MetricSample[]> {
  const samples: MetricSample[] = [];
  const hasDefaults = Object.keys(defaults).length > 0;
  /** Of the labels before, as the buckets of one histogram have the same. */
  let last: { readonly shared: Labels; readonly text: string } | undefined;
  for (const { labels = {}, sharedLabels, value, metricName, exemplar } of values) {
    if (sharedLabels && last?.shared !== sharedLabels) {
      last = { shared: sharedLabels, text: writeLabels(sharedLabels) };
    }
    const own = writeLabels(hasDefaults ? { ...labels, ...defaults, ...labels } : labels, sharedLabels);
    const text = [own, sharedLabels ? last!.text : ''].filter(Boolean).join(',');
    samples.push({
      name: type === 'counter' ? family : (metricName ?? family),
      labels: text && `{${text}}`,
      value,
      ...(exemplar && {
        exemplar: { labels: exemplar.labelSet, value: exemplar.value, timestamp: exemplar.timestamp },
      }),
    });
    if (yielder.afterLine()) await yielder.yield();
  }
  return samples;
}

/** `name="value"`, separated by commas. @param without labels that are left out. */
export function writeLabels(labels: Labels, without?: Labels): string {
  let text = '';
  for (const name of Object.keys(labels)) {
    if (without && Object.hasOwn(without, name)) continue;
    text += `${text && ','}${name}="${escapeValue(labels[name])}"`;
  }
  return text;
}

const SPECIAL = /[\\\n"]/;

function escapeValue(value: unknown): string {
  const text = String(value);
  return SPECIAL.test(text)
    ? text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')
    : text;
}
