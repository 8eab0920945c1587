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
import { unawaited } from '../../../runtime/guard.js';

/** `half-open`: one command is on its way to see whether the server is well again. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** What is run: it tells its result, or its error; what it tells after that is not heard. */
export type Start<T> = (resolve: (value: T) => void, reject: (error: unknown) => void) => void;

/** Opens when more than half of the last so many failed. */
const WINDOW = 20;
const AT_LEAST = 5;

/**
 * A breaker of `cockatiel`, with two rules of ours: while one command probes, the others are refused instead of
 * waiting for it; and the wait does not start again from its shortest when the server has been well only for a
 * moment.
 */
export class CircuitBreaker {
  readonly #policy: CircuitBreakerPolicy;
  /** In a row, and counted; as many as the window holds, where one more says nothing. */
  #successes = 0;

  /** Shortest and longest wait, and a monotonic clock. Milliseconds. */
  constructor(first: number, longest: number, now: () => number = () => performance.now()) {
    const backoff = new Growth(first, longest, now);
    this.#policy = circuitBreaker(handleAll, {
      halfOpenAfter: backoff,
      breaker: new CountBreaker({ threshold: 0.5, size: WINDOW, minimumNumberOfCalls: AT_LEAST }),
    });
    this.#policy.onReset(() => backoff.closed());
  }

  get state(): BreakerState {
    const { state } = this.#policy;
    if (state === CircuitState.Closed) return 'closed';
    return state === CircuitState.HalfOpen ? 'half-open' : 'open';
  }

  /** False where `run` would have to wait for another's probe. */
  lets(): boolean {
    return this.#policy.state !== CircuitState.HalfOpen;
  }

  /**
   * Runs it, unless the breaker is open; a rejection or a throw is a failure. No promise is made while all is well.
   *
   * @param start runs it, and tells what came of it.
   * @param done called with what it gave; it must not throw.
   * @param failed called, later, with why it gave nothing; it must not throw.
   */
  run<T>(start: Start<T>, done: (value: T) => void, failed: (error: unknown) => void): void {
    if (!this.#isWell) {
      void unawaited(this.#count(() => new Promise(start)).then(done, failed), 'redis');
      return;
    }
    // One success more would leave the window as it is, so what comes of it is told only where that is news.
    let isTold = false;
    const fail = (error: unknown) => {
      if (isTold) return;
      isTold = true;
      const failure = (): Promise<T> => Promise.reject(error);
      const counted = this.state === 'closed' ? this.#count(failure) : failure();
      void unawaited(counted.then(done, failed), 'redis');
    };
    try {
      start((value) => {
        if (isTold) return;
        isTold = true;
        if (!this.#isWell && this.state === 'closed')
          void unawaited(
            this.#count(() => Promise.resolve(value)),
            'redis',
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

/** Waits that double, with jitter, until the breaker has stayed closed for the longest of them. */
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
