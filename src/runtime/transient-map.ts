import { hash32 } from './hash32.js';

interface TransientNode<Value> {
  readonly key: string;
  value: Value;
}

const BUCKETS = 64;

/**
 * What is under way, by key: values that stay for the time of a request.
 *
 * Not a `Map`: one that is filled and emptied all the time is made anew every few keys, and V8 leaves in the old one
 * what it held, and a way to the new one. As soon as one of them has grown old, all that follow are kept, and what was
 * under way when they were made, with the requests and bodies that hang on it, until the whole heap is marked.
 */
export class TransientMap<Value> {
  readonly #buckets: readonly TransientNode<Value>[][] = Array.from({ length: BUCKETS }, () => []);
  #size = 0;

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

  /** Lets a key go, if it still has that value. */
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
    return this.#buckets[hash32(key) % BUCKETS]!;
  }
}
