import type { HotpathConfig, RoutePolicies } from './config.js';
import { type ConfigProblem, configError } from './options/errors.js';
import { formatValue, isPlainObject } from './options/format-value.js';
import { readDuration, readSize } from './options/units.js';
import type { ValidationResult, Validator } from './options/validation-result.js';
import { readInteger, readPositiveDuration, readPositiveSize, readUrl } from './options/validators.js';

/** PostgreSQL settings read from the environment. */
export interface DatabaseEnvironment {
  /** `DATABASE_URL`: `postgres://` or `postgresql://`. */
  readonly url?: string | undefined;
  /** `DB_POOL_SIZE`: connections, 1 to 1,000. */
  readonly poolSize?: number | undefined;
  /** `DB_MAX_OVERFLOW`: connections beyond `poolSize`, 0 to 1,000. */
  readonly maxOverflow?: number | undefined;
  /** `DB_POOL_RECYCLE`: seconds after which a connection is replaced. */
  readonly poolRecycle?: number | undefined;
  /** `SLOW_QUERY`: seconds. */
  readonly slowQuery?: number | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

const databaseVariables = {
  /** Checked here and returned by `databaseFromEnv()`: `postgres://` or `postgresql://`. */
  DATABASE_URL: readUrl('postgres', 'postgresql'),
  /** Checked here and returned by `databaseFromEnv()`: connections, 1 to 1,000. */
  DB_POOL_SIZE: fromDigits(readInteger(1, 1000)),
  /** Checked here and returned by `databaseFromEnv()`: connections beyond the pool size, 0 to 1,000. */
  DB_MAX_OVERFLOW: fromDigits(readInteger(0, 1000)),
  /** Checked here and returned by `databaseFromEnv()`: a duration after which a connection is replaced; 0: never. */
  DB_POOL_RECYCLE: fromDigits(readDuration),
  /** Checked here and returned by `databaseFromEnv()`: a duration. */
  SLOW_QUERY: fromDigits(readDuration),
};

const variables = {
  ...databaseVariables,
  /** Turns `compression` on or off, with any encoding: off behind a proxy that compresses. */
  ENABLE_GZIP_COMPRESSION: readSwitch,
  /** Sets `compression.threshold`. */
  COMPRESSION_THRESHOLD: fromDigits(readSize),
  /** Sets `cache.redis.url`, unless the config has a client or options. */
  REDIS_URL: readUrl('redis', 'rediss'),
  /** Sets `ttl` of the cache rules that have none. */
  CACHE_TTL: fromDigits(readPositiveDuration),
  /** Sets `cache.memory.maxBytes`. */
  CACHE_MAX_BYTES: fromDigits(readPositiveSize),
  /** Sets `cache.memory.maxEntries`. */
  CACHE_MAX_ENTRIES: fromDigits(readInteger(1)),
  /** Sets `sizeLimit.limit`. */
  REQUEST_SIZE_LIMIT: fromDigits(readSize),
  /** Sets `timing.slow`. */
  SLOW_REQUEST: fromDigits(readDuration),
  /** Turns `metrics` on or off. */
  METRICS_ENABLED: readSwitch,
};

/**
 * Applies environment variables to a config; the environment wins. Bare digits are seconds or bytes. An empty
 * variable counts as absent.
 *
 * - `ENABLE_GZIP_COMPRESSION`, `METRICS_ENABLED`: `true`, `false`, `1`, `0`, `yes`, `no`, `on` or `off`.
 * - `COMPRESSION_THRESHOLD`, `REQUEST_SIZE_LIMIT`, `CACHE_MAX_BYTES`, `CACHE_MAX_ENTRIES`, `REDIS_URL`,
 * `SLOW_REQUEST`: the option of that name. A section that the config turns off stays off, unless one of the
 * two switches turns it on. `REDIS_URL` is ignored if the config gives a client or options for Redis.
 * - `CACHE_TTL`: the `ttl` of the cache rules in `routes` that have none. Rules with a `ttl` keep it, because
 * one number for the whole app would undo decisions per route.
 * - `DATABASE_URL`, `DB_POOL_SIZE`, `DB_MAX_OVERFLOW`, `DB_POOL_RECYCLE`, `SLOW_QUERY`: checked here, read by
 * `databaseFromEnv`.
 *
 * @param base the config to start from; never modified. Default: an empty one.
 * @param env the environment. Default: `process.env`.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` naming every malformed variable.
 */
export function configFromEnv(base: HotpathConfig = {}, env: Environment = process.env): HotpathConfig {
  if (!isPlainObject(base as unknown)) {
    throw configError([
      { path: 'config', message: 'expected an object of options', received: formatValue(base) },
    ]);
  }
  const given = readAll(variables, env);
  const compression = switched(base.compression, given.ENABLE_GZIP_COMPRESSION);
  const memory = defined({ maxBytes: given.CACHE_MAX_BYTES, maxEntries: given.CACHE_MAX_ENTRIES });
  const ownCache: Readonly<Record<string, unknown>> = isPlainObject(base.cache) ? base.cache : {};
  const ownRedis: Readonly<Record<string, unknown>> = isPlainObject(ownCache.redis) ? ownCache.redis : {};
  const isPlaced = ownRedis.client !== undefined || ownRedis.options !== undefined;
  const redis = isPlaced ? undefined : defined({ url: given.REDIS_URL });
  return {
    ...base,
    ...defined({
      routes: given.CACHE_TTL === undefined ? undefined : withTtl(base.routes, given.CACHE_TTL),
      compression: overlay(compression, { threshold: given.COMPRESSION_THRESHOLD }),
      metrics: switched(base.metrics, given.METRICS_ENABLED),
      sizeLimit: overlay(base.sizeLimit, { limit: given.REQUEST_SIZE_LIMIT }),
      timing: overlay(base.timing, { slow: given.SLOW_REQUEST }),
      cache: overlay(base.cache, {
        memory: memory && overlay(ownCache.memory, memory),
        redis: redis && overlay(ownCache.redis, redis),
      }),
    }),
  };
}

/**
 * Reads `DATABASE_URL`, `DB_POOL_SIZE`, `DB_MAX_OVERFLOW`, `DB_POOL_RECYCLE` and `SLOW_QUERY`.
 * @param env the environment. Default: `process.env`.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` naming every malformed variable.
 */
export function databaseFromEnv(env: Environment = process.env): DatabaseEnvironment {
  const given = readAll(databaseVariables, env);
  return {
    url: given.DATABASE_URL,
    poolSize: given.DB_POOL_SIZE,
    maxOverflow: given.DB_MAX_OVERFLOW,
    poolRecycle: given.DB_POOL_RECYCLE,
    slowQuery: given.SLOW_QUERY,
  };
}

function readAll<R extends Record<string, Validator<unknown>>>(readers: R, env: Environment) {
  const problems: ConfigProblem[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, read] of Object.entries(readers)) {
    const text = env[name];
    // Compose files and CI systems pass unset variables as empty ones.
    if (text === undefined || text.trim() === '') continue;
    const reading = read(text);
    if ('value' in reading) values[name] = reading.value;
    else problems.push({ path: name, message: `expected ${reading.expected}`, received: formatValue(text) });
  }
  if (problems.length > 0) throw configError(problems);
  return values as { [K in keyof R]?: R[K] extends Validator<infer T> ? T : never };
}

