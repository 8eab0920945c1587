import type { Gauge, Registry } from 'prom-client';
import { reportFault } from '../exchange/run-listeners.js';
import { gaugeIn } from './get-or-create.js';

/** A current value with its labels. */
export interface Level<Label extends string> {
  readonly labels: Readonly<Record<Label, string>>;
  readonly value: number;
}

/** How a gauge combines several sources: their sum, or the worst of them. */
export type Combine = 'sum' | 'max' | 'min';

/** Shared by all copies of the package, because the value of a gauge needs all sources. */
const SOURCES = Symbol.for('hotpath.gauge-sources');

type ReadLevel = () => Iterable<Level<string>>;
type GaugeWithSource = Gauge<string> & { [SOURCES]?: Set<ReadLevel> };

/**
 * Shows external values as a Prometheus gauge, read at each scrape.
 *
 * @param combine combines several sources for one name, and the processes of a cluster. Default: the sum.
 * @param collect reads the values; an exception is reported, and this scrape leaves the source out.
 * @returns a function that removes the source; idempotent.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` when the registry holds another kind of metric by that name.
 */
export function registerGauges<Label extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly Label[],
  collect: () => Iterable<Level<Label>>,
  combine: Combine = 'sum',
): () => void {
  const gauge: GaugeWithSource = gaugeIn<string>(registry, {
    name,
    help,
    labelNames: [...labelNames],
    aggregator: combine,
  });
  let sources = gauge[SOURCES];
  if (!sources) {
    const all = (sources = gauge[SOURCES] = new Set());
    Object.assign(gauge, { collect: () => show(gauge, labelNames, all, combine) });
  }
  sources.add(collect as ReadLevel);
  return () => void sources.delete(collect as ReadLevel);
}

function show(
  gauge: Gauge<string>,
  labelNames: readonly string[],
  sources: ReadonlySet<ReadLevel>,
  combine: Combine,
): void {
  const levels = new Map<string, Level<string>>();
  for (const read of sources) {
    try {
      for (const { labels, value } of read()) {
        const key = JSON.stringify(labelNames.map((label) => labels[label]));
        const before = levels.get(key)?.value;
        levels.set(key, { labels, value: before === undefined ? value : combined(combine, before, value) });
      }
    } catch (error) {
      reportFault('collecting metrics', error);
    }
  }
  gauge.reset();
  // A reset gauge without labels shows 0, and a value that is not known is not 0.
  if (labelNames.length === 0 && sources.size > 0) gauge.remove();
  for (const { labels, value } of levels.values()) gauge.set(labels, value);
}

function combined(combine: Combine, a: number, b: number): number {
  return combine === 'sum' ? a + b : Math[combine](a, b);
}
