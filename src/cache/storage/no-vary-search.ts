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
 * Responses that answer for URLs of equivalent queries (No-Vary-Search), over those that answer for one URL.
 *
 * What a response says of its path's queries is noted in the store. From then on a request is looked up under what
 * stands for all equivalent queries; and under its own URL, where responses without the field lie. A note of
 * something else replaces the first, and what was stored under that is not found any more: two ways to normalise may
 * give one text for queries that are not equivalent.
 */
export class EquivalentQueries {
  readonly #entries: VariantStore;
  readonly #shared: Pick<RedisTierLookups, 'put'> | undefined;
  /** Tells notes of one path apart, and what was stored under them. */
  #generation = 0;

  /** @param shared where instances share what each of them stores. */
  constructor(entries: VariantStore, shared?: Pick<RedisTierLookups, 'put'>) {
    this.#entries = entries;
    this.#shared = shared;
  }

  /** No response has said so far that queries are equivalent: every request is looked up under its own URL alone. */
  get isUnused(): boolean {
    return this.#generation === 0;
  }

  /** The key under which a request is looked up first, and waited for. */
  keyNow(keys: RequestKeys): string {
    const note = this.#noteFor(keys);
    return note ? keys.under(note) : keys.exact;
  }

  /** @param isUse whether it is looked for to be used; otherwise nothing is noted. */
  find(key: string, keys: RequestKeys, request: RequestHeaders, isUse = true): FoundVariant {
    const found = this.#entries.find(key, request, isUse);
    if (key === keys.exact) return found;
    if (isUse) this.#entries.store.get(keys.path); // the note is as wanted as what it leads to
    if (!found.entry) {
      const exact = this.#entries.find(keys.exact, request, isUse);
      return exact.entry || exact.variesOtherwise ? exact : found;
    }
    // Older, since a newer one would have taken the place of this: it must not come back when this has gone.
    if (isUse) this.#entries.deleteAll(keys.exact);
    return found;
  }

  /** Whether a response, stored or about to be, was made for a request like this one, or an equivalent one. */
  matches(keys: RequestKeys, entry: ResponseHead, request: RequestHeaders): boolean {
    const key = this.keyNow(keys);
    if (this.#entries.matches(key, entry, request)) return true;
    return key !== keys.exact && this.#entries.matches(keys.exact, entry, request);
  }

  /** The key under which a response belongs before its `Vary` is looked at; what it says of its path is noted. */
  homeFor(keys: RequestKeys, variance: SearchVariance | undefined): string {
    if (!variance) return keys.exact;
    const known = this.#noteFor(keys);
    if (known && isSameVariance(known.variance, variance)) return keys.under(known);
    const note: VarianceNote = { kind: 'variance', variance, generation: ++this.#generation };
    return this.#entries.store.set(keys.path, note) ? keys.under(note) : keys.exact;
  }

  /** Stores a response in its home; what answered for this URL elsewhere goes. */
  put(keys: RequestKeys, home: string, entry: StoredResponse, vary: readonly string[]): void {
    const other = home === keys.exact ? this.keyNow(keys) : keys.exact;
    if (other !== home) this.#entries.deleteAll(other);
    this.#entries.put(home, entry, vary);
    // Another instance could not tell for which queries it was looked for.
    if (this.#shared && home === keys.exact) void unawaited(this.#shared.put(home, entry), 'redis write');
  }

  #noteFor(keys: RequestKeys): VarianceNote | undefined {
    if (this.#generation === 0) return undefined; // nobody uses it
    const note = this.#entries.store.peek(keys.path);
    return note?.kind === 'variance' ? note : undefined;
  }
}

/** Whether an entry of another URL answers for the one that is selected. */
export function coversSelector(
  { variance, url, path, host }: ResponseHead,
  { kind, value }: CompiledSelector,
): boolean {
  if (!variance || kind !== 'url') return false;
  const wanted = splitTarget(value);
  const isPath = wanted.path === urlName(path) || (host !== undefined && wanted.path === urlName(path, host));
  return isPath && equivalentQuery(wanted.query, splitTarget(url).query, variance);
}
