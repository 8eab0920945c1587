/** Samples among which the best is chosen. */
const KEPT = 8;

interface Sample {
  /** What to add to our monotonic clock to get the server's. Milliseconds. */
  readonly offset: number;
  /** The truth is within the offset plus or minus this: half of the round trip. */
  readonly error: number;
}

/**
 * The Redis server's clock, told from our monotonic one. Instances share times on the server's clock, so that the
 * wall clocks of their machines play no part.
 *
 * The server's `TIME` was taken somewhere between the question and the answer; the middle is assumed, which errs
 * by at most half of the round trip (Cristian's algorithm). Of the last few samples the one with the shortest
 * round trip counts.
 */
export class ServerClock {
  #samples: Sample[] = [];
  #best: Sample | undefined;

  /** Whether the server was ever asked. Until then nothing can be converted. */
  get isKnown(): boolean {
    return this.#best !== undefined;
  }

  /** A time on our clock as one on the server's, both in milliseconds; `NaN` while the server's is not known. */
  toShared(local: number): number {
    return this.#best === undefined ? Number.NaN : local + this.#best.offset;
  }

  /** A time on the server's clock as one on ours, both in milliseconds; `NaN` while the server's is not known. */
  fromShared(shared: number): number {
    return this.#best === undefined ? Number.NaN : shared - this.#best.offset;
  }

  /**
   * Takes in one answer.
   * @param sent our clock before the question.
   * @param received our clock at the answer.
   * @param server the server's clock. Milliseconds.
   */
  sample(sent: number, received: number, server: number): void {
    if (!Number.isFinite(server) || !(received >= sent)) return;
    const sample = { offset: server - (sent + received) / 2, error: (received - sent) / 2 };
    // Two samples that can't both be true: the server's clock was set, or it is another server.
    const isSet = this.#samples.some(
      (old) => Math.abs(old.offset - sample.offset) > old.error + sample.error + 1,
    );
    this.#samples = isSet ? [sample] : [...this.#samples.slice(1 - KEPT), sample];
    this.#best = this.#samples.reduce((best, next) => (next.error <= best.error ? next : best));
  }
}
