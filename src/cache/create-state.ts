import { performance } from 'node:perf_hooks';
import { reportFault } from '../exchange/run-listeners.js';
import { FunctionCache } from '../functions/function-cache.js';
import { HttpDates } from '../http/http-date.js';
import { anyLifetime } from '../options/lifetimes.js';
import { unawaited } from '../runtime/guard.js';
import { runInOwnContext } from '../runtime/module-context.js';
import { MemoryLog } from '../store/invalidation/invalidation-log.js';
import { MemoryStore } from '../store/memory/memory-store.js';
import { openRedisTier, type RedisTier } from '../store/redis/redis-tier.js';
import { Collapser } from './collapse/collapser.js';
import { EndedKeys } from './fill/ended-keys.js';
import type { Purger } from './invalidate/purger.js';
import type { CacheSettings } from './options.js';
import { RangeUnits } from './request/range-units.js';
import { RefreshMarks } from './revalidate/refresh-marks.js';
import { RefreshQueue } from './revalidate/refresh-queue.js';
import { storedHeaderNames } from './serve/stored-headers.js';
import { type CacheState, noCounts } from './state.js';
import { EncodedBodies } from './storage/encoded-bodies.js';
import { EquivalentQueries } from './storage/no-vary-search.js';
import { RedisTierLookups } from './storage/redis-tier-lookups.js';
import { VariantStore } from './storage/variants.js';

type Fault = CacheState['fault'];

/** Creates the state of a cache and opens its tiers. */
export function createState(settings: CacheSettings): CacheState {
  const clock = () => performance.now();
  const fault = faultReporter(settings);
  const store = new MemoryStore(settings.memory);
  const entries = new VariantStore(store, settings.profile);
  const redis = openRedis(settings, fault);
  const log = redis?.log ?? new MemoryLog(clock);
  const redisLookups = redis && createRedisLookups(settings, redis, entries, clock, fault);
  return {
    settings,
    clock,
    dates: new HttpDates(),
    entries,
    equivalents: new EquivalentQueries(entries, redisLookups),
    storedNames: storedHeaderNames(settings.perResponseHeaders),
    rangeUnits: new RangeUnits(),
    encodings: new EncodedBodies(store, log, fault),
    log,
    redis,
    redisLookups,
    collapser: new Collapser(settings.hitForMiss),
    endedKeys: new EndedKeys(),
    refreshMarks: new RefreshMarks(
      { refused: settings.noBackgroundRefresh, failed: settings.refreshBackoff },
      clock,
    ),
    refreshQueue: new RefreshQueue(settings.refreshConcurrency),
    anonymousFills: new Set(),
    frontDoor: { isOpen: false, hits: 0, skipped: {} },
    counts: noCounts(),
    fault,
  };
}

function openRedis(
  { redis: options, maxEntryBytes, maxStaleness }: CacheSettings,
  fault: Fault,
): RedisTier | undefined {
  if (!options) return undefined;
  // The connection and the log reader serve all clients, but the cache may be created during one request.
  return runInOwnContext(() => openRedisTier({ ...options, maxEntryBytes, maxStaleness }, fault));
}

function createRedisLookups(
  { redis: options }: CacheSettings,
  { store, log }: RedisTier,
  entries: VariantStore,
  clock: () => number,
  fault: Fault,
): RedisTierLookups | undefined {
  if (!options) return undefined;
  return new RedisTierLookups({ store, log, entries, clock, deadline: options.readTimeout * 1000, fault });
}

function faultReporter({ onError }: CacheSettings): Fault {
  return (error, where) => {
    if (!onError) return reportFault(`cache (${where})`, error);
    try {
      const result: unknown = onError(error, where);
      // Its type returns nothing, but an async function fits the type too.
      if (result !== undefined) void unawaited(result, 'cache.onError');
    } catch (second) {
      reportFault('cache.onError', second);
    }
  };
}

/** Creates the functions and values of a cache, in the tiers of its responses. */
export function createFunctions(
  settings: CacheSettings | false,
  state: CacheState | false,
  purger: Purger,
): FunctionCache {
  // Clients choose arguments, so they can cause any number of purges.
  const record = (kind: 'purge' | 'expire', tag: string) => purger.record(kind, [{ tag }], false, 'client');
  if (!settings || !state) return createUncached(record);
  const { clock, log, fault, redis, entries, refreshQueue, counts } = state;
  const { lifetimes, maxEntryBytes, refreshBackoff } = settings;
  const memory = entries.store;
  const common = { clock, log, fault, redis, memory, lifetimes, maxEntryBytes, refreshBackoff };
  return new FunctionCache(
    { ...common, background: refreshQueue, mayCollapse: true },
    record,
    counts.functions,
  );
}

/** For a cache that is off: nothing fits its memory, so the functions run at each call. */
function createUncached(record: ConstructorParameters<typeof FunctionCache>[1]): FunctionCache {
  const clock = () => performance.now();
  const parts = {
    ...{ clock, log: new MemoryLog(clock), memory: new MemoryStore({ maxBytes: 1, maxEntries: 1 }) },
    ...{
      redis: undefined,
      lifetimes: anyLifetime,
      maxEntryBytes: Number.POSITIVE_INFINITY,
      refreshBackoff: 0,
    },
    ...{
      background: new RefreshQueue(1),
      mayCollapse: false,
      fault: (error: unknown, where: string) => reportFault(where, error),
    },
  };
  return new FunctionCache(parts, record, new Map());
}
