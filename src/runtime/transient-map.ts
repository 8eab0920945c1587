import { keyedHash } from './keyed-hash.js';

interface TransientNode<Value> {
  readonly key: string;
  value: Value;
}

const BUCKETS = 64;

/** Under a key: clients choose the keys of a map, and must not fill one bucket. */
const hashOf = keyedHash();

/**
 * Short-lived values by key, for the time of a request.
 *
 * Not a `Map`: one that is filled and emptied constantly is rehashed every few keys, and V8 links the old
 * table to the new one. Once a table is in the old generation, it keeps all later tables alive until the next full
 * garbage collection, with their requests and bodies.
 */
export class TransientMap<Value> {
  readonly #buckets: readonly TransientNode<Value>[][] = Array.from({ length: BUCKETS }, () => []);
  #size = 0;
  /** A request gets, sets and deletes one key, mostly without another between, and the hash takes half of the time. */
  #lastKey: string | undefined;
  #lastBucket: TransientNode<Value>[] = [];

  get(key: string): Value | undefined {
    if (this.#size === 0) return undefined;
    const bucket = this.#bucketOf(key);
    for (let at = 0; at < bucket.length; at++) if (bucket[at]!.key === key) return bucket[at]!.value;
    return undefined;
  }

  set(key: string, value: Value): void {
    const bucket = this.#bucketOf(key);
    const known = bucket.find((each) => each.key === key);
    if (known) known.value = value;
    else {
      bucket.push({ key, value });
      this.#size++;
    }
  }

  /** Deletes a key if it still has that value. */
  delete(key: string, value: Value): void {
    const bucket = this.#bucketOf(key);
    const at = bucket.findIndex((each) => each.key === key && each.value === value);
    if (at < 0) return;
    const last = bucket.pop()!;
    if (at < bucket.length) bucket[at] = last;
    this.#size--;
  }

  get size(): number {
    return this.#size;
  }

  #bucketOf(key: string): TransientNode<Value>[] {
    if (key === this.#lastKey) return this.#lastBucket;
    this.#lastKey = key;
    return (this.#lastBucket = this.#buckets[hashOf(key) % BUCKETS]!);
  }
}
