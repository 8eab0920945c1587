import type { InstanceLabels } from '../../../telemetry/instances/snapshot.js';
import type { Answer, HistoryColumns, HistoryFigures } from './answers.js';

/** The longest time that is shown. Milliseconds. */
const HOUR = 3_600_000;

/** Collects the history of one instance: an hour at first, and then what came since. */
export class HistoryBuffer {
  #instance: InstanceLabels | undefined;
  #at: number[] = [];
  #figures: Record<string, (number | null)[]> = {};

  /** The time after the last point, for the parameter `since`. */
  get since(): number {
    const last = this.#at.at(-1);
    return last === undefined ? 0 : last + 1;
  }

  get instance(): InstanceLabels | undefined {
    return this.#instance;
  }

  /** A balancer may send each request to another instance; the buffer keeps to one until that has ended. */
  add({ instance, at: now, volatile }: Answer<HistoryFigures>): void {
    const { at, figures } = volatile.process;
    if (this.#instance?.id !== instance?.id) {
      const last = this.#at.at(-1) ?? 0;
      if (now - last < 30_000) return;
      this.#instance = instance ?? undefined;
      this.#at = [];
      this.#figures = {};
    }
    const from = at.findIndex((time) => time >= this.since);
    if (from < 0) return;
    const keep = this.#at.findIndex((time) => time >= now - HOUR);
    const drop = keep < 0 ? this.#at.length : keep;
    this.#at = [...this.#at.slice(drop), ...at.slice(from)];
    for (const [name, values] of Object.entries(figures))
      this.#figures[name] = [...(this.#figures[name] ?? []).slice(drop), ...values.slice(from)];
  }

  columns(): HistoryColumns {
    return { at: this.#at.map((time) => time / 1000), figures: this.#figures };
  }
}
