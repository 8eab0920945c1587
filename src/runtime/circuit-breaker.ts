import { performance } from 'node:perf_hooks';
import {
  type CircuitBreakerPolicy,
  CircuitState,
  CountBreaker,
  circuitBreaker,
  handleAll,
  type IBackoff,
  type IBackoffFactory,
} from 'cockatiel';
import { unawaited } from './guard.js';

/** `half-open`: one command is in flight, to find out whether the server has recovered. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** Starts an operation. Only the first call of `resolve` or `reject` counts. */
export type Start<T> = (resolve: (value: T) => void, reject: (error: unknown) => void) => void;

/** The breaker opens when more than half of this many operations failed. */
const WINDOW = 20;
const AT_LEAST = 5;

/**
 * A `cockatiel` breaker with two additional rules. While one command probes, others are rejected instead of
 * waiting for it. A short recovery does not reset the wait to its shortest.
 */
export class CircuitBreaker {
  readonly #policy: CircuitBreakerPolicy;
  /** Number of consecutive successes, counted up to the window's size; more would change nothing. */
  #successes = 0;

  /**
   * The shortest and the longest wait, and a monotonic clock. Milliseconds.
   *
   * @param onChange called with each new state; it must not throw.
   */
  constructor(
    first: number,
    longest: number,
    now: () => number = () => performance.now(),
    onChange?: (state: BreakerState) => void,
  ) {
    const backoff = new Growth(first, longest, now);
    this.#policy = circuitBreaker(handleAll, {
      halfOpenAfter: backoff,
      breaker: new CountBreaker({ threshold: 0.5, size: WINDOW, minimumNumberOfCalls: AT_LEAST }),
    });
    this.#policy.onReset(() => backoff.closed());
    if (onChange) this.#policy.onStateChange(() => onChange(this.state));
  }

  get state(): BreakerState {
    const { state } = this.#policy;
    if (state === CircuitState.Closed) return 'closed';
    return state === CircuitState.HalfOpen ? 'half-open' : 'open';
  }

  /** False if `run` would have to wait for the probe of another command. */
  lets(): boolean {
    return this.#policy.state !== CircuitState.HalfOpen;
  }

  /**
   * Runs an operation, unless the breaker is open. A rejection or an exception is a failure. While the
   * breaker is closed, no promise is created.
   *
   * @param start starts the operation and reports its result.
   * @param done called with the result; must not throw.
   * @param failed called later with the error; must not throw.
   */
  run<T>(start: Start<T>, done: (value: T) => void, failed: (error: unknown) => void): void {
    if (!this.#isWell) {
      void unawaited(this.#count(() => new Promise(start)).then(done, failed), 'circuit breaker');
      return;
    }
    // Another success would not change the window, so `cockatiel` is called only if the result changes its
    // state.
    let isTold = false;
    const fail = (error: unknown) => {
      if (isTold) return;
      isTold = true;
      const failure = (): Promise<T> => Promise.reject(error);
      const counted = this.state === 'closed' ? this.#count(failure) : failure();
      void unawaited(counted.then(done, failed), 'circuit breaker');
    };
    try {
      start((value) => {
        if (isTold) return;
        isTold = true;
        if (!this.#isWell && this.state === 'closed')
          void unawaited(
            this.#count(() => Promise.resolve(value)),
            'circuit breaker',
          );
        done(value);
      }, fail);
    } catch (error) {
      fail(error);
    }
  }

  get #isWell(): boolean {
    return this.#successes >= WINDOW && this.#policy.state === CircuitState.Closed;
  }

  async #count<T>(command: () => Promise<T>): Promise<T> {
    try {
      const value = await this.#policy.execute(command);
      this.#successes++;
      return value;
    } catch (error) {
      this.#successes = 0;
      throw error;
    }
  }
}

/**
 * Waits that double, with jitter. They start again from the shortest when the breaker stayed closed for the
 * longest wait.
 */
class Growth implements IBackoffFactory<unknown> {
  readonly #first: number;
  readonly #longest: number;
  readonly #now: () => number;
  #level = 0;
  #closedAt: number | undefined;

  constructor(first: number, longest: number, now: () => number) {
    this.#first = first;
    this.#longest = longest;
    this.#now = now;
  }

  closed(): void {
    this.#closedAt = this.#now();
  }

  next(): IBackoff<unknown> {
    return this.#wait();
  }

  #wait(): IBackoff<unknown> {
    const isAfterPeace = this.#closedAt !== undefined && this.#now() - this.#closedAt > this.#longest;
    if (isAfterPeace) this.#level = 0;
    this.#closedAt = undefined;
    const delay = Math.min(this.#longest, this.#first * 2 ** Math.min(this.#level++, 30));
    return { duration: delay * (0.5 + Math.random() / 2), next: () => this.#wait() };
  }
}
