import type * as ioredis from 'ioredis';
import type { LinkTimes } from '../../../src/store/redis/connection/reconnecting-link.js';
import { RedisConnection, type RedisSource } from '../../../src/store/redis/connection/redis-connection.js';
import { CommandGuard, type GuardBounds } from '../../../src/store/redis/guard/command-guard.js';
import type { LogStamp } from '../../../src/store/redis/log/log-positions.js';
import { RedisStore, type RedisStoreOptions } from '../../../src/store/redis/redis-store.js';
import { ServerClock } from '../../../src/store/redis/server-clock.js';
import { loadOf, until } from '../../helpers/redis.js';

/** Options of a store for tests. */
export interface StoreSetup {
  readonly bounds?: GuardBounds;
  readonly times?: LinkTimes;
  readonly store?: Partial<RedisStoreOptions>;
  /** Default true: waits until Redis is ready and its clock is known. */
  readonly wait?: boolean;
}

export interface OpenStore {
  readonly store: RedisStore;
  readonly guard: CommandGuard;
  readonly connection: RedisConnection;
  readonly clock: ServerClock;
  readonly faults: string[];
  close(): void;
}

/** A Redis store with its dependencies, and a log whose positions are the same on every instance. */
export async function openStore(
  module: typeof ioredis,
  source: RedisSource,
  { bounds, times, store: options, wait = true }: StoreSetup = {},
): Promise<OpenStore> {
  const faults: string[] = [];
  const connection = new RedisConnection(source, {
    onFault: (error) => faults.push(error.message),
    load: loadOf(module),
    times: { firstDelay: 10, maxDelay: 100, readyWithin: 1000, ...times },
  });
  const clock = new ServerClock();
  connection.onReady(() => {
    const now = performance.now();
    clock.sample(now, now, performance.timeOrigin + now); // the server is on this machine
  });
  // On a busy machine, Redis itself may need longer than the default.
  const guard = new CommandGuard(connection, connection.faults, {
    readTimeout: 2000,
    writeTimeout: 2000,
    ...bounds,
  });
  const positions = {
    toShared: (stamp: number) => ({ epoch: 'epoch', position: stamp }),
    fromShared: ({ epoch, position }: LogStamp) => (epoch === 'epoch' ? position : undefined),
  };
  const store = new RedisStore({ guard, clock, positions, ...options });
  const close = () => {
    guard.close();
    connection.close();
  };
  if (wait) await until(() => connection.client !== undefined && clock.isKnown, 'the store is there');
  return { store, guard, connection, clock, faults, close };
}
