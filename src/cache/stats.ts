import type { FunctionStats } from '../functions/counts.js';
import type { EvictionReason } from '../store/memory/memory-store.js';
import type { RedisTier } from '../store/redis/redis-tier.js';
import type { RouteResults } from './results-by-route.js';
import { type CacheCounts, type CacheState, noCounts } from './state.js';
import type { EncodingStats } from './storage/encoded-bodies.js';

/** Statistics of one kind of Redis command. All values only increase. */
export interface RedisOperationStats {
  readonly sent: number;
  /** Commands answered in time. */
  readonly answered: number;
  /** Total duration of the answered commands. Seconds. */
  readonly seconds: number;
  /** Commands without a reply, by reason: `timeout`, `connection`, `oom`, …; not sent: `down`, `open`, `busy`. */
  readonly unavailable: Readonly<Record<string, number>>;
}

/** State of the Redis tier and of the invalidation log. */
export interface RedisStats {
  /** Whether there is a connection that accepts commands. */
  readonly ready: boolean;
  /** States of the circuit breakers: one for reads, one for writes. */
  readonly breaker: { readonly reads: string; readonly writes: string };
  readonly hits: number;
  readonly misses: number;
  /** Entries that were read but not usable, by reason. */
  readonly unusable: Readonly<Record<string, number>>;
  /** Entries that were not written, by reason. */
  readonly refused: Readonly<Record<string, number>>;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Commands that wait for a reply. */
  readonly outstanding: number;
  readonly operations: Readonly<Record<string, RedisOperationStats>>;
  readonly log: {
    /** Whether the log is being read. If not, entries are served for at most `maxStaleness`. */
    readonly inContact: boolean;
    /** Whether entries of other instances may be used: the log has been read to its end, and no own record waits. */
    readonly shares: boolean;
    /** Unread records at the last reply from Redis. */
    readonly lag: number;
    /** Own records that wait for Redis. */
    readonly queued: number;
    /** Tags, URLs and patterns in the index. */
    readonly remembered: number;
    readonly records: number;
    /** How often all entries in memory became void, because the log was recreated or records were missed. */
    readonly voided: number;
  };
}

/** Statistics of a cache since it was created. */
export interface CacheStats {
  readonly hits: number;
  readonly misses: number;
  /** Requests that neither a rule nor the response allowed to be cached: no misses. */
  readonly passes: number;
  /** Requests of each route by result, by its template; `unmatched` without a route. */
  readonly routes: Readonly<Record<string, Readonly<RouteResults>>>;
  /** Stale responses that were served. */
  readonly stale: number;
  /** Internal requests that were sent to refresh stale entries. */
  readonly refreshes: number;
  /**
   * Outcomes of background refreshes. `ended`: the response was not storable, which ends stale serving. `refused`: the
   * app refused the request itself. `dropped`: too many waited.
   */
  readonly refreshResults: Readonly<Record<'stored' | 'failed' | 'ended' | 'refused' | 'dropped', number>>;
  /** Refreshes that were refused or ended stale serving, by reason: the status code, or why it was not stored. */
  readonly refreshRefusals: Readonly<Record<string, number>>;
  /** Background refreshes that run or wait now. */
  readonly refreshing: { readonly running: number; readonly waiting: number };
  /** Stale entries that the handler revalidated with a 304. */
  readonly revalidated: number;
  /** Requests that bypassed the cache, by reason. */
  readonly bypasses: Readonly<Record<string, number>>;
  /** Responses that were not stored, by reason. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Requests served from another request's fill; included in `hits`. */
  readonly collapsed: number;
  /** The front door (`attach`). */
  readonly frontDoor: {
    /** Hits served before Express; included in `hits`. */
    readonly hits: number;
    /** Eligible requests that it left to Express because of their response, by reason (docs/front-door.md). */
    readonly skipped: Readonly<Record<string, number>>;
  };
  readonly stores: number;
  /** Purges and expiries together. */
  readonly purges: number;
  /** `purges` by kind and selector. */
  readonly purgesBy: Readonly<
    Record<'purge' | 'expire', Readonly<Record<'tag' | 'url' | 'pattern' | 'all', number>>>
  >;
  /** URLs (RFC 9111 §4.4) and groups (RFC 9875 §3) invalidated by unsafe methods. */
  readonly invalidations: number;
  /** How the calls of each cached function went, by its name. */
  readonly functions: FunctionStats;
  /** Lookups in the memory tier that found an entry, fresh or stale, and those that found none. */
  readonly memory: { readonly hits: number; readonly misses: number };
  /** Responses removed from the memory tier to make room: for its bytes, its entries, or the variants of one URL. */
  readonly evictions: Readonly<Record<EvictionReason, number>>;
  /** The limits of the memory tier; 0 if the cache is off. */
  readonly limits: { readonly bytes: number; readonly entries: number };
  /** Entries in the memory tier now. */
  readonly entries: number;
  /** Size of the memory tier, with keys, headers and tags. Bytes. */
  readonly bytes: number;
  /** Fills in flight that other requests may wait for. */
  readonly pending: number;
  /** Position of the invalidation log. */
  readonly position: number;
  /** Encoded forms of stored bodies, if compression runs before the cache. */
  readonly encodings: EncodingStats;
  /** The Redis tier and the invalidation log; absent without Redis. */
  readonly redis?: RedisStats;
}

