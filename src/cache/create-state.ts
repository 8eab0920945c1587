import { performance } from 'node:perf_hooks';
import { reportFault } from '../exchange/run-listeners.js';
import { HttpDates } from '../http/http-date.js';
import { unawaited } from '../runtime/guard.js';
import { runInOwnContext } from '../runtime/module-context.js';
import { MemoryLog } from '../store/invalidation/invalidation-log.js';
import { MemoryStore } from '../store/memory/memory-store.js';
import { openRedisTier } from '../store/redis/redis-tier.js';
import { Collapser } from './collapse/collapser.js';
import type { CacheSettings } from './options.js';
import { RangeUnits } from './request/range-units.js';
import { RefreshMarks } from './revalidate/refresh-marks.js';
import { RefreshQueue } from './revalidate/refresh-queue.js';
import { storedHeaderNames } from './serve/stored-headers.js';
import { type CacheState, noRefreshes, zeroBySelector } from './state.js';
import { EncodedBodies } from './storage/encoded-bodies.js';
import { EquivalentQueries } from './storage/no-vary-search.js';
import { RedisTierLookups } from './storage/redis-tier-lookups.js';
import { VariantStore } from './storage/variants.js';

/** What one cache shares among its parts, with its tiers opened. */
export function createState(settings: CacheSettings): CacheState {
  const clock = () => performance.now();
  const store = new MemoryStore(settings.memory);
  const entries = new VariantStore(store, settings.profile);
  const { redis: place, maxEntryBytes, maxStaleness } = settings;
  const redis =
    place &&
    // Its connection and the reading of the log serve all clients; the cache may be made within a request of one.
    runInOwnContext(() =>
      openRedisTier({ ...place, maxEntryBytes, maxStaleness }, (error, where) => state.fault(error, where)),
    );
  const log = redis?.log ?? new MemoryLog(clock);
  const shared =
    redis &&
    new RedisTierLookups({
      store: redis.store,
      log: redis.log,
      entries,
      clock,
      deadline: place.readTimeout * 1000,
      fault: (error, where) => state.fault(error, where),
    });
  const state: CacheState = {
    settings,
    clock,
    dates: new HttpDates(),
    entries,
    equivalents: new EquivalentQueries(entries, shared),
    storedNames: storedHeaderNames(settings.perResponseHeaders),
    rangeUnits: new RangeUnits(),
    encodings: new EncodedBodies(store, log, (error, where) => state.fault(error, where)),
    log,
    redis,
    shared,
    collapser: new Collapser(settings.hitForMiss),
    refreshMarks: new RefreshMarks(
      { refused: settings.noBackgroundRefresh, failed: settings.refreshBackoff },
      clock,
    ),
    refreshQueue: new RefreshQueue(settings.refreshConcurrency),
    frontDoor: { isOpen: false, hits: 0 },
    counts: {
      hits: 0,
      misses: 0,
      memory: { hits: 0, misses: 0 },
      stale: 0,
      refreshes: 0,
      refreshResults: noRefreshes(),
      refreshRefusals: new Map(),
      revalidated: 0,
      collapsed: 0,
      stores: 0,
      purges: { purge: zeroBySelector(), expire: zeroBySelector() },
      invalidations: 0,
      bypasses: new Map(),
      refusals: new Map(),
    },
    fault(error, where) {
      if (!settings.onError) return reportFault(`cache (${where})`, error);
      try {
        const result: unknown = settings.onError(error, where);
        // Typed as returning nothing, but an async function fits that type as well.
        if (result !== undefined) void unawaited(result, 'cache.onError');
      } catch (second) {
        reportFault('cache.onError', second);
      }
    },
  };
  return state;
}
