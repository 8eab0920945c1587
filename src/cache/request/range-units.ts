import { LRUCache } from 'lru-cache';
import { isByteRange } from '../../http/range.js';
import type { StoredResponse } from '../../store/stored-response.js';

/** Keys that are remembered. */
const MOST_REMEMBERED = 10_000;

/**
 * Range units of an app's own, such as `items=25-49`. A cache knows bytes alone, and may answer with the whole
 * (RFC 9110 §14.2), but not where the handler would have answered with another page.
 */
export class RangeUnits {
  /** Made with the first: it takes its memory at once. */
  #keys: LRUCache<string, true> | undefined;

  /** Notes that the handler was asked for a range of its own unit. */
  note(key: string, range: string | undefined): void {
    if (range === undefined || isByteRange(range)) return;
    this.#keys ??= new LRUCache({ max: MOST_REMEMBERED });
    this.#keys.set(key, true);
  }

  /** Whether a request is for the handler, which may know the unit that it asks for. */
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
