import type { CacheIdentity } from './cache-identity.js';
import type { RedisLog } from './log/redis-log.js';

/** Where a cache keeps the parts that a reader of database changes needs; all copies of the package agree. */
export const FOLLOWED_CACHE: unique symbol = Symbol.for('hotpath.followed-cache');

/** A cache that can follow the tables of a database. */
export interface FollowedCache {
  /** Seconds. */
  readonly maxStaleness: number;
  /** Absent without Redis. */
  readonly redis?: { readonly identity: CacheIdentity; readonly log: Pick<RedisLog, 'settled'> } | undefined;
}
