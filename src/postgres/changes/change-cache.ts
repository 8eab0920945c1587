import { setTimeout as delay } from 'node:timers/promises';
import type { Hotpath } from '../../hotpath.js';
import type { Selector } from '../../store/invalidation/selector.js';
import { FOLLOWED_CACHE, type FollowedCache } from '../../store/redis/followed-cache.js';

/** Redis does not have a purge. It applies here, and the changes are read again. */
export class NotAcknowledged extends Error {
  override readonly name = 'NotAcknowledged';

  constructor() {
    super('Redis has not acknowledged the purge');
  }
}

/** A tag that no entry has. */
const MARKER: Selector = { tag: 'hotpath:flush' };

/** Between two looks at the log. Milliseconds. */
const LOOK_EVERY = 2;

/** The cache that follows the tables. */
export interface ChangeCache {
  /** Seconds. */
  readonly maxStaleness: number;
  /** Whether instances share it in Redis. */
  readonly isShared: boolean;
  /** @throws (rejects) NotAcknowledged. */
  purge(selectors: readonly Selector[]): Promise<void>;
  /** Waits until the records of other instances, up to now, have been applied here. @throws (rejects) NotAcknowledged. */
  settle(): Promise<void>;
  /** The name of the place in the changes that is shared. @throws (rejects) if Redis does not reply. */
  readName(): Promise<string>;
  markPolled(milliseconds: number): Promise<void>;
  /** For how long another instance is known to have read the changes. Milliseconds. */
  polledFor(): Promise<number>;
}

/**
 * Instances share a place in the changes if they share a Redis and a mapping. Those with another mapping, such as a new version
 * of the app, purge other tags.
 *
 * @param mapping a text that is another one for another mapping.
 * @returns `undefined` if the cache is off.
 */
export function changeCacheOf(perf: Hotpath, mapping: string): ChangeCache | undefined {
  const followed = (perf.cache as { [FOLLOWED_CACHE]?: FollowedCache })[FOLLOWED_CACHE];
  if (!followed) return undefined;
  const { maxStaleness, redis } = followed;
  const purge = async (selectors: readonly Selector[]) => {
    const result = await perf.cache.purge(selectors);
    // Without Redis, each process reads the changes for itself.
    if (redis && !result.acknowledged) throw new NotAcknowledged();
    return result;
  };
  return {
    maxStaleness,
    isShared: redis !== undefined,
    purge: async (selectors) => void (await purge(selectors)),
    settle: async () => {
      if (!redis) return;
      const { position } = await purge([MARKER]);
      while (redis.log.settled < position) await delay(LOOK_EVERY);
    },
    readName: async () => {
      const name = await redis?.identity.read();
      if (name === undefined) throw new Error('Redis does not reply');
      return `${name}:${mapping}`;
    },
    markPolled: async (milliseconds) => redis?.identity.markPolled(mapping, milliseconds),
    polledFor: async () => redis?.identity.polledFor(mapping) ?? 0,
  };
}
