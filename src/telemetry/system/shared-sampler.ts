import { performance } from 'node:perf_hooks';

/** Reads figures window by window. */
export interface Sampler<Figures> {
  /** Ends the window and begins the next. */
  rotate(): Figures;
  /** Idempotent. */
  close?(): void;
}

/**
 * One sampler for all instances of the package in a process, which all would read the same. A program may have hundreds
 * of instances: a test suite that makes an app for each test and closes none.
 */
export class SharedSampler<Figures> {
  readonly #create: () => Sampler<Figures>;
  readonly #leastWindowMs: number;
  #users = 0;
  #sampler: Sampler<Figures> | undefined;
  #rotatedAt = 0;
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
    this.#sampler ??= this.#create();
    this.#users++;
    let isOpen = true;
    return {
      rotate: () => this.#rotate(this.#sampler!),
      close: () => {
        if (!isOpen) return;
        isOpen = false;
        if (--this.#users > 0) return;
        this.#sampler?.close?.();
        this.#sampler = this.#figures = undefined;
      },
    };
  }

  #rotate(sampler: Sampler<Figures>): Figures {
    const now = performance.now();
    const isFresh = this.#users > 1 && now - this.#rotatedAt < this.#leastWindowMs;
    if (isFresh && this.#figures !== undefined) return this.#figures;
    this.#rotatedAt = now;
    return (this.#figures = sampler.rotate());
  }
}
