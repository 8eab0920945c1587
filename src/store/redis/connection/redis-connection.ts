import { type FaultHook, FaultReporter } from '../redis-errors.js';
import { duplicateClient, makeClient, type RedisClient, type RedisModule } from './ioredis-client.js';
import { type LinkTimes, OwnLink, type RedisLink, UserLink } from './reconnecting-link.js';

/**
 * The address of Redis: a URL (`redis://`, or `rediss://` for TLS), options of ioredis, or the user's own
 * client.
 */
export type RedisSource =
  | { readonly url: string }
  | { readonly options: object }
  | { readonly client: RedisClient };

/** Options of a connection. */
export interface ConnectionOptions {
  /** Called with failures, at a limited rate and without secrets. */
  readonly onFault: FaultHook;
  /** Loads ioredis. Default: the installed package, loaded on first use. */
  readonly load?: () => Promise<RedisModule>;
  readonly times?: LinkTimes;
}

/** The connection for commands. It also creates further connections to the same servers. */
export class RedisConnection implements RedisLink {
  readonly faults: FaultReporter;
  readonly #make: () => RedisClient | Promise<RedisClient>;
  readonly #times: LinkTimes | undefined;
  readonly #main: RedisLink;
  readonly #others = new Set<RedisLink>();
  #isClosed = false;

  /** Begins to connect. Never throws: if Redis is down, the link keeps trying. */
  constructor(source: RedisSource, options: ConnectionOptions) {
    this.faults = new FaultReporter(options.onFault);
    this.#times = options.times;
    if ('client' in source) {
      this.#make = () => duplicateClient(source.client);
      this.#main = new UserLink(source.client, this.faults);
    } else {
      const load = options.load ?? loadRedis;
      const target = 'url' in source ? source.url : source.options;
      this.#make = async () => makeClient(await load(), target);
      this.#main = new OwnLink(this.#make, this.faults, options.times);
    }
  }

  get client(): RedisClient | undefined {
    return this.#main.client;
  }

  onReady(listener: (client: RedisClient) => void): () => void {
    return this.#main.onReady(listener);
  }

  onLost(listener: () => void): () => void {
    return this.#main.onLost(listener);
  }

  corkForThisTurn(): void {
    this.#main.corkForThisTurn();
  }

  restart(): void {
    this.#main.restart();
  }

  /**
   * A further connection to the same servers, with the same key prefix, for blocking commands. It is always
   * ours, and closes with this connection at the latest.
   */
  duplicate(): RedisLink {
    const link = new OwnLink(this.#make, this.faults, this.#times);
    if (this.#isClosed) link.close();
    else this.#others.add(link);
    return link;
  }

  close(): void {
    this.#isClosed = true;
    this.#main.close();
    for (const link of this.#others) link.close();
    this.#others.clear();
  }
}

async function loadRedis(): Promise<RedisModule> {
  try {
    const loaded = (await import('ioredis')) as unknown as RedisModule | { readonly default: RedisModule };
    // In a program that esbuild has split into files, the exports of a CommonJS package are on `default` alone.
    return 'Redis' in loaded ? loaded : loaded.default;
  } catch (cause) {
    throw new Error('`redis` needs the package ioredis, which could not be loaded; run npm install ioredis', {
      cause,
    });
  }
}
