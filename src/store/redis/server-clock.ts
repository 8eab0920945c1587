import { performance } from 'node:perf_hooks';
import type { RedisClient } from './connection/ioredis-client.js';

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
  readonly #now: () => number;
  #samples: Sample[] = [];
  #best: Sample | undefined;

  /** @param now milliseconds, monotonic: the clock that entries' times are on. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Whether the server was ever asked. Until then nothing can be converted. */
  get isKnown(): boolean {
    return this.#best !== undefined;
  }

  /** By how much a converted time may be wrong. Milliseconds. */
  get error(): number {
    return this.#best?.error ?? Number.POSITIVE_INFINITY;
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

  /**
   * Asks the server once. The caller sees to it that the client is ready, and to a deadline; an answer that comes
   * late is a sample with a large error and does no harm.
   *
   * @param key any key of the invalidation log's slot: in a cluster `TIME` alone would go to any node.
   * @throws what the client throws.
   */
  async measure(client: RedisClient, key: string): Promise<void> {
    const sent = this.#now();
    const answer = client.isCluster
      ? await client.call('EVAL', "return redis.call('TIME')", 1, key)
      : await client.call('TIME');
    this.sample(sent, this.#now(), readTime(answer));
  }
}

/** What `TIME` answers, seconds and microseconds, in milliseconds; `NaN` for anything else. */
export function readTime(answer: unknown): number {
  if (!Array.isArray(answer) || answer.length !== 2) return Number.NaN;
  return Number(answer[0]) * 1000 + Number(answer[1]) / 1000;
}
