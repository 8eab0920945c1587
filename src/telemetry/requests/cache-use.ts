import { copyText } from '../../runtime/owned-memory.js';

/** Results of the cache for the requests of one route, or of all. */
export interface CacheUseFigures {
  /** Requests that the cache handled. */
  readonly requests: number;
  /** Served from the cache, fresh. */
  readonly hits: number;
  /** Served from the cache past their lifetime. */
  readonly stale: number;
  /** Stored responses that the handler revalidated with a 304. */
  readonly revalidated: number;
  /** Answered by the handler. */
  readonly misses: number;
  /** Answered by the handler, where neither a rule nor the response declares it cacheable. */
  readonly passes: number;
  /** Answered by the handler, without a part of the cache in it. */
  readonly bypasses: number;
  /**
   * Share of `hits` and `stale` in the requests that could be cached (`hits`, `stale`, `misses` and `revalidated`), from
   * 0 to 1; `null` without such requests.
   */
  readonly hitRatio: number | null;
  /** Bodies that were served from the cache, before compression. Bytes. */
  readonly servedBytes: number;
  /** The time that handlers took until the headers, added up for each time that their response was served again. Seconds. */
  readonly savedSeconds: number;
  /** Why requests bypassed the cache, in the words of `Cache-Status`, with counts. */
  readonly bypassReasons: Readonly<Record<string, number>>;
  /** Why responses were not stored, in the words of `Cache-Status`, with counts. */
  readonly refusalReasons: Readonly<Record<string, number>>;
}

/** Different words that are counted apart for a route; a handler may invent its own. */
const MOST_REASONS = 30;

/** Longer ones are cut, so that the snapshot of an instance stays within its limit. Characters. */
const LONGEST_REASON = 60;

/** The word for all others. */
const OTHER_REASON = 'other';

/** Counts of the results of the cache. */
export class CacheUse {
  hits = 0;
  stale = 0;
  revalidated = 0;
  misses = 0;
  passes = 0;
  bypasses = 0;
  servedBytes = 0;
  /** Milliseconds. */
  savedMs = 0;
  readonly bypassReasons = new Map<string, number>();
  readonly refusalReasons = new Map<string, number>();

  /**
   * @param result as `X-Cache` says it.
   * @param reason of a bypass, or why a response was not stored.
   */
  record(result: string, reason: string | undefined): void {
    if (result === 'HIT') this.hits++;
    else if (result === 'MISS' || result === 'PASS') {
      if (result === 'MISS') this.misses++;
      else this.passes++;
      if (reason !== undefined) countReason(this.refusalReasons, reason);
    } else if (result === 'STALE') this.stale++;
    else if (result === 'REVALIDATED') this.revalidated++;
    else {
      this.bypasses++;
      countReason(this.bypassReasons, reason ?? OTHER_REASON);
    }
  }

  /** A stored response was served in the place of the handler's. */
  served(bytes: number, savedMs: number): void {
    this.servedBytes += bytes;
    this.savedMs += savedMs;
  }

  add(other: CacheUse): void {
    this.hits += other.hits;
    this.stale += other.stale;
    this.revalidated += other.revalidated;
    this.misses += other.misses;
    this.passes += other.passes;
    this.bypasses += other.bypasses;
    this.servedBytes += other.servedBytes;
    this.savedMs += other.savedMs;
    for (const [word, count] of other.bypassReasons) countReason(this.bypassReasons, word, count);
    for (const [word, count] of other.refusalReasons) countReason(this.refusalReasons, word, count);
  }

  get requests(): number {
    return this.#cacheable + this.passes + this.bypasses;
  }

  get #cacheable(): number {
    return this.hits + this.stale + this.revalidated + this.misses;
  }

  /** Numbers that only grow; the differences of two readings are those of the time between them. */
  get totals(): { reused: number; cacheable: number; servedBytes: number } {
    return { reused: this.hits + this.stale, cacheable: this.#cacheable, servedBytes: this.servedBytes };
  }

  figures(): CacheUseFigures {
    const { requests, hits, stale, revalidated, misses, passes, bypasses, servedBytes, savedMs } = this;
    const cacheable = this.#cacheable;
    return {
      requests,
      hits,
      stale,
      revalidated,
      misses,
      passes,
      bypasses,
      hitRatio: cacheable > 0 ? (hits + stale) / cacheable : null,
      servedBytes,
      savedSeconds: savedMs / 1000,
      bypassReasons: Object.fromEntries(this.bypassReasons),
      refusalReasons: Object.fromEntries(this.refusalReasons),
    };
  }
}

function countReason(reasons: Map<string, number>, reason: string, count = 1): void {
  const word = reason.length > LONGEST_REASON ? copyText(reason.slice(0, LONGEST_REASON)) : reason;
  const known = reasons.has(word) || reasons.size < MOST_REASONS ? word : OTHER_REASON;
  reasons.set(known, (reasons.get(known) ?? 0) + count);
}
