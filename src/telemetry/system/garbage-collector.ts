import { constants, PerformanceObserver } from 'node:perf_hooks';
import { guarded } from '../../runtime/guard.js';

/** Pauses of the garbage collector over the last window. */
export interface GarbageFigures {
  readonly pauses: number;
  /** All pauses added up. */
  readonly seconds: number;
  /** The longest pause. */
  readonly longestSeconds: number;
  /** Collections of the whole heap; the others look through young objects or go on with a collection of the whole. */
  readonly majorPauses: number;
}

interface GarbageEntry {
  readonly duration: number;
  readonly detail?: { readonly kind?: number };
}

const { NODE_PERFORMANCE_GC_MAJOR: MAJOR } = constants;

/** Watches the pauses of the garbage collector, window by window. */
export class GarbageWatch {
  #pauses = 0;
  #major = 0;
  #ms = 0;
  #longestMs = 0;
  readonly #observer = new PerformanceObserver(
    guarded('telemetry', (list: { getEntries(): unknown[] }) => {
      // All of them: several may come at a time.
      for (const entry of list.getEntries() as GarbageEntry[]) this.#record(entry);
    }),
  );

  constructor() {
    this.#observer.observe({ entryTypes: ['gc'] });
  }

  /** Ends the window and begins the next. */
  rotate(): GarbageFigures {
    const figures = {
      pauses: this.#pauses,
      seconds: this.#ms / 1000,
      longestSeconds: this.#longestMs / 1000,
      majorPauses: this.#major,
    };
    this.#pauses = this.#major = this.#ms = this.#longestMs = 0;
    return figures;
  }

  /** Idempotent. */
  close(): void {
    this.#observer.disconnect();
  }

  #record({ duration, detail }: GarbageEntry): void {
    this.#pauses++;
    if (detail?.kind === MAJOR) this.#major++;
    this.#ms += duration;
    if (duration > this.#longestMs) this.#longestMs = duration;
  }
}
