import { keyedHash } from '../../runtime/keyed-hash.js';

/** With fewer slots, a key would be dropped before its second request. */
const LEAST_SLOTS = 64;
const MOST_SLOTS = 2 ** 22;

/**
 * Tells whether a key was requested before, recently. A full store admits a key only on its second request.
 * Most keys are requested once within a period, and would evict the keys that are requested often. See the doorkeeper
 * of TinyLFU (Einziger et al., ACM Transactions on Storage 13:4, 2017). "Cache on second hit" is by Maggs and Sitaraman
 * (ACM SIGCOMM CCR 45:3, 2015).
 *
 * The table has one slot of four bytes for each key that the store may hold. A key overwrites the previous
 * key of its slot, so old keys are dropped without further work.
 */
export class Doorkeeper {
  readonly #slots: Uint32Array;
  readonly #hash = keyedHash();

  /** @param entries maximum number of entries of the store. */
  constructor(entries: number) {
    const wanted = Math.min(Math.max(entries, LEAST_SLOTS), MOST_SLOTS);
    this.#slots = new Uint32Array(2 ** Math.ceil(Math.log2(wanted)));
  }

  /** Whether the key was seen before, and marks it as seen. A hash collision admits a key early. */
  hasMet(key: string): boolean {
    const hash = this.#hash(key) || 1; // an empty slot is 0
    const at = hash & (this.#slots.length - 1);
    const had = this.#slots[at] === hash;
    this.#slots[at] = hash;
    return had;
  }
}
