import { MOST_NAMES } from '../../http/vary.js';
import { Compactor } from '../../store/compact-response.js';
import type { MemoryStore } from '../../store/memory/memory-store.js';
import {
  copyItem,
  type KeptItem,
  type ResponseHead,
  type StoredResponse,
  type StoredResult,
  type StoreItem,
} from '../../store/stored-response.js';
import type { CacheSettings } from '../options.js';
import { type HeaderSelector, headerSelector, type RequestHeaders, variantKey } from '../request/key.js';

/** Maximum variants of one key. Newer ones replace older ones: a flood of header values must not fill the cache. */
const MOST_VARIANTS = 32;

const NONE: readonly string[] = [];

/** The result of a lookup. */
export interface FoundVariant {
  readonly entry?: StoredResponse;
  /** There are variants, but none for this request. */
  readonly variesOtherwise?: boolean;
}

/** Stores responses and their variants (RFC 9111 §4.1) in a store of single items. */
export class VariantStore {
  readonly store: MemoryStore;
  /** Returns the value of a request header that distinguishes variants. */
  readonly select: HeaderSelector;
  readonly #compactor = new Compactor();

  constructor(store: MemoryStore, profile: CacheSettings['profile']) {
    this.store = store;
    this.select = headerSelector(profile);
  }

  /**
   * Finds the response for a request.
   *
   * @param isUse `false`: counts no use, and returns a copy.
   */
  find(key: string, request: RequestHeaders, isUse = true): FoundVariant {
    const item = isUse ? this.store.get(key) : this.#copy(key);
    if (!item) return {};
    if (item.kind === 'response') {
      if (item.key !== key) return {};
      return isForOrigin(item, NONE, request) ? { entry: item } : { variesOtherwise: true };
    }
    if (item.kind !== 'variants') return {};
    const wanted = variantKey(key, item.names, request, this.select);
    const variant = isUse ? this.store.get(wanted) : this.#copy(wanted);
    return variant?.kind === 'response' && variant.key === wanted && isForOrigin(variant, item.names, request)
      ? { entry: variant }
      : { variesOtherwise: true };
  }

  /** The key of the variant for a request, with these header names. */
  variantKeyOf(key: string, names: readonly string[], request: RequestHeaders): string {
    return variantKey(key, names, request, this.select);
  }

  /** The key under which a response with this `Vary` is stored. */
  keyFor(key: string, vary: readonly string[], request: RequestHeaders): string {
    const names = this.#namesFor(key, vary);
    return names.length === 0 ? key : variantKey(key, names, request, this.select);
  }

  /** Whether a response was made for a request like this one. */
  matches(key: string, entry: ResponseHead, request: RequestHeaders): boolean {
    const names = this.#namesFor(key, entry.vary);
    const own = names.length === 0 ? key : variantKey(key, names, request, this.select);
    return entry.key === own && isForOrigin(entry, names, request);
  }

  /** Returns the response in its compact form, which shares no mutable data with the caller. */
  compact(head: ResponseHead, kept: KeptItem): StoredResponse {
    return this.#compactor.compact(head, kept);
  }

  /** Whether a response with this `Vary` can be stored beside the other responses of the key. */
  accepts(key: string, vary: readonly string[]): boolean {
    return vary.length === 0 || this.#namesFor(key, vary).length <= MOST_NAMES;
  }

  /** @returns whether it is stored now. */
  put(key: string, entry: StoredResponse, vary: readonly string[]): boolean {
    const names = this.#namesFor(key, vary);
    if (names.length === 0) return this.store.set(entry.key, entry); // the same string as `key`, so memory holds it once
    if (names.length > MOST_NAMES) return false;
    const before = this.store.peek(key);
    const known = before?.kind === 'variants' ? before : undefined;
    // Stored when fewer names were known, so the right requests for it are unknown.
    const kept = known && known.names.length === names.length ? known.keys : [];
    for (const old of known?.keys ?? []) if (!kept.includes(old)) this.store.delete(old);
    const keys = kept.filter((old) => old !== entry.key);
    keys.push(entry.key);
    if (keys.length > MOST_VARIANTS) this.store.evict(this.#takeLeastUsed(keys), 'variants');
    this.store.set(key, { kind: 'variants', names, keys });
    return this.store.set(entry.key, entry);
  }

  /** Whether the entry is still stored: neither evicted nor replaced. */
  holds(entry: StoredResponse): boolean {
    return this.store.peek(entry.key) === entry;
  }

  /** Deletes one response; its other variants stay. */
  drop(entry: StoredResponse): void {
    if (this.holds(entry)) this.store.delete(entry.key);
  }

  /** Deletes the response under its own key, even one that was stored since. */
  deleteVariant(key: string): void {
    if (this.responseAt(key)) this.store.delete(key);
  }

  /** The response under its own key. Counts no use. */
  responseAt(key: string): StoredResponse | undefined {
    const item = this.store.peek(key);
    return item?.kind === 'response' ? item : undefined;
  }

  /** Replaces one response with another, if it is still stored. */
  replace(entry: StoredResponse, by: StoredResponse): void {
    if (this.holds(entry)) this.store.set(entry.key, by);
  }

  /** Deletes the responses of a key, with all variants. */
  deleteAll(key: string): void {
    const item = this.store.peek(key);
    if (item?.kind === 'variants') for (const variant of item.keys) this.store.delete(variant);
    if (item) this.store.delete(key);
  }

  erase(matches: (entry: StoredResponse | StoredResult) => boolean): number {
    return this.store.erase(
      (item: StoreItem) => (item.kind === 'response' || item.kind === 'result') && matches(item),
    );
  }

  /** The variants of a key; `undefined` if its responses do not vary. */
  variantsOf(key: string): { names: readonly string[]; count: number } | undefined {
    const item = this.store.peek(key);
    if (item?.kind !== 'variants') return undefined;
    return { names: item.names, count: item.keys.filter((variant) => this.store.peek(variant)).length };
  }

  #copy(key: string): StoreItem | undefined {
    const item = this.store.peek(key);
    return item && copyItem(item);
  }

  /** Takes the oldest variant without a second request, else the oldest; never the last, which is new. */
  #takeLeastUsed(keys: string[]): string {
    const unused = keys.findIndex((key, at) => at < keys.length - 1 && !this.store.isUsed(key));
    return keys.splice(Math.max(0, unused), 1)[0]!;
  }

  #namesFor(key: string, vary: readonly string[]): readonly string[] {
    const item = this.store.peek(key);
    const known = item?.kind === 'variants' ? item.names : [];
    if (vary.every((name) => known.includes(name))) return known;
    return [...new Set([...known, ...vary])].sort();
  }
}

/**
 * Whether pages of the request's origin can use the response. Without CORS headers, they can't (Fetch standard, §3.3).
 */
function isForOrigin(entry: ResponseHead, names: readonly string[], request: RequestHeaders): boolean {
  return request.headers.origin === undefined || entry.anyOrigin || names.includes('origin');
}
