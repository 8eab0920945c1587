import { LRUCache } from 'lru-cache';
import { type Item, sizeOf } from './entry.js';

/** Bounds of the memory tier. */
export interface MemoryBounds {
  /** Bytes, as `sizeOf` counts them. */
  readonly maxBytes: number;
  readonly maxEntries: number;
}

/**
 * The memory tier: least recently used goes first, bounded in bytes and in entries. Answers at once.
 *
 * It knows nothing of freshness or of purges: an entry that the log has made void is dropped when it is met.
 */
export class MemoryStore {
  readonly #items: LRUCache<string, Item>;
  #closed = false;

  constructor(bounds: MemoryBounds) {
    this.#items = new LRUCache({
      max: bounds.maxEntries,
      maxSize: Math.max(1, bounds.maxBytes),
      sizeCalculation: (item, key) => sizeOf(key, item),
    });
  }

  get(key: string): Item | undefined {
    return this.#items.get(key);
  }

  /** Looks without counting as a use. */
  peek(key: string): Item | undefined {
    return this.#items.peek(key);
  }

  /** @returns false when the item alone is larger than the tier, or the tier is closed. */
  set(key: string, item: Item): boolean {
    if (this.#closed) return false;
    this.#items.set(key, item);
    return this.#items.peek(key) === item;
  }

  delete(key: string): boolean {
    return this.#items.delete(key);
  }

  /** Deletes all that match, looking at every item. */
  erase(matches: (item: Item) => boolean): number {
    let erased = 0;
    for (const [key, item] of [...this.#items.entries()]) {
      if (matches(item) && this.#items.delete(key)) erased++;
    }
    return erased;
  }

  /** Lets everything go, and takes nothing more: a fill may end later. */
  close(): void {
    this.#closed = true;
    this.#items.clear();
  }

  get entries(): number {
    return this.#items.size;
  }

  /** Bytes, as `sizeOf` counts them. */
  get bytes(): number {
    return this.#items.calculatedSize;
  }
}
