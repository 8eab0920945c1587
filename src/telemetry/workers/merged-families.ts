import type { Exemplar, Family } from '../exposition/families.js';

interface MergedSample {
  readonly name: string;
  readonly labels: string;
  value: number;
  /** Samples that were merged. */
  count: number;
  exemplar: Exemplar | undefined;
}

interface MergedFamily extends Omit<Family, 'samples'> {
  readonly merged: Map<string, MergedSample>;
}

/** Types whose samples only grow. */
const CUMULATIVE: ReadonlySet<string> = new Set(['counter', 'histogram', 'summary']);

/** Metrics of several processes as those of one. */
export class MergedFamilies {
  readonly #families = new Map<string, MergedFamily>();
  readonly #mostSamples: number;
  #samples = 0;

  /** @param mostSamples further ones are left out. */
  constructor(mostSamples = Number.POSITIVE_INFINITY) {
    this.#mostSamples = mostSamples;
  }

  add(family: Family): void {
    const { samples, ...head } = family;
    if (head.aggregator === 'omit') return;
    let known = this.#families.get(head.name);
    if (!known) this.#families.set(head.name, (known = { ...head, merged: new Map() }));
    for (const sample of samples) {
      const { name, labels, value, exemplar } = sample;
      // Quantiles of several processes make no quantile.
      if (head.type === 'summary' && labels.includes('quantile="')) continue;
      const key = name + labels;
      const found = known.merged.get(key);
      if (found) {
        found.value = combine(head.aggregator, found.value, value);
        found.count++;
        if (isLater(exemplar, found.exemplar)) found.exemplar = exemplar;
      } else if (this.#samples < this.#mostSamples) {
        this.#samples++;
        known.merged.set(key, { name, labels, value, count: 1, exemplar });
      }
    }
  }

  list(): Family[] {
    return [...this.#families.values()].map(({ merged, ...head }) => ({
      ...head,
      samples: [...merged.values()].map(({ name, labels, value, count, exemplar }) => ({
        name,
        labels,
        value: head.aggregator === 'average' ? value / count : value,
        exemplar,
      })),
    }));
  }
}

/** The metrics that still count when a process is gone, or does not answer: those that only grow. */
export function cumulativeOf(families: readonly Family[]): Family[] {
  return families.filter(({ type }) => CUMULATIVE.has(type));
}

/** In the words of `prom-client`. */
function combine(aggregator: string, a: number, b: number): number {
  if (aggregator === 'min') return Math.min(a, b);
  if (aggregator === 'max') return Math.max(a, b);
  return aggregator === 'first' ? a : a + b;
}

function isLater(exemplar: Exemplar | undefined, before: Exemplar | undefined): boolean {
  return exemplar !== undefined && (exemplar.timestamp ?? 0) >= (before?.timestamp ?? 0);
}
