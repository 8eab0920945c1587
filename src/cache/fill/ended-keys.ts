import { keyedHash } from '../../runtime/keyed-hash.js';

/** A fill that meets another key's bucket is not stored once, so a few are enough. */
const BUCKETS = 1024;

/**
 * The keys whose stored responses have ended: another response superseded them, or a refresh was refused. A fill that
 * began before may have read what was true before, so its response is not stored: like a fill that races with a purge,
 * it loses.
 *
 * Each key is remembered by the position of its bucket in a table of one size. Keys that share a bucket end together.
 */
export class EndedKeys {
  readonly #hash = keyedHash();
  readonly #positions = new Float64Array(BUCKETS);
  #position = 0;

  /** The position of the last end. */
  get position(): number {
    return this.#position;
  }

  note(key: string): void {
    this.#positions[this.#hash(key) % BUCKETS] = ++this.#position;
  }

  /** Whether stored responses of the key have ended after the position, or those of a key that shares its bucket. */
  hasSince(key: string, position: number): boolean {
    return this.#position > position && this.#positions[this.#hash(key) % BUCKETS]! > position;
  }
}
