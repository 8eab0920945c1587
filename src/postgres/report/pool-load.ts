import { performance } from 'node:perf_hooks';
import { guarded } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import { monitorOf, type PoolTotals } from '../monitor/figures.js';

/** Between two readings of the pool. Milliseconds. */
const STEP = 10_000;

/** Steps of one hour. */
const MOST_STEPS = 360;

/** The load of a pool over some time. */
export interface PoolLoad {
  readonly seconds: number;
  readonly checkouts: number;
  readonly waitSeconds: number;
  readonly useSeconds: number;
}

/** Reads the counts of a monitored pool at intervals, so that its busiest time of the last hour is known. */
export class PoolLoadRecorder {
  readonly #pool: object;
  readonly #steps: PoolLoad[] = [];
  readonly #timer: NodeJS.Timeout;
  #last: (PoolTotals & { readonly at: number }) | undefined;

  constructor(pool: object) {
    this.#pool = pool;
    this.#step();
    const step = guarded('pool advice', () => this.#step());
    this.#timer = runInOwnContext(() => setInterval(step, STEP).unref());
  }

  /** The steps of the last hour, with the one that has not ended. */
  steps(): readonly PoolLoad[] {
    const current = this.#sinceLast();
    return current && current.seconds > 0 ? [...this.#steps, current] : this.#steps;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #step(): void {
    const load = this.#sinceLast();
    if (load) this.#steps.push(load);
    if (this.#steps.length > MOST_STEPS) this.#steps.shift();
    const totals = monitorOf(this.#pool)?.totals();
    this.#last = totals && { ...totals, at: performance.now() };
  }

  #sinceLast(): PoolLoad | undefined {
    const now = monitorOf(this.#pool)?.totals();
    // Another monitor begins at 0.
    if (!now || !this.#last || now.checkouts < this.#last.checkouts) return undefined;
    return {
      seconds: (performance.now() - this.#last.at) / 1000,
      checkouts: now.checkouts - this.#last.checkouts,
      waitSeconds: now.waitSeconds - this.#last.waitSeconds,
      useSeconds: Math.max(0, now.useSeconds - this.#last.useSeconds),
    };
  }
}
