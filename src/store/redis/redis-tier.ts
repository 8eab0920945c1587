import { CacheIdentity } from './cache-identity.js';
import { requireIoredis } from './connection/ioredis-installed.js';
import { RedisConnection } from './connection/redis-connection.js';
import { CommandGuard } from './guard/command-guard.js';
import { InstanceSnapshots } from './instance-snapshots.js';
import { RedisLog } from './log/redis-log.js';
import { streamLink } from './log/redis-stream.js';
import type { RedisSettings } from './options.js';
import type { FaultHook } from './redis-errors.js';
import { RedisStore } from './redis-store.js';
import { ServerClock } from './server-clock.js';
import { WarmingTurns } from './warming-turns.js';

/** The settings of the Redis tier, and those it needs from the cache. */
export interface RedisTierSettings extends RedisSettings {
  /** Larger bodies are not written. Bytes. */
  readonly maxEntryBytes: number;
  /** How long an unverified entry may be used. Seconds. */
  readonly maxStaleness: number;
}

/** The Redis tier and its invalidation log. */
export interface RedisTier {
  readonly store: RedisStore;
  readonly log: RedisLog;
  /** Snapshots that the instances leave for each other. */
  readonly instances: InstanceSnapshots;
  /** Leases of warming tasks. */
  readonly warming: WarmingTurns;
  /** For the reader of database changes. */
  readonly identity: CacheIdentity;
  /** Idempotent. A user's client stays open. */
  close(): void;
}

/**
 * Begins to connect and returns at once. If Redis is down, the tier keeps trying.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` if ioredis is not installed.
 */
export function openRedisTier(settings: RedisTierSettings, onFault: FaultHook): RedisTier {
  const { source, prefix, readTimeout, writeTimeout, wait, maxEntryBytes, maxStaleness } = settings;
  if (!('client' in source)) requireIoredis();
  const connection = new RedisConnection(source, { onFault });
  const { faults } = connection;
  const clock = new ServerClock();
  const bounds = { readTimeout: readTimeout * 1000, writeTimeout: writeTimeout * 1000 };
  const guard = new CommandGuard(connection, faults, bounds);
  const key = `${prefix}log`;
  const replicas = wait && { replicas: wait.replicas, timeout: Math.ceil(wait.timeout * 1000) };
  const log = new RedisLog({
    follower: streamLink(connection.duplicate(), key),
    writer: streamLink(connection, key, { wait: replicas }),
    clock,
    maxStaleness: maxStaleness * 1000,
    appendDeadline: bounds.writeTimeout + (replicas?.timeout ?? 0),
    fault: (error) => faults.tell(error, 'redis log'),
  });
  const store = new RedisStore({ guard, clock, positions: log, prefix, maxEntryBytes });
  return {
    store,
    log,
    instances: new InstanceSnapshots(guard, prefix),
    warming: new WarmingTurns(guard, log, prefix),
    identity: new CacheIdentity(guard, prefix),
    close() {
      log.close();
      guard.close();
      connection.close();
    },
  };
}
