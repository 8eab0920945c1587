import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { StoredResponse } from '../../store/stored-response.js';

/** How a stale entry may be used instead of running the handler for a waiting client. */
export type StaleUse =
  /** Serve it, and refresh it in the background. */
  | 'refresh'
  /** Serve it without a refresh, because the last one has just failed. */
  | 'wait'
  /** Do not serve it: a client's own request leads in the foreground. */
  | 'foreground';

/** How long refreshes of a key are paused. Seconds. */
export interface RefreshPauses {
  /** After the first refused or ended refresh. Doubles with each further one. */
  readonly refused: number;
  /** After the first failure. Doubles with each further one; 0 disables the pause. */
  readonly failed: number;
}

interface Mark {
  readonly kind: 'refused' | 'failed';
  /** No background refresh before this time. Milliseconds on the cache's clock. */
  readonly until: number;
  /** The current pause, which the next one doubles. Seconds. */
  readonly pause: number;
  readonly reason: string;
  /** When the last refused or ended refresh was complete. Earlier entries are not served stale. `-Infinity`: never. */
  readonly endedAt: number;
}

/** Maximum pauses, unless the first pause is longer. Seconds. */
const LONGEST_REFUSED = 3600;
const LONGEST_FAILED = 30;

/** Maximum pause that a `Retry-After` can set. Seconds. */
const LONGEST_RETRY_AFTER = 3600;

/** Maximum marks. Each takes about 250 bytes, whatever the length of its key. */
const MOST_MARKS = 20_000;

/**
 * Remembers entries whose background refreshes have failed (back-off), were refused or have ended
 * (`no-background-refresh`). The entry's own key identifies a mark, so each variant has its own.
 *
 * A mark outlives its pause: until it expires in Redis, an entry from before an ended refresh may be read again.
 */
export class RefreshMarks {
  readonly #pauses: RefreshPauses;
  readonly #clock: () => number;
  /** Bounded by size with weight 1, because `max` would allocate all memory at once. */
  readonly #marks = new LRUCache<string, Mark>({ maxSize: MOST_MARKS, sizeCalculation: () => 1 });

  /** @param clock the cache's clock. Milliseconds. */
  constructor(pauses: RefreshPauses, clock: () => number) {
    this.#pauses = pauses;
    this.#clock = clock;
  }

  /** How an entry may be used once it is stale. Changes nothing. */
  useOf(entry: Pick<StoredResponse, 'key' | 'storedAt'>): StaleUse {
    const mark = this.#markOf(entry.key);
    if (!mark) return 'refresh';
    if (entry.storedAt < mark.endedAt) return 'foreground';
    if (this.#clock() >= mark.until) return 'refresh';
    return mark.kind === 'refused' ? 'foreground' : 'wait';
  }

  /** Whether a background refresh may start for the key now. */
  mayRefresh(key: string): boolean {
    const mark = this.#markOf(key);
    return !mark || this.#clock() >= mark.until;
  }

  /** Whether a refresh of the key was refused or has failed since the last stored one. */
  has(key: string): boolean {
    return this.#markOf(key) !== undefined;
  }

  /** Why the key is marked `no-background-refresh`; `undefined` if it is not. */
  reasonFor(entry: Pick<StoredResponse, 'key' | 'storedAt'>): string | undefined {
    return this.useOf(entry) === 'foreground' ? this.#markOf(entry.key)?.reason : undefined;
  }

  /**
   * A refresh was refused, or its response has ended stale serving.
   *
   * @param stored the response that is stored under the key now. It was made before the refresh was complete.
   * @param retryAfter the delay that the response requests. Seconds.
   */
  refuse(key: string, reason: string, stored?: Pick<StoredResponse, 'storedAt'>, retryAfter = 0): void {
    const before = this.#markOf(key);
    const pause = nextPause(before, 'refused', this.#pauses.refused, LONGEST_REFUSED);
    this.#set(key, {
      kind: 'refused',
      until: this.#until(pause, retryAfter),
      pause,
      reason,
      // In whole milliseconds, like the times of entries.
      endedAt: Math.max(Math.floor(this.#clock()), (stored?.storedAt ?? Number.NEGATIVE_INFINITY) + 1),
    });
  }

  /** A refresh has failed. @param retryAfter as for `refuse`. */
  fail(key: string, reason: string, retryAfter = 0): void {
    const before = this.#markOf(key);
    // A run that completes a body for followers may fail while the key is marked. The mark stays.
    if (before?.kind === 'refused' && this.#clock() < before.until) return;
    const pause = nextPause(before, 'failed', this.#pauses.failed, LONGEST_FAILED);
    const endedAt = before?.endedAt ?? Number.NEGATIVE_INFINITY;
    this.#set(key, { kind: 'failed', until: this.#until(pause, retryAfter), pause, reason, endedAt });
  }

  /**
   * A response was stored.
   *
   * @param isRefreshed a background refresh stored it, so refreshes are allowed again. A client's own request does not
   * show that the app accepts refreshes.
   */
  stored(key: string, isRefreshed: boolean): void {
    const mark = this.#markOf(key);
    if (!mark || (mark.kind === 'refused' && !isRefreshed)) return;
    if (isRefreshed || mark.endedAt === Number.NEGATIVE_INFINITY) this.#marks.delete(nameOf(key));
    else this.#set(key, { ...mark, until: this.#clock(), pause: this.#pauses.failed / 2 });
  }

  /** The number of marks. */
  get size(): number {
    return this.#marks.size;
  }

  #markOf(key: string): Mark | undefined {
    return this.#marks.size === 0 ? undefined : this.#marks.get(nameOf(key));
  }

  #set(key: string, mark: Mark): void {
    this.#marks.set(nameOf(key), mark);
  }

  #until(pause: number, retryAfter: number): number {
    return this.#clock() + Math.max(pause, Math.min(retryAfter, LONGEST_RETRY_AFTER)) * 1000;
  }
}

function nextPause(before: Mark | undefined, kind: Mark['kind'], first: number, longest: number): number {
  return before?.kind === kind ? Math.min(before.pause * 2, Math.max(longest, first)) : first;
}

/** Hashes a key, which clients choose and which may be as long as a URL. 128 bits without known collisions. */
function nameOf(key: string): string {
  return createHash('sha256').update(key).digest().toString('latin1', 0, 16);
}
