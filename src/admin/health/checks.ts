import { parseDuration } from '../../options/units.js';
import { readPositiveDuration } from '../../options/validators.js';
import { guarded } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import { EventLoopWatch } from '../../telemetry/system/event-loop.js';
import type { CheckFunction } from './options.js';

/** A pool of `pg`, as far as the check uses it. */
export interface CheckedPool {
  query(statement: { text: string; query_timeout: number }): PromiseLike<unknown>;
}

/** How long a statement of the check may take, once it has a connection. Milliseconds. */
const STATEMENT_LIMIT = 2000;

/**
 * Checks a pool of `pg`: sends `SELECT 1`. If the connection hangs, the pool drops it after 2 s; if no connection is
 * free, no second statement waits behind the first.
 */
export function postgresCheck(pool: CheckedPool): CheckFunction {
  return () => pool.query({ text: 'SELECT 1', query_timeout: STATEMENT_LIMIT });
}

/** Between two readings of the event loop. Milliseconds. */
const WINDOW = 1000;

/**
 * Checks that the event loop was late by less than `delay` on average, over the last second. Not critical by default:
 * a busy instance that is taken out of service makes the others busier.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for an invalid duration.
 */
export function eventLoopCheck({ delay }: { delay: `${number}${'ms' | 's'}` | number }): CheckFunction {
  const limit = parseDuration(delay, readPositiveDuration);
  const loop = new LoopReader();
  const check = () => {
    const late = loop.meanDelay;
    if (late < limit) return;
    throw new Error(
      `the event loop was late by ${Math.round(late * 1000)} ms; the limit is ${limit * 1000} ms`,
    );
  };
  return Object.assign(check, { critical: false });
}

/** Measures from the first use on. Its timer does not keep the process alive. */
class LoopReader {
  #watch: EventLoopWatch | undefined;
  #mean = 0;

  /** Of the last window. Seconds. */
  get meanDelay(): number {
    if (!this.#watch) this.#start();
    return this.#mean;
  }

  #start(): void {
    const watch = runInOwnContext(() => new EventLoopWatch());
    this.#watch = watch;
    const read = guarded('event loop check', () => {
      this.#mean = watch.rotate().delay?.mean ?? 0;
    });
    runInOwnContext(() => setInterval(read, WINDOW).unref());
  }
}

/** A check that fails until it is opened, such as by the end of a warm-up. */
export interface ReadinessGate extends CheckFunction {
  /** The check passes from now on. */
  open(): void;
  /** The check fails from now on. */
  close(reason?: string): void;
}

/** Creates a closed gate. @param reason why it is closed, such as `'cache is being warmed'`. */
export function readinessGate(reason: string): ReadinessGate {
  let why: string | undefined = reason;
  const check = () => {
    if (why !== undefined) throw new Error(why);
  };
  return Object.assign(check, {
    open: () => {
      why = undefined;
    },
    close: (again = reason) => {
      why = again;
    },
  });
}
