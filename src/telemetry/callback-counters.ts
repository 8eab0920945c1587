import type { Counter, Registry } from 'prom-client';
import { reportFault } from '../exchange/run-listeners.js';
import { beforeRead } from './deferred-series.js';
import { counterIn } from './get-or-create.js';

/** A count with its labels. */
export interface Count<Label extends string> {
  readonly labels: Readonly<Record<Label, string>>;
  /** Since the start; it falls only when the source restarts. */
  readonly value: number;
}

/** Separate for each copy of the package, because a copy does not know what another has added to a counter. */
const SOURCES = Symbol('hotpath.counter-sources');

type ReadCount = () => Iterable<Count<string>>;
type CounterWithSource = Counter<string> & { [SOURCES]?: CounterSources };

/** The sources of one counter. */
interface CounterSources {
  readonly updates: Set<() => void>;
  /** The last values by labels, where all sources read the same count. */
  readonly last: Map<string, number>;
}

/**
 * Shows external counts as a Prometheus counter. They are read at each scrape, so that
 * counting itself has no extra cost.
 *
 * @param combine combines several sources of one name, and the processes of a cluster. `max` if all of them read the
 *   same count, such as that of the machine. Default: the sum.
 * @param collect reads the counts; an exception is reported, and the counts stay unchanged.
 * @returns a function that reads the counts for the last time and removes the source; idempotent.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` when the registry holds another kind of metric by that name.
 */
export function registerCounters<Label extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly Label[],
  collect: () => Iterable<Count<Label>>,
  combine: 'sum' | 'max' = 'sum',
): () => void {
  const counter: CounterWithSource = counterIn<string>(registry, {
    name,
    help,
    labelNames: [...labelNames],
    aggregator: combine,
  });
  let sources = counter[SOURCES];
  if (!sources) {
    const { updates } = (sources = counter[SOURCES] = { updates: new Set(), last: new Map() });
    beforeRead(counter, () => {
      for (const update of updates) update();
    });
    // Without labels it shows 0. If its first value came later, Prometheus would see a leap.
    if (labelNames.length === 0) counter.remove();
  }
  const { updates } = sources;
  const shared = combine === 'max' ? sources.last : undefined;
  const update = updater(counter, labelNames, collect as ReadCount, shared);
  updates.add(update);
  update();
  return () => {
    if (updates.delete(update)) update();
  };
}

/**
 * Adds the increase since the last scrape, because a counter may only grow.
 *
 * @param shared the last values of all sources, if they read the same count: a lower value is then an earlier reading,
 *   else a restart.
 */
function updater(
  counter: Counter<string>,
  labelNames: readonly string[],
  collect: ReadCount,
  shared: Map<string, number> | undefined,
): () => void {
  const last = shared ?? new Map<string, number>();
  return () => {
    try {
      for (const { labels, value } of collect()) {
        const key = JSON.stringify(labelNames.map((label) => labels[label]));
        const before = last.get(key);
        if (shared && before !== undefined && value <= before) continue;
        last.set(key, value);
        const more = before === undefined || value < before ? value : value - before;
        // Adds zero the first time: a series that exists from the start shows its first increase.
        if (more > 0 || before === undefined) counter.inc(labels, more);
      }
    } catch (error) {
      reportFault('collecting metrics', error);
    }
  };
}
