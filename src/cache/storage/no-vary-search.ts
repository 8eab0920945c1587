import { equivalentQuery, isSameVariance, type SearchVariance } from '../../http/no-vary-search.js';
import { splitTarget } from '../../http/request-target.js';
import { unawaited } from '../../runtime/guard.js';
import type { CompiledSelector } from '../../store/invalidation/selector.js';
import {
  type ResponseHead,
  type StoredResponse,
  urlName,
  type VarianceNote,
} from '../../store/stored-response.js';
import type { RequestHeaders, RequestKeys } from '../request/key.js';
import type { RedisTierLookups } from './redis-tier-lookups.js';
import type { FoundVariant, VariantStore } from './variants.js';

/**
 * Finds responses that are valid for URLs with equivalent queries (No-Vary-Search).
 *
 * The declaration of a response is kept in the store as a note of its path. From then on, a request is looked up under
 * the common key of all equivalent queries. Then it is looked up under its own URL, for responses without a
 * declaration. A different declaration replaces the note, and entries under the old one are not found any more. Two
 * ways to normalise may give one text for queries that are not equivalent.
 */
export class EquivalentQueries {
  readonly #entries: VariantStore;
  readonly #redisLookups: Pick<RedisTierLookups, 'put'> | undefined;
  /** Distinguishes the successive notes of one path, and the entries stored under them. */
  #generation = 0;

  /** @param redisLookups of the Redis tier, if there is one. */
  constructor(entries: VariantStore, redisLookups?: Pick<RedisTierLookups, 'put'>) {
    this.#entries = entries;
    this.#redisLookups = redisLookups;
  }

  /** Whether no response has declared equivalent queries yet, so every request has only its own URL. */
  get isUnused(): boolean {
    return this.#generation === 0;
  }

  /** The key under which a request is looked up first, and under which it waits. */
  keyNow(keys: RequestKeys): string {
    const note = this.#noteFor(keys);
    return note ? keys.under(note) : keys.exact;
  }

  /** @param isUse `false`: counts no use and drops nothing. */
  find(key: string, keys: RequestKeys, request: RequestHeaders, isUse = true): FoundVariant {
    const found = this.#entries.find(key, request, isUse);
    if (key === keys.exact) return found;
    if (isUse) this.#entries.store.get(keys.path); // the note must stay as long as its entries
    if (!found.entry) {
      const exact = this.#entries.find(keys.exact, request, isUse);
      return exact.entry || exact.variesOtherwise ? exact : found;
    }
    // The one under the exact URL is older: a newer one would have replaced this. It must not be found later.
    if (isUse) this.#entries.deleteAll(keys.exact);
    return found;
  }

  /** Whether a response was made for a request like this one, or for one with an equivalent query. */
  matches(keys: RequestKeys, entry: ResponseHead, request: RequestHeaders): boolean {
    const key = this.keyNow(keys);
    if (this.#entries.matches(key, entry, request)) return true;
    return key !== keys.exact && this.#entries.matches(keys.exact, entry, request);
  }

  /** The key for storing a response, before its `Vary` applies. Notes its declaration. */
  homeFor(keys: RequestKeys, variance: SearchVariance | undefined): string {
    if (!variance) return keys.exact;
    const known = this.#noteFor(keys);
    if (known && isSameVariance(known.variance, variance)) return keys.under(known);
    const note: VarianceNote = { kind: 'variance', variance, generation: ++this.#generation };
    return this.#entries.store.set(keys.path, note) ? keys.under(note) : keys.exact;
  }

  /**
   * Stores a response under its home key, and deletes the responses that this URL had under other keys.
   *
   * @returns whether a tier stores it.
   */
  put(keys: RequestKeys, home: string, entry: StoredResponse, vary: readonly string[]): boolean {
    const other = home === keys.exact ? this.keyNow(keys) : keys.exact;
    if (other !== home) this.#entries.deleteAll(other);
    const isKept = this.#entries.put(home, entry, vary);
    // Without the note, other instances do not know which queries are equivalent.
    if (!this.#redisLookups || home !== keys.exact) return isKept;
    void unawaited(this.#redisLookups.put(home, entry), 'redis write');
    return true;
  }

  #noteFor(keys: RequestKeys): VarianceNote | undefined {
    if (this.#generation === 0) return undefined; // No response has declared any.
    const note = this.#entries.store.peek(keys.path);
    return note?.kind === 'variance' ? note : undefined;
  }
}

/** Whether a selected URL is equivalent to the URL of an entry. */
export function coversSelector(
  { variance, url, path, host }: ResponseHead,
  { kind, value }: CompiledSelector,
): boolean {
  if (!variance || kind !== 'url') return false;
  const wanted = splitTarget(value);
  const isPath = wanted.path === urlName(path) || (host !== undefined && wanted.path === urlName(path, host));
  return isPath && equivalentQuery(wanted.query, splitTarget(url).query, variance);
}
