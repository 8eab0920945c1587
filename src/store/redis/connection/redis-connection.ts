import { type FaultHook, FaultReporter } from '../redis-errors.js';
import { duplicateClient, makeClient, type RedisClient, type RedisModule } from './ioredis-client.js';
import { type LinkTimes, OwnLink, type RedisLink, UserLink } from './reconnecting-link.js';

/** Where Redis is: a URL (`redis://`, `rediss://` for TLS), options as ioredis takes them, or the user's own client. */
export type RedisSource =
  | { readonly url: string }
  | { readonly options: object }
  | { readonly client: RedisClient };

/** How a connection is made. */
export interface ConnectionOptions {
  /** Told of failures, at a limited rate and without secrets. */
  readonly onFault: FaultHook;
  /** Gives ioredis. Default: the installed one, loaded here and not before. */
  readonly load?: () => Promise<RedisModule>;
  readonly times?: LinkTimes;
}

/** The connection that commands go through, and where further ones to the same servers come from. */
export class RedisConnection implements RedisLink {
  readonly faults: FaultReporter;
  readonly #make: () => RedisClient | Promise<RedisClient>;
  readonly #times: LinkTimes | undefined;
  readonly #main: RedisLink;
  readonly #others = new Set<RedisLink>();
  #isClosed = false;

  /** Begins to connect. Never throws: a Redis that is down is one that is not there yet. */
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

  gather(): void {
    this.#main.gather();
  }

  restart(): void {
    this.#main.restart();
  }

  /**
   * Another connection to the same servers, always ours, with the key prefix of the first: for what blocks.
   * Closed with this one at the latest.
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
    return (await import('ioredis')) as unknown as RedisModule;
  } catch (cause) {
    throw new Error(
      'the package `ioredis` is needed for `redis` and could not be loaded: npm install ioredis',
      {
        cause,
      },
    );
  }
}
