import { copyOf, type StoredResponse } from '../../src/store/entry.js';
import { MemoryStore } from '../../src/store/memory.js';
import { RedisStore } from '../../src/store/redis/store.js';

/** Entries that are on their way to Redis at once. */
const BATCH = 500;

/**
 * Stores under many paths what a cache stores for one of them, in its memory and in Redis: as a request for each
 * would, in a small part of the time.
 *
 * @param ask makes the request for the path; what is then stored, and where, is the model.
 * @param paths each as long as the first: keys say how long their parts are.
 * @param tagsOf the tags of the entry of a path.
 * @returns how many of them Redis has taken.
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
    const entry = copyOf(model, { key, url: other, tags: tagsOf(other) });
    memory.set(key, entry);
    pending.push(redis.set(key, entry, entry.freshUntil - entry.storedAt));
    if (pending.length === BATCH) await settle();
  }
  await settle();
  return taken;
}

/** What is stored during a request, and in which stores. */
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
