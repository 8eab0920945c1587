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
type CounterWithSource = Counter<string> & { [SOURCES]?: Set<() => void> };

/**
 * Shows external counts as a Prometheus counter. They are read at each scrape, so that
 * counting itself has no extra cost. Several sources for one name are summed.
 *
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
): () => void {
  const counter: CounterWithSource = counterIn<string>(registry, { name, help, labelNames: [...labelNames] });
  let sources = counter[SOURCES];
  if (!sources) {
    const all = (sources = counter[SOURCES] = new Set());
    beforeRead(counter, () => {
      for (const update of all) update();
    });
  }
  const update = updater(counter, labelNames, collect as ReadCount);
  sources.add(update);
  update();
  return () => {
    if (sources.delete(update)) update();
  };
}

/** Adds the increase since the last scrape, because a counter may only grow. */
function updater(counter: Counter<string>, labelNames: readonly string[], collect: ReadCount): () => void {
  const last = new Map<string, number>();
  return () => {
    try {
      for (const { labels, value } of collect()) {
        const key = JSON.stringify(labelNames.map((label) => labels[label]));
        const before = last.get(key);
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
