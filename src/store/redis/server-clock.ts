/** Number of samples from which the best is chosen. */
const KEPT = 8;

interface Sample {
  /** The server's clock minus our monotonic clock. Milliseconds. */
  readonly offset: number;
  /** Maximum error of the offset: half of the round trip. */
  readonly error: number;
}

/**
 * Estimates the Redis server's clock from our monotonic one. Instances exchange times on the server's clock,
 * so that the wall clocks of their machines do not matter.
 *
 * The server reads `TIME` somewhere between the request and the reply. The estimate is the middle, with an
 * error of at most half of the round trip (Cristian's algorithm). Of the last samples, the one with the
 * shortest round trip counts.
 */
export class ServerClock {
  #samples: Sample[] = [];
  #best: Sample | undefined;

  /** Whether there is a sample. Without one, nothing can be converted. */
  get isKnown(): boolean {
    return this.#best !== undefined;
  }

  /** Converts a time from our clock to the server's. Milliseconds; `NaN` without a sample. */
  toShared(local: number): number {
    return this.#best === undefined ? Number.NaN : local + this.#best.offset;
  }

  /** Converts a time from the server's clock to ours. Milliseconds; `NaN` without a sample. */
  fromShared(shared: number): number {
    return this.#best === undefined ? Number.NaN : shared - this.#best.offset;
  }

  /**
   * Adds a sample.
   * @param sent our clock before the request.
   * @param received our clock at the reply.
   * @param server the server's clock, in milliseconds.
   */
  sample(sent: number, received: number, server: number): void {
    if (!Number.isFinite(server) || !(received >= sent)) return;
    const sample = { offset: server - (sent + received) / 2, error: (received - sent) / 2 };
    // Contradictory samples: the server's clock was set, or this is another server.
    const isSet = this.#samples.some(
      (old) => Math.abs(old.offset - sample.offset) > old.error + sample.error + 1,
    );
    this.#samples = isSet ? [sample] : [...this.#samples.slice(1 - KEPT), sample];
    this.#best = this.#samples.reduce((best, next) => (next.error <= best.error ? next : best));
  }
}
