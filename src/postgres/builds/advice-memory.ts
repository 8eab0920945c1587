import { performance } from 'node:perf_hooks';
import { idOf } from '../indexes/definition.js';
import type { AdvisedIndex } from './preflight.js';

/** Advice that is remembered, and for how long. Milliseconds. */
const MOST_ADVICE = 500;
const LONGEST_MEMORY = 3_600_000;

/** The advice of dry runs, by id: a request to build names ids alone. */
export class AdviceMemory {
  readonly #advised = new Map<string, { readonly index: AdvisedIndex; readonly at: number }>();

  remember(indexes: readonly AdvisedIndex[]): void {
    const at = performance.now();
    for (const index of indexes) {
      const id = idOf(index.definition);
      // The last one is the youngest.
      this.#advised.delete(id);
      this.#advised.set(id, { index, at });
    }
    for (const id of [...this.#advised.keys()].slice(0, -MOST_ADVICE)) this.#advised.delete(id);
  }

  find(id: string): AdvisedIndex | undefined {
    const found = this.#advised.get(id);
    return found && performance.now() - found.at < LONGEST_MEMORY ? found.index : undefined;
  }
}
