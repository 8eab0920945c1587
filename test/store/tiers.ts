import type { IncomingMessage } from 'node:http';
import type { CacheRequest } from '../../src/cache/request/cache-request.js';
import { RedisTierLookups } from '../../src/cache/storage/redis-tier-lookups.js';
import { VariantStore } from '../../src/cache/storage/variants.js';
import { MemoryStore } from '../../src/store/memory/memory-store.js';
import type { RedisLog } from '../../src/store/redis/log/redis-log.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import type { ItemStore } from './contract.js';

/**
 * The memory tier with Redis behind it, as requests use them, for single items with their own keys.
 *
 * @param forgets memory evicts each item at once, so that all items come from Redis.
 */
export function bothTiers(redis: RedisStore, forgets: boolean): ItemStore {
  const memory = new MemoryStore({ maxBytes: 64 * 1024 ** 2, maxEntries: 10_000 });
  const tier = new RedisTierLookups({
    deadline: 5000,
    store: redis,
    entries: new VariantStore(memory, 'safe'),
    log: { canShare: true, limit: () => Number.POSITIVE_INFINITY } as unknown as RedisLog,
    // Items of the contract may end at any time.
    clock: () => 0,
    fault: (error) => {
      throw error;
    },
  });
  const requestFor = (key: string) =>
    ({
      keys: { exact: key },
      context: { req: { headers: {} } as IncomingMessage },
    }) as unknown as CacheRequest;
  return {
    async get(key) {
      const here = memory.get(key);
      if (here) return here;
      if (await tier.fetch(requestFor(key))) return memory.get(key);
      // A lookup reads the index of variants before a variant.
      const item = await redis.get(key);
      return item?.kind === 'variants' ? item : undefined;
    },
    async set(key, item, ttl) {
      if (item.kind === 'encoded-result') return false; // Redis only
      const isKept = memory.set(key, item);
      if (item.kind === 'response') await tier.put(key, item);
      else if (item.kind === 'variants') await redis.set(key, item, ttl);
      if (forgets) memory.delete(key);
      return isKept;
    },
    async delete(key) {
      const here = memory.delete(key);
      return (await redis.delete(key)) || here;
    },
  };
}
