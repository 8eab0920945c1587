import type { FunctionCounts } from '../functions/counts.js';
import type { HttpDates } from '../http/http-date.js';
import type { InvalidationLog, RecordKind } from '../store/invalidation/invalidation-log.js';
import type { CompiledSelector } from '../store/invalidation/selector.js';
import type { RedisTier } from '../store/redis/redis-tier.js';
import type { Collapser } from './collapse/collapser.js';
import type { EndedKeys } from './fill/ended-keys.js';
import type { CacheSettings } from './options.js';
import type { RangeUnits } from './request/range-units.js';
import { ResultsByRoute } from './results-by-route.js';
import type { RefreshMarks } from './revalidate/refresh-marks.js';
import type { RefreshQueue } from './revalidate/refresh-queue.js';
import type { StoredNames } from './serve/stored-headers.js';
import type { EncodedBodies } from './storage/encoded-bodies.js';
import type { EquivalentQueries } from './storage/no-vary-search.js';
import type { RedisTierLookups } from './storage/redis-tier-lookups.js';
import type { VariantStore } from './storage/variants.js';

export type SelectorCounts = Record<CompiledSelector['kind'], number>;

/** The outcome of a background refresh. */
export type RefreshResult = 'stored' | 'failed' | 'ended' | 'refused' | 'dropped';

/** Counts of events. Each number only increases. */
export interface CacheCounts {
  hits: number;
  misses: number;
  /** Requests that neither a rule nor the response allowed to be cached. */
  passes: number;
  /** The same results by the template of the route. */
  readonly routes: ResultsByRoute;
  /** Lookups in the memory tier that found an entry, fresh or stale, and those that found none. */
  readonly memory: { hits: number; misses: number };
  /** Stale responses that were served. */
  stale: number;
  /** Internal requests that were sent to refresh entries. */
  refreshes: number;
  /** Outcomes of background refreshes. */
  readonly refreshResults: Record<RefreshResult, number>;
  /** Refreshes that were refused or ended stale serving, by reason. */
  readonly refreshRefusals: Map<string, number>;
  /** Stale entries that the handler revalidated. */
  revalidated: number;
  /** Requests that were served from another request's fill. */
  collapsed: number;
  stores: number;
  /** Requests that bypassed the cache, by `detail` of `Cache-Status`. */
  readonly bypasses: Map<string, number>;
  /** Responses that were not stored, by `detail` of `Cache-Status`. */
  readonly refusals: Map<string, number>;
  /** Selectors of `purge()`, `expire()` and `purgeAfter()`, by kind. */
  readonly purges: Readonly<Record<RecordKind, SelectorCounts>>;
  /** URLs and groups invalidated by unsafe methods. */
  invalidations: number;
  /** The counts of cached functions, by name. */
  readonly functions: Map<string, FunctionCounts>;
}

/** State of the app's front door, for the other parts of a cache. */
export interface FrontDoorState {
  isOpen: boolean;
  /** Hits that it served; included in `hits`. */
  hits: number;
  /** Eligible requests that it has left to Express because of their response, by reason. */
  readonly skipped: Record<string, number>;
}

/** The state that the parts of one cache share. */
export interface CacheState {
  readonly settings: CacheSettings;
  readonly entries: VariantStore;
  readonly equivalents: EquivalentQueries;
  readonly storedNames: StoredNames;
  readonly rangeUnits: RangeUnits;
  readonly encodings: EncodedBodies;
  readonly log: InvalidationLog;
  /** The connection that the Redis tier and the log use. */
  readonly redis: RedisTier | undefined;
  readonly redisLookups: RedisTierLookups | undefined;
  readonly collapser: Collapser;
  readonly endedKeys: EndedKeys;
  readonly refreshMarks: RefreshMarks;
  readonly refreshQueue: RefreshQueue;
  /** Keys of the background fills that run or wait, for requests with cookies that their rule ignores. */
  readonly anonymousFills: Set<string>;
  readonly frontDoor: FrontDoorState;
  readonly counts: CacheCounts;
  /** Monotonic time. Milliseconds. */
  readonly clock: () => number;
  readonly dates: HttpDates;
  /** Reports an error to the user's `onError`, or as a process warning. */
  readonly fault: (error: unknown, where: string) => void;
}

/** Counts a lookup in the memory tier. A request that is later served from Redis is a miss here. */
export function countMemoryLookup({ memory }: CacheCounts, isFound: boolean): void {
  if (isFound) memory.hits++;
  else memory.misses++;
}

/** The counts of a new cache. */
export function noCounts(): CacheCounts {
  return {
    hits: 0,
    misses: 0,
    passes: 0,
    routes: new ResultsByRoute(),
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
    functions: new Map(),
    bypasses: new Map(),
    refusals: new Map(),
  };
}

function zeroBySelector(): SelectorCounts {
  return { tag: 0, url: 0, pattern: 0, all: 0 };
}

/** Maximum distinct reasons, because a handler may invent its own. */
const MOST_WORDS = 100;

export function countByWord(words: Map<string, number>, word: string): void {
  const known = words.has(word) || words.size < MOST_WORDS ? word : 'other';
  words.set(known, (words.get(known) ?? 0) + 1);
}
