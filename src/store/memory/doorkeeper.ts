import { hash32 } from '../../runtime/hash32.js';

/** Fewer slots than this would forget a key before it can come again. */
const LEAST_SLOTS = 64;
const MOST_SLOTS = 2 ** 22;

/**
 * Tells whether a key has come before, lately: whoever wants a place in a full store is worth one when it comes for
 * the second time. Most of what is asked for in a while is asked for once, and would drive out what is asked for
 * often (the doorkeeper of TinyLFU, Einziger et al., ACM Transactions on Storage 13:4, 2017; "cache on second hit", Maggs
 * and Sitaraman, ACM SIGCOMM CCR 45:3, 2015).
 *
 * One slot for each key that the store may hold, four bytes each. A key takes its slot from whoever had it, so what
 * came long ago is forgotten by itself.
 */
export class Doorkeeper {
  readonly #slots: Uint32Array;

  /** @param entries that the store may hold. */
  constructor(entries: number) {
    const wanted = Math.min(Math.max(entries, LEAST_SLOTS), MOST_SLOTS);
    this.#slots = new Uint32Array(2 ** Math.ceil(Math.log2(wanted)));
  }

  /** Whether the key has come before; from now on it has. It may be taken for another, which then gets a place early. */
  hasMet(key: string): boolean {
    const hash = hash32(key) || 1; // an empty slot is 0
    const at = hash & (this.#slots.length - 1);
    const had = this.#slots[at] === hash;
    this.#slots[at] = hash;
    return had;
  }
}
