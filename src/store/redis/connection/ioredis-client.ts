import type { RedisClient } from '../options.js';

export { isRedisClient, type RedisArgument, type RedisClient } from '../options.js';

import { guarded } from '../../../runtime/guard.js';

/** What is used of a client where it is there; none of it is ours to require. */
export interface ClientInside {
  readonly options?: { readonly redisOptions?: object };
  readonly stream?: { unref?(): void; destroy?(): void; cork?(): void; uncork?(): void };
  nodes?(): readonly (RedisClient & ClientInside)[];
  duplicate?(...args: unknown[]): RedisClient;
}

/** Options of every client that is ours: what fails, fails at once, and we reconnect ourselves. */
const ownOptions = {
  lazyConnect: true,
  // Else each failed attempt holds the process for two seconds.
  disconnectTimeout: 0,
  // A command that waits for a connection would run later, when nobody wants it.
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  maxRetriesPerRequest: 0,
  retryStrategy: null,
  reconnectOnError: null,
  // The sentinels are asked once for each of our own attempts.
  sentinelRetryStrategy: null,
  // Deadlines are ours. A blocking read must not end early.
  commandTimeout: undefined,
  socketTimeout: undefined,
  enableAutoPipelining: false,
  stringNumbers: false,
  replyMapping: 'legacy',
  monitor: false,
  readOnly: false,
  role: 'master',
};

/** How long a TCP or TLS connection may take, where the user says nothing. Milliseconds. */
const CONNECT_TIMEOUT = 5000;

/** The constructor of ioredis. */
export interface RedisModule {
  readonly Redis: new (...args: (string | object)[]) => RedisClient;
}

/** Makes a client of our own that is not connected yet. */
export function makeClient(module: RedisModule, target: string | object): RedisClient {
  const options = { connectTimeout: CONNECT_TIMEOUT };
  // ioredis takes the first value given for an option, so the URL goes before.
  if (typeof target === 'string') return new module.Redis(target, { ...options, ...ownOptions });
  return new module.Redis({ ...options, ...target, ...ownOptions });
}

/** Makes a client of our own for the servers of another, which stays as it is. */
export function duplicateClient(client: RedisClient): RedisClient {
  const inside = client as RedisClient & ClientInside;
  if (!client.isCluster) return inside.duplicate!(ownOptions);
  const { lazyConnect, enableOfflineQueue, retryStrategy, ...ofNodes } = ownOptions;
  return inside.duplicate!([], {
    lazyConnect,
    enableOfflineQueue,
    clusterRetryStrategy: retryStrategy,
    enableAutoPipelining: false,
    // What a replica answers may lack the last records.
    scaleReads: 'master',
    redisOptions: { ...inside.options?.redisOptions, ...ofNodes },
  });
}

/**
 * Lets the process exit while a client's sockets are open; a cache is no reason to stay. Once for each client.
 * What waits for an answer keeps the process alive itself, by the timer of its deadline.
 */
export function unrefClient(client: RedisClient): void {
  const follow = guarded('redis', (node: RedisClient & ClientInside) => {
    const unref = guarded('redis', () => node.stream?.unref?.());
    node.on('connect', unref);
    // The socket of an attempt is made a moment after its beginning.
    node.on(
      'connecting',
      guarded('redis', () => setImmediate(unref)),
    );
  });
  if (client.isCluster) client.on('+node', follow);
  else follow(client);
}

/** Ends a client of ours at once. Its end alone would wait for a hung server to close its side. */
export function destroyClient(client: RedisClient): void {
  const inside = client as RedisClient & ClientInside;
  const streams = [inside, ...(inside.nodes?.() ?? [])].map((node) => node.stream);
  client.disconnect();
  for (const stream of streams) stream?.destroy?.();
}
