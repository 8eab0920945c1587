import { LRUCache } from 'lru-cache';
import { type StoreItem, sizeOf } from '../stored-response.js';
import { Doorkeeper } from './doorkeeper.js';

/** Limits of the memory tier. */
export interface MemoryBounds {
  /** Bytes, as counted by `sizeOf`. */
  readonly maxBytes: number;
  readonly maxEntries: number;
}

/** Why an item was removed to make room: the bytes or the entries of the tier, or the variants of one key. */
export type EvictionReason = 'bytes' | 'entries' | 'variants';

/** Share of the limits that is reserved for items with at least one hit. */
const USED_SHARE = 0.8;

/**
 * The memory tier, bounded in bytes and in entries. All methods are synchronous.
 *
 * It is a segmented LRU with two segments. Items with at least one hit are evicted only after all items
 * without a hit. So a flood of URLs that are requested once, such as `?cb=1` and `?cb=2`, evicts only itself.
 * If items with hits fill more than their share, the least recently used of them is evicted, so that newer
 * items can take its place.
 *
 * The store ignores freshness and purges: the lookup drops an entry that the log has invalidated.
 */
export class MemoryStore {
  readonly #bounds: MemoryBounds;
  readonly #fresh: LRUCache<string, StoreItem>;
  readonly #used: LRUCache<string, StoreItem>;
  #admission: Doorkeeper | undefined;
  #closed = false;
  /** Items that were removed to make room, since the start. */
  readonly evictions: Record<EvictionReason, number> = { bytes: 0, entries: 0, variants: 0 };

  constructor(bounds: MemoryBounds) {
    this.#bounds = { maxBytes: Math.max(1, bounds.maxBytes), maxEntries: bounds.maxEntries };
    const segment = () =>
      new LRUCache<string, StoreItem>({
        // No `max`, because it would allocate memory immediately. The entries of both segments are counted
        // here.
        maxSize: this.#bounds.maxBytes,
        sizeCalculation: (item, key) => sizeOf(key, item),
      });
    this.#fresh = segment();
    this.#used = segment();
  }

  get(key: string): StoreItem | undefined {
    const used = this.#used.get(key);
    if (used) return used;
    const item = this.#fresh.peek(key);
    if (item) this.#promote(key, item);
    return item;
  }

  /**
   * Whether to store an item that can be fetched again from another tier: if there is room, or on its second
   * request. The call counts as a request.
   */
  admits(key: string, item: StoreItem): boolean {
    const { maxBytes, maxEntries } = this.#bounds;
    if (this.entries < maxEntries && this.bytes + sizeOf(key, item) <= maxBytes) return true;
    this.#admission ??= new Doorkeeper(maxEntries);
    return this.#admission.hasMet(key) || this.peek(key) !== undefined;
  }

  /** Reads an item without counting a use. */
  peek(key: string): StoreItem | undefined {
    return this.#used.peek(key) ?? this.#fresh.peek(key);
  }

  /** All items: those with a hit first, and the most recent first. Counts no use. */
  *items(): Generator<StoreItem> {
    yield* this.#used.values();
    yield* this.#fresh.values();
  }

  /** Whether the item had a hit since it was stored and was not evicted since. */
  isUsed(key: string): boolean {
    return this.#used.has(key);
  }

  /** @returns false if the item alone is larger than the tier, or the tier is closed. */
  set(key: string, item: StoreItem): boolean {
    if (this.#closed) return false;
    // The replacement of an item with hits inherits its segment.
    const segment = this.#used.has(key) ? this.#used : this.#fresh;
    const before = segment.peek(key);
    keepForms(before, item);
    const size = segment.size + (before ? 0 : 1);
    segment.set(key, item);
    // The segment makes room itself if it would outgrow the whole tier; an item that is too large is not set at all.
    if (segment.size < size && segment.has(key)) this.evictions.bytes += size - segment.size;
    this.#fit(key);
    return segment.peek(key) === item;
  }

  /**
   * Updates the size of an item that has changed in place, and makes it the most recent of its segment.
   *
   * @returns false if the item is absent or would not fit alone; its size is then unchanged.
   */
  resize(key: string): boolean {
    const segment = this.#used.has(key) ? this.#used : this.#fresh;
    const item = segment.peek(key);
    if (!item) return false;
    const size = sizeOf(key, item);
    if (size > this.#bounds.maxBytes) return false;
    segment.delete(key); // `set` with the same object and no explicit size would keep the old size
    segment.set(key, item, { size });
    this.#fit(key);
    return true;
  }

  /** Removes an item to make room. */
  evict(key: string, reason: EvictionReason): void {
    if (this.delete(key)) this.evictions[reason]++;
  }

  /** The limits of the tier. */
  get bounds(): MemoryBounds {
    return this.#bounds;
  }

  delete(key: string): boolean {
    return this.#used.delete(key) || this.#fresh.delete(key);
  }

  /** Deletes all matching items. It looks at every item. */
  erase(matches: (item: StoreItem) => boolean): number {
    let erased = 0;
    for (const [key, item] of [...this.#used.entries(), ...this.#fresh.entries()]) {
      if (matches(item) && this.delete(key)) erased++;
    }
    return erased;
  }

  /** Drops all items and accepts no more, because a fill may end after `close`. */
  close(): void {
    this.#closed = true;
    this.#used.clear();
    this.#fresh.clear();
  }

  get entries(): number {
    return this.#used.size + this.#fresh.size;
  }

  /** Bytes, as counted by `sizeOf`. */
  get bytes(): number {
    return this.#used.calculatedSize + this.#fresh.calculatedSize;
  }

  #promote(key: string, item: StoreItem): void {
    this.#fresh.delete(key);
    this.#used.set(key, item);
  }

  #fit(stored: string): void {
    const { maxBytes, maxEntries } = this.#bounds;
    while (this.bytes > maxBytes || this.entries > maxEntries) {
      this.evictions[this.bytes > maxBytes ? 'bytes' : 'entries']++;
      this.#evict(stored);
    }
  }

  /** Evicts the least valuable item; the item that was just stored only if there is no other. */
  #evict(stored: string): void {
    const wanted = this.#isUsedTooMuch ? this.#used : this.#fresh;
    const other = wanted === this.#used ? this.#fresh : this.#used;
    const isSpared = wanted.size === 0 || (wanted.size === 1 && wanted.has(stored) && other.size > 0);
    (isSpared ? other : wanted).pop();
  }

  /** Checked only when room is needed, so that a hit moves one item and no others. */
  get #isUsedTooMuch(): boolean {
    const { maxBytes, maxEntries } = this.#bounds;
    return (
      this.#used.calculatedSize > maxBytes * USED_SHARE ||
      this.#used.size > Math.floor(maxEntries * USED_SHARE)
    );
  }
}

/** Encoded forms depend only on the body, so a newer response with the same body keeps them. */
function keepForms(before: StoreItem | undefined, item: StoreItem): void {
  if (before?.kind !== 'response' || item.kind !== 'response' || !before.encoded || item.encoded) return;
  if (before.body.equals(item.body)) item.encoded = before.encoded;
}
