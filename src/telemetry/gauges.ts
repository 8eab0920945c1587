import type { Gauge, Registry } from 'prom-client';
import { reportFault } from '../exchange/fault.js';
import { gaugeIn } from './instruments.js';

/** A value as it stands, with the labels that it belongs to. */
export interface Level<Label extends string> {
  readonly labels: Readonly<Record<Label, string>>;
  readonly value: number;
}

/** What a gauge shows that several sources feed: how much in all, or how the worst of them is. */
export type Combine = 'sum' | 'max' | 'min';

/** One for all copies of the package: a gauge shows what is now, so whoever writes it has to ask everyone. */
const SOURCES = Symbol.for('hotpath.gauge-sources');

type Read = () => Iterable<Level<string>>;
type Sourced = Gauge<string> & { [SOURCES]?: Set<Read> };

/**
 * Shows values that are kept elsewhere as a Prometheus gauge; they are read when it is scraped.
 *
 * @param combine of several sources for one name. Default: the sum.
 * @param collect reads the values; a throw is reported, and the source is left out that time.
 * @returns a function that lets go of the source; calling it again does nothing.
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
  const gauge: Sourced = gaugeIn<string>(registry, { name, help, labelNames: [...labelNames] });
  let sources = gauge[SOURCES];
  if (!sources) {
    const all = (sources = gauge[SOURCES] = new Set());
    Object.assign(gauge, { collect: () => show(gauge, labelNames, all, combine) });
  }
  sources.add(collect as Read);
  return () => void sources.delete(collect as Read);
}

function show(
  gauge: Gauge<string>,
  labelNames: readonly string[],
  sources: Iterable<Read>,
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
  for (const { labels, value } of levels.values()) gauge.set(labels, value);
}

function combined(combine: Combine, a: number, b: number): number {
  return combine === 'sum' ? a + b : Math[combine](a, b);
}
