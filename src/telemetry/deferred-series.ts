import type { Metric } from 'prom-client';
import { reportFault } from '../exchange/run-listeners.js';

/** A plain count that a metric adds when it is read. Adding to a `prom-client` metric costs a lookup each time. */
export class DeferredSeries {
  value = 0;
  /** Shows zero as well. */
  #shown: number | undefined;
  readonly #child: { inc(by: number): void };

  constructor(child: { inc(by: number): void }) {
    this.#child = child;
  }

  show(): void {
    if (this.value === this.#shown) return;
    const before = this.#shown ?? 0;
    this.#shown = this.value;
    this.#child.inc(this.value - before);
  }
}

/** Runs a function before a metric is read, beside other such functions. */
export function beforeRead(metric: Metric, show: () => void): void {
  const before = (metric as { collect?: () => unknown }).collect;
  Object.assign(metric, {
    collect() {
      try {
        show();
      } catch (error) {
        reportFault('collecting metrics', error);
      }
      return before?.call(metric);
    },
  });
}
