import { AsyncLocalStorage } from 'node:async_hooks';
import { formatValue } from '../options/format-value.js';
import { type LifetimeName, type Lifetimes, readTtlWith } from '../options/lifetimes.js';
import { type Duration, parseDuration } from '../options/units.js';
import type { Load } from './load.js';
import { UsedResults } from './used-results.js';

/** The run or the request that cached functions are called in. */
export interface Scope {
  readonly used: UsedResults;
  /** Absent in a request. */
  readonly run?: Run;
  /** The load that the run belongs to. */
  readonly load?: Load | undefined;
}

/** The methods that a cached function calls while it runs. */
export interface RunContext {
  /** Adds tags, by which the result can be purged. */
  tag(...names: string[]): RunContext;
  /** How long the result is fresh, in place of the option. 0: the result is not stored. */
  ttl(duration: Duration | LifetimeName): RunContext;
  /** Does not store the result. Calls that wait for this run get it too. */
  skip(): RunContext;
  /** Aborts when the run takes longer than `timeout`. */
  readonly signal: AbortSignal;
}

const SCOPES = Symbol.for('hotpath.functions');

/** Two copies of the package share it, so that a function of one can run in a cache of the other. */
const scopes = ((globalThis as { [SCOPES]?: AsyncLocalStorage<Scope> })[SCOPES] ??= new AsyncLocalStorage());

/** The run or the request that the caller is in. */
export function currentScope(): Scope | undefined {
  return scopes.getStore();
}

/** Runs a function and all that it starts in a scope. */
export function runInScope<Result>(scope: Scope, work: () => Result): Result {
  return scopes.run(scope, work);
}

/**
 * The context of the cached function that runs now: `currentRun().tag('product:1')`. It works in functions that the
 * cached function calls too. Outside of a run, its methods have no effect.
 */
export function currentRun(): RunContext {
  return currentScope()?.run ?? new OutsideOfRun();
}

/** One run of a cached function. */
export class Run implements RunContext {
  readonly used = new UsedResults();
  /** Seconds. */
  ttlSeconds: number | undefined;
  isSkipped = false;
  #isOver = false;
  #controller: AbortController | undefined;
  #abortReason: unknown;
  readonly #lifetimes: Lifetimes;
  readonly #fault: (error: unknown) => void;

  /** @param fault reports a wrong use, which must not change the result of the function. */
  constructor(lifetimes: Lifetimes, fault: (error: unknown) => void) {
    this.#lifetimes = lifetimes;
    this.#fault = fault;
  }

  tag(...names: string[]): this {
    if (this.#refuseLate('tag')) return this;
    for (const name of names) {
      if (typeof name === 'string' && name !== '' && name.length <= LONGEST_TAG) this.used.tags.add(name);
      // A result that cannot be purged is not stored.
      else this.#refuse(new TypeError(`tag: expected a name, received ${formatValue(name)}`));
    }
    return this;
  }

  ttl(duration: Duration | LifetimeName): this {
    if (this.#refuseLate('ttl')) return this;
    try {
      this.ttlSeconds = duration === 0 ? 0 : parseDuration(duration, readTtlWith(this.#lifetimes));
    } catch (error) {
      this.#refuse(error);
    }
    return this;
  }

  skip(): this {
    if (!this.#refuseLate('skip')) this.isSkipped = true;
    return this;
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason);
    }
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.#abortReason = reason;
    this.#controller?.abort(reason);
  }

  end(): void {
    this.#isOver = true;
  }

  #refuseLate(method: string): boolean {
    if (this.#isOver) {
      this.#fault(
        new Error(`currentRun().${method}() was called after the run has ended, so it has no effect`),
      );
    }
    return this.#isOver;
  }

  #refuse(error: unknown): void {
    this.isSkipped = true;
    this.#fault(error);
  }
}

/** As for responses. Characters. */
const LONGEST_TAG = 1024;

class OutsideOfRun implements RunContext {
  tag(): this {
    return this;
  }
  ttl(): this {
    return this;
  }
  skip(): this {
    return this;
  }
  get signal(): AbortSignal {
    return new AbortController().signal;
  }
}
