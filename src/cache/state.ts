import type { HttpDates } from '../http/http-date.js';
import type { InvalidationLog, RecordKind } from '../store/invalidation/invalidation-log.js';
import type { CompiledSelector } from '../store/invalidation/selector.js';
import type { RedisTier } from '../store/redis/redis-tier.js';
import type { Collapser } from './collapse/collapser.js';
import type { EndedKeys } from './fill/ended-keys.js';
import type { CacheSettings } from './options.js';
import type { RangeUnits } from './request/range-units.js';
import type { RefreshMarks } from './revalidate/refresh-marks.js';
import type { RefreshQueue } from './revalidate/refresh-queue.js';
import type { StoredNames } from './serve/stored-headers.js';
import type { EncodedBodies } from './storage/encoded-bodies.js';
import type { EquivalentQueries } from './storage/no-vary-search.js';
import type { RedisTierLookups } from './storage/redis-tier-lookups.js';
import type { VariantStore } from './storage/variants.js';

export type SelectorCounts = Record<CompiledSelector['kind'], number>;

/** What became of a background refresh. */
export type RefreshResult = 'stored' | 'failed' | 'ended' | 'refused' | 'dropped';

/** What happened so far; each number only grows. */
export interface CacheCounts {
  hits: number;
  misses: number;
  /** What the memory tier had for requests, fresh or stale, and what it had not. */
  readonly memory: { hits: number; misses: number };
  /** Stale responses that were served. */
  stale: number;
  /** Requests of our own that refreshed, or tried to. */
  refreshes: number;
  /** What became of background refreshes. */
  readonly refreshResults: Record<RefreshResult, number>;
  /** Refreshes that were refused or have ended stale serving, by reason. */
  readonly refreshRefusals: Map<string, number>;
  /** Stale responses that the handler has confirmed. */
  revalidated: number;
  /** Requests that waited for another's fill and were served from it. */
  collapsed: number;
  stores: number;
  /** By the word that `Cache-Status` gives. */
  readonly bypasses: Map<string, number>;
  /** Responses that were not stored, by the word that `Cache-Status` gives. */
  readonly refusals: Map<string, number>;
  /** Those of `purge()`, `expire()` and `purgeAfter()`, by what they are meant for. */
  readonly purges: Readonly<Record<RecordKind, SelectorCounts>>;
  /** URLs and groups invalidated by unsafe methods. */
  invalidations: number;
}

/** What the parts of a cache know of the front door of its app. */
export interface FrontDoorState {
  isOpen: boolean;
  /** Hits that it has answered; they are among the hits. */
  hits: number;
}

/** What one cache shares among its parts. */
export interface CacheState {
  readonly settings: CacheSettings;
  readonly entries: VariantStore;
  readonly equivalents: EquivalentQueries;
  readonly storedNames: StoredNames;
  readonly rangeUnits: RangeUnits;
  readonly encodings: EncodedBodies;
  readonly log: InvalidationLog;
  /** The connection behind the shared tier and the log. */
  readonly redis: RedisTier | undefined;
  readonly shared: RedisTierLookups | undefined;
  readonly collapser: Collapser;
  readonly endedKeys: EndedKeys;
  readonly refreshMarks: RefreshMarks;
  readonly refreshQueue: RefreshQueue;
  readonly frontDoor: FrontDoorState;
  readonly counts: CacheCounts;
  /** Milliseconds, monotonic. */
  readonly clock: () => number;
  readonly dates: HttpDates;
  /** Reports what went wrong, to the user's hook or as a process warning. */
  readonly fault: (error: unknown, where: string) => void;
}

/** Counts a lookup in the memory tier. A request that Redis answered later was a miss here. */
export function countMemoryLookup({ memory }: CacheCounts, isFound: boolean): void {
  if (isFound) memory.hits++;
  else memory.misses++;
}

/** The counts of a new cache. */
export function noCounts(): CacheCounts {
  return {
    hits: 0,
    misses: 0,
    memory: { hits: 0, misses: 0 },
    stale: 0,
    refreshes: 0,
    refreshResults: { stored: 0, failed: 0, ended: 0, refused: 0, dropped: 0 },
    refreshRefusals: new Map(),
    revalidated: 0,
    collapsed: 0,
    stores: 0,
    purges: { purge: zeroBySelector(), expire: zeroBySelector() },
    invalidations: 0,
    bypasses: new Map(),
    refusals: new Map(),
  };
}

function zeroBySelector(): SelectorCounts {
  return { tag: 0, url: 0, pattern: 0, all: 0 };
}

/** Most different words that are counted apart; a handler may invent its own. */
const MOST_WORDS = 100;

export function countByWord(words: Map<string, number>, word: string): void {
  const known = words.has(word) || words.size < MOST_WORDS ? word : 'other';
  words.set(known, (words.get(known) ?? 0) + 1);
}
