import * as v from 'valibot';
import { isPlainObject } from '../../options/format-value.js';
import { leaf, objectOr, type Schema, section } from '../../options/schema.js';
import type { Duration } from '../../options/units.js';
import type { Validator } from '../../options/validation-result.js';
import {
  readInteger,
  readName,
  readPositiveDuration,
  readTimerDuration,
  readUrl,
} from '../../options/validators.js';

/** Arguments of a Redis command. */
export type RedisArgument = string | Buffer | number;

/**
 * The methods that hotpath uses of a client. `Redis` and `Cluster` of ioredis 5 and 6 have them. Declared
 * here, because importing the types of ioredis would make the package mandatory.
 */
export interface RedisClient {
  readonly status: string;
  readonly isCluster: boolean;
  call(command: string, ...args: RedisArgument[]): Promise<unknown>;
  getrangeBuffer(key: string, start: RedisArgument, end: RedisArgument): Promise<unknown>;
  connect(): Promise<unknown>;
  disconnect(): void;
  // biome-ignore lint/suspicious/noExplicitAny: listeners of all events, as Node's EventEmitter types them.
  on(event: string, listener: (...args: any[]) => void): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  off(event: string, listener: (...args: any[]) => void): unknown;
}

/** Whether a value is a `Redis` or a `Cluster` of ioredis. Clients of other packages lack some methods. */
export function isRedisClient(value: unknown): value is RedisClient {
  if (typeof value !== 'object' || value === null) return false;
  const given = value as Record<string, unknown>;
  return (
    typeof given.status === 'string' &&
    ['call', 'getrangeBuffer', 'duplicate', 'connect', 'disconnect', 'on', 'off'].every(
      (name) => typeof given[name] === 'function',
    )
  );
}

/** The Redis tier and its invalidation log. Set one of `url`, `options` and `client`. */
export interface RedisOptions {
  /** `redis://` or `rediss://` (TLS). Default: none; only the memory tier is used. */
  url?: string | undefined;
  /** Options for the ioredis client that hotpath creates: `{ sentinels, name }`, `{ host, port, tls }`, … Default: none. */
  options?: object | undefined;
  /** Your own `Redis` or `Cluster` of ioredis 5 or 6. hotpath neither closes nor changes it; its `keyPrefix` applies. Default: none. */
  client?: RedisClient | undefined;
  /** The start of every key name. Apps that share a Redis need one each, or they purge each other's entries. Default: `'hotpath:'`. */
  prefix?: string | undefined;
  /** How long a request waits for Redis before it goes on without. Default: `0.05`. */
  readTimeout?: Duration | undefined;
  /** The time limit of writes in the background and of a purge's record. Default: `0.25`. */
  writeTimeout?: Duration | undefined;
  /** Makes a purge wait until replicas have its record (`WAIT`), so that fewer purges are lost in a failover. Default: none. */
  wait?:
    | {
        /** The number of replicas. Required. */
        replicas: number;
        /** How long to wait; after it the purge counts as acknowledged by the primary alone. Default: `0.1`. */
        timeout?: Duration | undefined;
      }
    | undefined;
}

/** Resolved options of the Redis tier: durations in seconds. */
export interface RedisSettings {
  readonly source: { readonly url: string } | { readonly options: object } | { readonly client: RedisClient };
  readonly prefix: string;
  readonly readTimeout: number;
  readonly writeTimeout: number;
  readonly wait?: { readonly replicas: number; readonly timeout: number } | undefined;
}

const readClient: Validator<RedisClient> = (input) =>
  isRedisClient(input) ? { value: input } : { expected: 'a Redis or a Cluster of ioredis, 5 or 6' };

const readOptions: Validator<object> = (input) =>
  isPlainObject(input) ? { value: input } : { expected: 'an object of options for ioredis' };

const readTimeout: Validator<number> = (input) => {
  const reading = readPositiveDuration(input);
  return 'value' in reading ? readTimerDuration(input) : reading;
};

const optionsSchema = section(
  {
    url: v.optional(leaf(readUrl('redis', 'rediss'))),
    options: v.optional(leaf(readOptions)),
    client: v.optional(leaf(readClient)),
    prefix: v.optional(leaf(readName), 'hotpath:'),
    readTimeout: v.optional(leaf(readTimeout), 0.05),
    writeTimeout: v.optional(leaf(readTimeout), 0.25),
    wait: v.optional(
      section({ replicas: leaf(readInteger(1)), timeout: v.optional(leaf(readTimeout), 0.1) }),
    ),
  },
  (given, report) => {
    const [, ...others] = ['client', 'options', 'url'].filter((key) => given[key] !== undefined);
    for (const key of others) {
      report(key, 'conflicts with another address; set only one of `url`, `options` and `client`');
    }
  },
);

/** Reads the section. Without an address there is no Redis tier. */
export const redisSchema: Schema<RedisSettings | undefined> = v.pipe(
  objectOr(optionsSchema, [], "an object of options such as { url: 'redis://localhost:6379' }"),
  v.transform(({ url, options, client, ...rest }): RedisSettings | undefined => {
    const source = client ? { client } : options ? { options } : url === undefined ? undefined : { url };
    return source && Object.freeze({ ...rest, source: Object.freeze(source) });
  }),
);
