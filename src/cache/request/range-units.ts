import { LRUCache } from 'lru-cache';
import { isByteRange } from '../../http/range.js';
import type { StoredResponse } from '../../store/stored-response.js';

/** Remembered keys. */
const MOST_REMEMBERED = 10_000;

/**
 * Remembers keys whose handler may support its own range unit, such as `items=25-49`. A cache may ignore an unknown unit
 * and send the whole response (RFC 9110 §14.2), but the handler would have sent another page.
 */
export class RangeUnits {
  /** Created for the first key, because it allocates all its memory at once. */
  #keys: LRUCache<string, true> | undefined;

  /** Remembers a request for a unit other than bytes. */
  note(key: string, range: string | undefined): void {
    if (range === undefined || isByteRange(range)) return;
    this.#keys ??= new LRUCache({ max: MOST_REMEMBERED });
    this.#keys.set(key, true);
  }

  /** Whether the handler may support the requested unit, so that it must handle the request. */
  mayApply(key: string, range: string | undefined, entry: StoredResponse): boolean {
    if (range === undefined || isByteRange(range)) return false;
    return this.#keys?.has(key) === true || entry.headers.some(([name, value]) => namesUnit(name, value));
  }
}

function namesUnit(name: string, value: string | readonly string[]): boolean {
  const field = name.toLowerCase();
  if (field === 'content-range') return true;
  return field === 'accept-ranges' && !/^\s*(?:bytes|none)\s*$/i.test(String(value));
}
