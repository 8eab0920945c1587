import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { StoredResponse } from '../../store/stored-response.js';

/** What may be done with a stale entry instead of running the handler for the client that waits. */
export type StaleUse =
  /** Serve it, and refresh it in the background. */
  | 'refresh'
  /** Serve it without a refresh: the last one has just failed. */
  | 'wait'
  /** Not serve it: a client's own request leads in the foreground. */
  | 'foreground';

/** How long refreshes of a key pause. Seconds. */
export interface RefreshPauses {
  /** After the first refused or ended refresh; each further one doubles it. */
  readonly refused: number;
  /** After the first failure; each further one doubles it. 0: not at all. */
  readonly failed: number;
}

interface Mark {
  readonly kind: 'refused' | 'failed';
  /** No background refresh before then, on the cache's clock. Milliseconds. */
  readonly until: number;
  /** Seconds, to be doubled by the next. */
  readonly pause: number;
  readonly reason: string;
  /** When the last refused or ended refresh was complete: no entry from before is served stale. `-Infinity`: there was none. */
  readonly endedAt: number;
}

/** Longest pauses, unless the first is longer. Seconds. */
const LONGEST_REFUSED = 3600;
const LONGEST_FAILED = 30;

/** Longest pause that a `Retry-After` is followed for. Seconds. */
const LONGEST_ASKED = 3600;

/** Entries whose marks are remembered; each takes some 250 bytes, however long its key is. */
const MOST_MARKS = 20_000;

/**
 * Remembers for which entries background refreshes are of no use: `no-background-refresh` for refused and ended ones,
 * a back-off for failed ones. By the entry's own key, so that variants have marks of their own.
 *
 * A mark outlives its pause: an entry from before an ended refresh may come back from Redis as long as it lies there.
 */
export class RefreshMarks {
  readonly #pauses: RefreshPauses;
  readonly #clock: () => number;
  /** Sized and not counted: with `max` it would take its memory at once. */
  readonly #marks = new LRUCache<string, Mark>({ maxSize: MOST_MARKS, sizeCalculation: () => 1 });

  /** @param clock of the cache. Milliseconds. */
  constructor(pauses: RefreshPauses, clock: () => number) {
    this.#pauses = pauses;
    this.#clock = clock;
  }

  /** What may be done with an entry once it is stale. Changes nothing. */
  useOf(entry: Pick<StoredResponse, 'key' | 'storedAt'>): StaleUse {
    const mark = this.#of(entry.key);
    if (!mark) return 'refresh';
    if (entry.storedAt < mark.endedAt) return 'foreground';
    if (this.#clock() >= mark.until) return 'refresh';
    return mark.kind === 'refused' ? 'foreground' : 'wait';
  }

  /** Whether a background refresh may be made for the key now. */
  mayRefresh(key: string): boolean {
    const mark = this.#of(key);
    return !mark || this.#clock() >= mark.until;
  }

  /** Whether a refresh of the key was refused, or has failed, since the last that was stored. */
  has(key: string): boolean {
    return this.#of(key) !== undefined;
  }

  /** Why the key is marked `no-background-refresh`; `undefined` where it is not. */
  reasonFor(entry: Pick<StoredResponse, 'key' | 'storedAt'>): string | undefined {
    return this.useOf(entry) === 'foreground' ? this.#of(entry.key)?.reason : undefined;
  }

  /**
   * A refresh was refused, or its answer has ended stale serving.
   *
   * @param stored the response that is stored under the key now: whatever it shows, it was made before the refresh was
   * complete.
   * @param retryAfter what the answer asks for. Seconds.
   */
  refuse(key: string, reason: string, stored?: Pick<StoredResponse, 'storedAt'>, retryAfter = 0): void {
    const before = this.#of(key);
    const pause = doubled(before, 'refused', this.#pauses.refused, LONGEST_REFUSED);
    this.#set(key, {
      kind: 'refused',
      until: this.#until(pause, retryAfter),
      pause,
      reason,
      // In whole milliseconds, as the times of entries are.
      endedAt: Math.max(Math.floor(this.#clock()), (stored?.storedAt ?? Number.NEGATIVE_INFINITY) + 1),
    });
  }

  /** A refresh has failed. @param retryAfter as for `refuse`. */
  fail(key: string, reason: string, retryAfter = 0): void {
    const before = this.#of(key);
    // Another run may fail while the key is marked, to bring the rest of a body; the mark stays.
    if (before?.kind === 'refused' && this.#clock() < before.until) return;
    const pause = doubled(before, 'failed', this.#pauses.failed, LONGEST_FAILED);
    const endedAt = before?.endedAt ?? Number.NEGATIVE_INFINITY;
    this.#set(key, { kind: 'failed', until: this.#until(pause, retryAfter), pause, reason, endedAt });
  }

  /**
   * A response was stored.
   *
   * @param isRefreshed by a background refresh, which is allowed again then; a client's own request shows nothing of
   * whether the app would answer one.
   */
  stored(key: string, isRefreshed: boolean): void {
    const mark = this.#of(key);
    if (!mark || (mark.kind === 'refused' && !isRefreshed)) return;
    if (isRefreshed || mark.endedAt === Number.NEGATIVE_INFINITY) this.#marks.delete(nameOf(key));
    else this.#set(key, { ...mark, until: this.#clock(), pause: this.#pauses.failed / 2 });
  }

  /** Marks that are remembered. */
  get size(): number {
    return this.#marks.size;
  }

  #of(key: string): Mark | undefined {
    return this.#marks.size === 0 ? undefined : this.#marks.get(nameOf(key));
  }

  #set(key: string, mark: Mark): void {
    this.#marks.set(nameOf(key), mark);
  }

  #until(pause: number, retryAfter: number): number {
    return this.#clock() + Math.max(pause, Math.min(retryAfter, LONGEST_ASKED)) * 1000;
  }
}

function doubled(before: Mark | undefined, kind: Mark['kind'], first: number, longest: number): number {
  return before?.kind === kind ? Math.min(before.pause * 2, Math.max(longest, first)) : first;
}

/** A key may be as long as a URL, and clients choose it: 128 bits that nobody can make collide. */
function nameOf(key: string): string {
  return createHash('sha256').update(key).digest().toString('latin1', 0, 16);
}