/** @param state `false` if the cache is off. */
export function readStats(state: CacheState | false): CacheStats {
  if (!state) {
    const encodings = { made: 0, useless: 0, upgraded: 0, discarded: 0, dropped: 0, waiting: 0 };
    const refreshing = { running: 0, waiting: 0 };
    const evictions = { bytes: 0, entries: 0, variants: 0 };
    const limits = { bytes: 0, entries: 0 };
    const frontDoor = { hits: 0, skipped: {} };
    const empty = { frontDoor, entries: 0, bytes: 0, pending: 0, position: 0 };
    return { ...readCounts(noCounts()), ...empty, refreshing, evictions, limits, encodings };
  }
  const { counts, entries, collapser, frontDoor, log, encodings, redis, refreshQueue, settings } = state;
  return {
    ...readCounts(counts),
    refreshing: { running: refreshQueue.running, waiting: refreshQueue.waiting },
    frontDoor: { hits: frontDoor.hits, skipped: { ...frontDoor.skipped } },
    entries: entries.store.entries,
    bytes: entries.store.bytes,
    evictions: { ...entries.store.evictions },
    limits: { bytes: settings.memory.maxBytes, entries: settings.memory.maxEntries },
    pending: collapser.size,
    position: log.position,
    encodings: encodings.stats,
    ...(redis && { redis: readRedisStats(redis) }),
  };
}

/** Copies the values that only increase. */
function readCounts(counts: CacheCounts) {
  const { purge, expire } = counts.purges;
  return {
    hits: counts.hits,
    misses: counts.misses,
    passes: counts.passes,
    routes: counts.routes.read(),
    stale: counts.stale,
    refreshes: counts.refreshes,
    refreshResults: { ...counts.refreshResults },
    refreshRefusals: Object.fromEntries(counts.refreshRefusals),
    revalidated: counts.revalidated,
    bypasses: Object.fromEntries(counts.bypasses),
    refusals: Object.fromEntries(counts.refusals),
    collapsed: counts.collapsed,
    stores: counts.stores,
    purges: [purge, expire].flatMap(Object.values<number>).reduce((sum, count) => sum + count),
    purgesBy: { purge: { ...purge }, expire: { ...expire } },
    invalidations: counts.invalidations,
    functions: Object.fromEntries(
      [...counts.functions].map(([name, { ...own }]) => [name, own]),
    ) satisfies FunctionStats,
    memory: { ...counts.memory },
  };
}

function readRedisStats({ store, log }: RedisTier): RedisStats {
  const { isReady, reads, writes, outstanding, operations, ...stats } = store.stats();
  const { lag, inContact, queued, remembered, counts } = log.stats;
  return {
    ready: isReady,
    breaker: { reads, writes },
    hits: stats.hits,
    misses: stats.misses,
    unusable: Object.fromEntries(stats.unusable),
    refused: Object.fromEntries(stats.refused),
    bytesRead: stats.bytesRead,
    bytesWritten: stats.bytesWritten,
    outstanding,
    operations: Object.fromEntries(
      [...operations].map(([name, { sent, answered, latency, unavailable }]) => [
        name,
        { sent, answered, seconds: latency / 1000, unavailable: Object.fromEntries(unavailable) },
      ]),
    ),
    log: {
      inContact,
      shares: log.canShare,
      lag,
      queued,
      remembered,
      records: counts.records,
      voided: counts.epochs + counts.holes + counts.unknown,
    },
  };
}
