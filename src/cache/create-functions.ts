import { performance } from 'node:perf_hooks';
import { FunctionCache } from '../functions/function-cache.js';
import { anyLifetime } from '../options/lifetimes.js';
import { reportFault } from '../runtime/report-fault.js';
import { MemoryLog } from '../store/invalidation/invalidation-log.js';
import { MemoryStore } from '../store/memory/memory-store.js';
import type { Purger } from './invalidate/purger.js';
import type { CacheSettings } from './options.js';
import { RefreshQueue } from './revalidate/refresh-queue.js';
import type { CacheState } from './state.js';

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
