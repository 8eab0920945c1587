import { LRUCache } from 'lru-cache';
import { type StoreItem, sizeOf } from '../stored-response.js';
import { Doorkeeper } from './doorkeeper.js';

/** Bounds of the memory tier. */
export interface MemoryBounds {
  /** Bytes, as `sizeOf` counts them. */
  readonly maxBytes: number;
  readonly maxEntries: number;
}

/** The share of the bounds that items which were asked for again may keep against newcomers. */
const USED_SHARE = 0.8;

/**
 * The memory tier, bounded in bytes and in entries. Answers at once.
 *
 * Least recently used goes first, in two segments (a segmented LRU): what was asked for at least once since it
 * was stored goes only after everything that never was. So a flood of URLs that nobody asks for twice, `?cb=1`,
 * `?cb=2`, drives out itself, and not what visitors use. Only once these fill more than their share does the least
 * recently used of them go, so that what visitors take up later gets its place.
 *
 * It knows nothing of freshness or of purges: an entry that the log has made void is dropped when it is met.
 */
export class MemoryStore {
  readonly #bounds: MemoryBounds;
  readonly #fresh: LRUCache<string, StoreItem>;
  readonly #used: LRUCache<string, StoreItem>;
  #admission: Doorkeeper | undefined;
  #closed = false;

  constructor(bounds: MemoryBounds) {
    this.#bounds = { maxBytes: Math.max(1, bounds.maxBytes), maxEntries: bounds.maxEntries };
    const segment = () =>
      new LRUCache<string, StoreItem>({
        // Without `max`, for which it would take memory at once; we count the entries of both segments ourselves.
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
   * Whether an item that can be had again elsewhere is worth its place: as long as there is room for it, and then when
   * it is asked for the second time. Asking counts.
   */
  admits(key: string, item: StoreItem): boolean {
    const { maxBytes, maxEntries } = this.#bounds;
    if (this.entries < maxEntries && this.bytes + sizeOf(key, item) <= maxBytes) return true;
    this.#admission ??= new Doorkeeper(maxEntries);
    return this.#admission.hasMet(key) || this.peek(key) !== undefined;
  }

  /** Looks without counting as a use. */
  peek(key: string): StoreItem | undefined {
    return this.#used.peek(key) ?? this.#fresh.peek(key);
  }

  /** Whether the item was asked for since it was stored, and lately enough. */
  isUsed(key: string): boolean {
    return this.#used.has(key);
  }

  /** @returns false when the item alone is larger than the tier, or the tier is closed. */
  set(key: string, item: StoreItem): boolean {
    if (this.#closed) return false;
    // What replaces a used item is as wanted as that was.
    const segment = this.#used.has(key) ? this.#used : this.#fresh;
    keepForms(segment.peek(key), item);
    segment.set(key, item);
    this.#fit(key);
    return segment.peek(key) === item;
  }

  /**
   * Measures an item again that has grown or shrunk where it lies; it counts as the latest of its segment.
   *
   * @returns false when it is not there, or would not fit alone: then it keeps the size that it had.
   */
  resize(key: string): boolean {
    const segment = this.#used.has(key) ? this.#used : this.#fresh;
    const item = segment.peek(key);
    if (!item) return false;
    const size = sizeOf(key, item);
    if (size > this.#bounds.maxBytes) return false;
    segment.delete(key); // set again as it stands, the same object would keep its size
    segment.set(key, item, { size });
    this.#fit(key);
    return true;
  }

  delete(key: string): boolean {
    return this.#used.delete(key) || this.#fresh.delete(key);
  }

  /** Deletes all that match, looking at every item. */
  erase(matches: (item: StoreItem) => boolean): number {
    let erased = 0;
    for (const [key, item] of [...this.#used.entries(), ...this.#fresh.entries()]) {
      if (matches(item) && this.delete(key)) erased++;
    }
    return erased;
  }

  /** Lets everything go, and takes nothing more: a fill may end later. */
  close(): void {
    this.#closed = true;
    this.#used.clear();
    this.#fresh.clear();
  }

  get entries(): number {
    return this.#used.size + this.#fresh.size;
  }

  /** Bytes, as `sizeOf` counts them. */
  get bytes(): number {
    return this.#used.calculatedSize + this.#fresh.calculatedSize;
  }

  #promote(key: string, item: StoreItem): void {
    this.#fresh.delete(key);
    this.#used.set(key, item);
  }

  #fit(stored: string): void {
    while (this.bytes > this.#bounds.maxBytes || this.entries > this.#bounds.maxEntries) this.#evict(stored);
  }

  /** Lets the least wanted item go; the one just stored only when there is no other. */
  #evict(stored: string): void {
    const wanted = this.#isUsedTooMuch ? this.#used : this.#fresh;
    const other = wanted === this.#used ? this.#fresh : this.#used;
    const isSpared = wanted.size === 0 || (wanted.size === 1 && wanted.has(stored) && other.size > 0);
    (isSpared ? other : wanted).pop();
  }

  /** Judged when room is wanted alone: what is asked for again moves once, and nothing else for it. */
  get #isUsedTooMuch(): boolean {
    const { maxBytes, maxEntries } = this.#bounds;
    return (
      this.#used.calculatedSize > maxBytes * USED_SHARE ||
      this.#used.size > Math.floor(maxEntries * USED_SHARE)
    );
  }
}

/** Encoded forms depend on the body alone: where a newer response has the same one, they go on with it. */
function keepForms(before: StoreItem | undefined, item: StoreItem): void {
  if (before?.kind !== 'response' || item.kind !== 'response' || !before.encoded || item.encoded) return;
  if (before.body.equals(item.body)) item.encoded = before.encoded;
}
