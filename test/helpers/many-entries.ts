import { MemoryStore } from '../../src/store/memory/memory-store.js';
import { RedisStore } from '../../src/store/redis/redis-store.js';
import { copyItem, type StoredResponse } from '../../src/store/stored-response.js';

/** Concurrent writes to Redis. */
const BATCH = 500;

/**
 * Copies the entry of one path to many paths, in memory and in Redis. This is much faster than a request for each
 * path, with the same result.
 *
 * @param ask requests a path. The resulting entry, and the stores it is in, are the model.
 * @param paths all have the length of the first, because keys contain the lengths of their parts.
 * @param tagsOf the tags of the entry of a path.
 * @returns the number of entries that Redis accepted.
 */
export async function storeMany(
  ask: () => Promise<unknown>,
  path: string,
  paths: Iterable<string>,
  tagsOf: (path: string) => readonly string[],
): Promise<number> {
  const { memory, redis, model } = await capture(ask);
  let pending: Promise<boolean>[] = [];
  let taken = 0;
  const settle = async () => {
    taken += (await Promise.all(pending)).filter(Boolean).length;
    pending = [];
  };
  for (const other of paths) {
    if (other.length !== path.length) throw new Error(`${other} is not as long as ${path}`);
    const key = model.key.replaceAll(path, other);
    const entry = copyItem(model, { key, url: other, tags: tagsOf(other) });
    memory.set(key, entry);
    pending.push(redis.set(key, entry, entry.freshUntil - entry.storedAt));
    if (pending.length === BATCH) await settle();
  }
  await settle();
  return taken;
}

/** The items stored during a request, by store. */
async function capture(
  ask: () => Promise<unknown>,
): Promise<{ memory: MemoryStore; redis: RedisStore; model: StoredResponse }> {
  const own = { memory: MemoryStore.prototype.set, redis: RedisStore.prototype.set };
  let memory: MemoryStore | undefined;
  let model: StoredResponse | undefined;
  const found = new Promise<RedisStore>((resolve) => {
    MemoryStore.prototype.set = function (key, item) {
      memory = this;
      if (item.kind === 'response') model = item;
      return own.memory.call(this, key, item);
    };
    RedisStore.prototype.set = function (key, item, ttl) {
      resolve(this);
      return own.redis.call(this, key, item, ttl);
    };
  });
  try {
    await ask();
    const redis = await found;
    return { memory: memory!, redis, model: model! };
  } finally {
    MemoryStore.prototype.set = own.memory;
    RedisStore.prototype.set = own.redis;
  }
}
