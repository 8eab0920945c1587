import { databaseFromEnv } from '../environment.js';

/** Options for `new pg.Pool()`. */
export interface PoolOptions {
  /** Absent without `DATABASE_URL`; `pg` then reads its own variables, such as `PGHOST`. */
  readonly connectionString?: string;
  /** The most connections. */
  readonly max: number;
  /** 0: connections are never replaced. */
  readonly maxLifetimeSeconds: number;
  /** How long a caller waits for a connection. */
  readonly connectionTimeoutMillis: number;
  /** The server cancels longer statements. Milliseconds. */
  readonly statement_timeout: number;
  /** The server cancels statements that wait longer for a lock. Milliseconds. */
  readonly lock_timeout: number;
}

/** The connections of `pg` by default. */
const POOL_SIZE = 10;

/**
 * Options for `new pg.Pool()` from `DATABASE_URL`, `DB_POOL_SIZE` (10), `DB_MAX_OVERFLOW` (0, added to the size) and
 * `DB_POOL_RECYCLE` (never). Statements are cancelled after 30 s, and waits for locks after 10 s; callers wait 5 s for a
 * connection.
 *
 * @param env the environment. Default: `process.env`.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` naming every malformed variable.
 */
export function poolOptionsFromEnv(env?: Readonly<Record<string, string | undefined>>): PoolOptions {
  const { url, poolSize = POOL_SIZE, maxOverflow = 0, poolRecycle = 0 } = databaseFromEnv(env);
  return {
    ...(url !== undefined && { connectionString: url }),
    max: poolSize + maxOverflow,
    // A timer of `pg` takes whole seconds; 0 would mean never.
    maxLifetimeSeconds: Math.ceil(poolRecycle),
    connectionTimeoutMillis: 5_000,
    statement_timeout: 30_000,
    lock_timeout: 10_000,
  };
}
