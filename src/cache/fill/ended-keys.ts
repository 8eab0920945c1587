import { keyedHash } from '../../runtime/keyed-hash.js';

/** A fill whose key shares a bucket with an ended key is not stored once, so few buckets are enough. */
const BUCKETS = 1024;

/**
 * The keys whose stored responses have ended: another response superseded them, or a refresh was refused. A fill that
 * began before the end may have read outdated data, so its response is not stored, as after a purge.
 *
 * The table has a fixed size. It keeps one position per bucket, so keys that share a bucket end together.
 */
export class EndedKeys {
  readonly #hash = keyedHash();
  readonly #positions = new Float64Array(BUCKETS);
  #position = 0;

  /** The position of the last end. */
  get position(): number {
    return this.#position;
  }

  add(key: string): void {
    this.#positions[this.#hash(key) % BUCKETS] = ++this.#position;
  }

  /** Whether a stored response of the key ended after the position. Also true for keys that share its bucket. */
  hasSince(key: string, position: number): boolean {
    return this.#position > position && this.#positions[this.#hash(key) % BUCKETS]! > position;
  }
}
