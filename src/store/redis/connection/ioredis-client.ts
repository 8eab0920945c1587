import type { RedisClient } from '../options.js';

export { isRedisClient, type RedisArgument, type RedisClient } from '../options.js';

import { guarded } from '../../../runtime/guard.js';

/** Internals of an ioredis client, used if they exist. */
export interface ClientInside {
  readonly options?: { readonly redisOptions?: object };
  readonly stream?: { unref?(): void; destroy?(): void; cork?(): void; uncork?(): void };
  nodes?(): readonly (RedisClient & ClientInside)[];
  duplicate?(...args: unknown[]): RedisClient;
}

/** Options of every client that hotpath creates. Commands fail at once, and hotpath reconnects by itself. */
const ownOptions = {
  lazyConnect: true,
  // Otherwise each failed attempt keeps the process alive for two seconds.
  disconnectTimeout: 0,
  // A queued command would run after its deadline, when its result is no longer needed.
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  maxRetriesPerRequest: 0,
  retryStrategy: null,
  reconnectOnError: null,
  // Each of our attempts asks the sentinels once.
  sentinelRetryStrategy: null,
  // hotpath sets deadlines itself. A blocking read must not end early.
  commandTimeout: undefined,
  socketTimeout: undefined,
  enableAutoPipelining: false,
  stringNumbers: false,
  replyMapping: 'legacy',
  monitor: false,
  readOnly: false,
  role: 'master',
};

/** Default time limit of a TCP or TLS connection. Milliseconds. */
const CONNECT_TIMEOUT = 5000;

/** The constructor of ioredis. */
export interface RedisModule {
  readonly Redis: new (...args: (string | object)[]) => RedisClient;
}

/** Creates a client that is not connected yet. */
export function makeClient(module: RedisModule, target: string | object): RedisClient {
  const options = { connectTimeout: CONNECT_TIMEOUT };
  // The URL comes first, because ioredis keeps the first value given for an option.
  if (typeof target === 'string') return new module.Redis(target, { ...options, ...ownOptions });
  return new module.Redis({ ...options, ...target, ...ownOptions });
}

/** Creates a client for the servers of another client, which stays unchanged. */
export function duplicateClient(client: RedisClient): RedisClient {
  const inside = client as RedisClient & ClientInside;
  if (!client.isCluster) return inside.duplicate!(ownOptions);
  const { lazyConnect, enableOfflineQueue, retryStrategy, ...ofNodes } = ownOptions;
  return inside.duplicate!([], {
    lazyConnect,
    enableOfflineQueue,
    clusterRetryStrategy: retryStrategy,
    enableAutoPipelining: false,
    // A replica may lack the last records.
    scaleReads: 'master',
    redisOptions: { ...inside.options?.redisOptions, ...ofNodes },
  });
}

/**
 * Lets the process exit while the sockets of a client are open. Call it once per client. A pending command
 * keeps the process alive with the timer of its deadline.
 */
export function unrefClient(client: RedisClient): void {
  const follow = guarded('redis', (node: RedisClient & ClientInside) => {
    const unref = guarded('redis', () => node.stream?.unref?.());
    node.on('connect', unref);
    // The socket is created shortly after `connect` is called.
    node.on(
      'connecting',
      guarded('redis', () => setImmediate(unref)),
    );
  });
  if (client.isCluster) client.on('+node', follow);
  else follow(client);
}

/**
 * Destroys a client of ours at once. `quit` or `disconnect` would wait for a hung server to close its side.
 */
export function destroyClient(client: RedisClient): void {
  const inside = client as RedisClient & ClientInside;
  const streams = [inside, ...(inside.nodes?.() ?? [])].map((node) => node.stream);
  client.disconnect();
  for (const stream of streams) stream?.destroy?.();
}
