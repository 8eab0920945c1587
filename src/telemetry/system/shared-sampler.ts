import { performance } from 'node:perf_hooks';

/** Reads figures window by window. */
export interface Sampler<Figures> {
  /** Ends the window and begins the next. */
  rotate(): Figures;
  /** Idempotent. Without it, the sampler holds nothing open, and waits for its next user. */
  close?(): void;
}

/**
 * One sampler for all instances of the package in a process, which all would read the same. A program may have hundreds
 * of instances: a test suite that makes an app for each test, whether it closes them or not.
 */
export class SharedSampler<Figures> {
  readonly #create: () => Sampler<Figures>;
  readonly #leastWindowMs: number;
  #users = 0;
  #sampler: Sampler<Figures> | undefined;
  #rotatedAt = Number.NEGATIVE_INFINITY;
  /** The user that ended the last window. */
  #rotatedBy: symbol | undefined;
  #figures: Figures | undefined;

  /** @param leastWindowMs a later user gets the figures of the last window, unless it ended so long ago. */
  constructor(create: () => Sampler<Figures>, leastWindowMs: number) {
    this.#create = create;
    this.#leastWindowMs = leastWindowMs;
  }

  /** Nobody uses it. */
  get isIdle(): boolean {
    return this.#users === 0;
  }

  /** Adds a user, until its `close`. */
  open(): Sampler<Figures> {
    // Nobody used it for a while, and that time is no window.
    if (this.isIdle && !this.#isFresh) this.#sampler = undefined;
    this.#sampler ??= this.#create();
    this.#users++;
    const user = Symbol('user');
    let isOpen = true;
    return {
      rotate: () => this.#rotate(this.#sampler!, user),
      close: () => {
        if (!isOpen) return;
        isOpen = false;
        if (--this.#users > 0 || !this.#sampler?.close) return;
        this.#sampler.close();
        this.#sampler = this.#figures = undefined;
      },
    };
  }

  get #isFresh(): boolean {
    return this.#figures !== undefined && performance.now() - this.#rotatedAt < this.#leastWindowMs;
  }

  #rotate(sampler: Sampler<Figures>, user: symbol): Figures {
    const isOfAnother = this.#users > 1 || this.#rotatedBy !== user;
    if (isOfAnother && this.#isFresh) return this.#figures!;
    this.#rotatedAt = performance.now();
    this.#rotatedBy = user;
    return (this.#figures = sampler.rotate());
  }
}
