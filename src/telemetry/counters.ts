import type { Counter, Registry } from 'prom-client';
import { reportFault } from '../exchange/fault.js';
import { counterIn } from './instruments.js';
import { beforeRead } from './tally.js';

/** A count so far, with the labels that it belongs to. */
export interface Count<Label extends string> {
  readonly labels: Readonly<Record<Label, string>>;
  /** Since the start; it never falls, except to begin anew. */
  readonly value: number;
}

/** Told apart by copy of the package: what one copy added to a counter, another knows nothing of. */
const SOURCES = Symbol('hotpath.counter-sources');

type Read = () => Iterable<Count<string>>;
type Sourced = Counter<string> & { [SOURCES]?: Set<() => void> };

/**
 * Shows counts that are kept elsewhere as a Prometheus counter; they are read when it is scraped, so that
 * counting itself costs nothing more. Several sources for one name are summed.
 *
 * @param collect reads the counts; a throw is reported, and the counts stay as they were.
 * @returns a function that reads the counts for the last time and lets go of them; calling it again does nothing.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` when the registry holds another kind of metric by that name.
 */
export function registerCounters<Label extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly Label[],
  collect: () => Iterable<Count<Label>>,
): () => void {
  const counter: Sourced = counterIn<string>(registry, { name, help, labelNames: [...labelNames] });
  let sources = counter[SOURCES];
  if (!sources) {
    const all = (sources = counter[SOURCES] = new Set());
    beforeRead(counter, () => {
      for (const update of all) update();
    });
  }
  const update = updater(counter, labelNames, collect as Read);
  sources.add(update);
  update();
  return () => {
    if (sources.delete(update)) update();
  };
}

/** Adds to the counter what was counted since the last time: a counter may only grow. */
function updater(counter: Counter<string>, labelNames: readonly string[], collect: Read): () => void {
  const last = new Map<string, number>();
  return () => {
    try {
      for (const { labels, value } of collect()) {
        const key = JSON.stringify(labelNames.map((label) => labels[label]));
        const before = last.get(key);
        last.set(key, value);
        const more = before === undefined || value < before ? value : value - before;
        // Zero the first time as well: a series that is there from the start shows its first increase.
        if (more > 0 || before === undefined) counter.inc(labels, more);
      }
    } catch (error) {
      reportFault('collecting metrics', error);
    }
  };
}