function fromDigits<T>(read: Validator<T>): Validator<T> {
  return (input) => read(typeof input === 'string' && /^\d+$/.test(input) ? Number(input) : input);
}

function readSwitch(input: unknown): ValidationResult<boolean> {
  const word = String(input).toLowerCase();
  if (['true', '1', 'yes', 'on'].includes(word)) return { value: true };
  if (['false', '0', 'no', 'off'].includes(word)) return { value: false };
  return { expected: 'true or false (or 1, 0, yes, no, on, off)' };
}

/** A section with its switch set; existing options are kept. */
function switched<T>(section: T | boolean | undefined, on: boolean | undefined): T | boolean | undefined {
  if (on === undefined) return section;
  return on && section !== false ? (section ?? true) : on;
}

/**
 * Options with some of them replaced. `false` stays `false`, and anything but an object is left to
 * validation.
 */
function overlay<T>(options: T, changes: object): T {
  const own = defined(changes);
  if (own === undefined) return options;
  if (options === undefined || (options as unknown) === true) return own as T;
  return isPlainObject(options) ? ({ ...options, ...own } as T) : options;
}

function withTtl(routes: HotpathConfig['routes'], ttl: number): HotpathConfig['routes'] {
  if (!isPlainObject(routes)) return routes;
  const entries = Object.entries(routes as Record<string, RoutePolicies>).map(([pattern, policies]) => {
    const rule: unknown = isPlainObject(policies) ? policies.cache : undefined;
    const lacksTtl = isPlainObject(rule) && rule.ttl === undefined;
    return [pattern, lacksTtl ? { ...policies, cache: { ...rule, ttl } } : policies] as const;
  });
  return Object.fromEntries(entries);
}

/** The entries with a value, or `undefined` without any. */
function defined<T extends object>(values: T): Partial<T> | undefined {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return entries.length === 0 ? undefined : (Object.fromEntries(entries) as Partial<T>);
}
