import type { RedisTier } from '../store/redis/redis-tier.js';
import { type CacheCounts, type CacheState, noCounts } from './state.js';
import type { EncodingStats } from './storage/encoded-bodies.js';

/** One kind of command to Redis; each number only grows. */
export interface RedisOperationStats {
  readonly sent: number;
  /** Answered in time. */
  readonly answered: number;
  /** The time that these took in all. Seconds. */
  readonly seconds: number;
  /** Why there was no answer, by word: `timeout`, `connection`, `oom`, …; not sent: `down`, `open`, `busy`. */
  readonly unavailable: Readonly<Record<string, number>>;
}

/** How the shared tier and the log stand. */
export interface RedisStats {
  /** There is a connection that takes commands. */
  readonly ready: boolean;
  /** Of the breakers: reads and writes are judged apart. */
  readonly breaker: { readonly reads: string; readonly writes: string };
  readonly hits: number;
  readonly misses: number;
  /** What was there and could not be used, by reason. */
  readonly unusable: Readonly<Record<string, number>>;
  /** What was not written, by reason. */
  readonly refused: Readonly<Record<string, number>>;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Commands without answer. */
  readonly outstanding: number;
  readonly operations: Readonly<Record<string, RedisOperationStats>>;
  readonly log: {
    /** It is followed; otherwise entries are used for `maxStaleness` at most. */
    readonly inContact: boolean;
    /** Entries of other instances may be used: it is read to its end, and nothing of ours waits to be written. */
    readonly shares: boolean;
    /** Records that were still to be read when Redis was last asked. */
    readonly lag: number;
    /** Records of ours that wait for Redis. */
    readonly queued: number;
    /** Tags, URLs and patterns remembered. */
    readonly remembered: number;
    readonly records: number;
    /** Times that everything in memory became void: the log began anew, or records were missed. */
    readonly voided: number;
  };
}

/** The counts of a cache since it was made. */
export interface CacheStats {
  readonly hits: number;
  readonly misses: number;
  /** Stale responses that were served. */
  readonly stale: number;
  /** Requests of our own, made to refresh what is stale. */
  readonly refreshes: number;
  /** What became of background refreshes: `ended`: the answer could not be stored, which ends stale serving; `refused`: the app refused the request itself; `dropped`: too many waited. */
  readonly refreshResults: Readonly<Record<'stored' | 'failed' | 'ended' | 'refused' | 'dropped', number>>;
  /** Refreshes that were refused or ended stale serving, by reason: the status code, or why it was not stored. */
  readonly refreshRefusals: Readonly<Record<string, number>>;
  /** Background refreshes now. */
  readonly refreshing: { readonly running: number; readonly waiting: number };
  /** Stale responses that the handler has confirmed with a 304. */
  readonly revalidated: number;
  /** By reason. */
  readonly bypasses: Readonly<Record<string, number>>;
  /** Responses that were not stored, by reason. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Requests served from a fill that they waited for; they are among the hits. */
  readonly collapsed: number;
  /** Hits that were answered before Express (`attach`); they are among the hits. */
  readonly frontDoor: number;
  readonly stores: number;
  /** Purges and expiries together. */
  readonly purges: number;
  /** The same by kind, and by what they were meant for. */
  readonly purgesBy: Readonly<
    Record<'purge' | 'expire', Readonly<Record<'tag' | 'url' | 'pattern' | 'all', number>>>
  >;
  /** URLs (RFC 9111 §4.4) and groups (RFC 9875 §3) invalidated by unsafe methods. */
  readonly invalidations: number;
  /** Requests for which the memory tier had something, fresh or stale, and those for which it had not. */
  readonly memory: { readonly hits: number; readonly misses: number };
  /** In the memory tier now. */
  readonly entries: number;
  /** Bytes of the memory tier, keys, headers and tags counted. */
  readonly bytes: number;
  /** Fills under way that others may wait for. */
  readonly pending: number;
  /** Position of the invalidation log. */
  readonly position: number;
  /** Bodies that were encoded beforehand, where compression stands before the cache. */
  readonly encodings: EncodingStats;
  /** The tier and the log that instances share; absent without Redis. */
  readonly redis?: RedisStats;
}

/** @param state `false`: a cache that is off. */
export function readStats(state: CacheState | false): CacheStats {
  if (!state) {
    const encodings = { made: 0, useless: 0, upgraded: 0, discarded: 0, dropped: 0, waiting: 0 };
    const refreshing = { running: 0, waiting: 0 };
    const empty = { frontDoor: 0, entries: 0, bytes: 0, pending: 0, position: 0 };
    return { ...readCounts(noCounts()), ...empty, refreshing, encodings };
  }
  const { counts, entries, collapser, frontDoor, log, encodings, redis, refreshQueue } = state;
  return {
    ...readCounts(counts),
    refreshing: { running: refreshQueue.running, waiting: refreshQueue.waiting },
    frontDoor: frontDoor.hits,
    entries: entries.store.entries,
    bytes: entries.store.bytes,
    pending: collapser.size,
    position: log.position,
    encodings: encodings.stats,
    ...(redis && { redis: readRedisStats(redis) }),
  };
}

/** The statistics that only grow. */
function readCounts(counts: CacheCounts) {
  const { purge, expire } = counts.purges;
  return {
    hits: counts.hits,
    misses: counts.misses,
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
