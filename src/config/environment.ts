import type { HotpathConfig } from './config.js';

/** PostgreSQL settings read from the environment. */
export interface DatabaseEnvironment {
  /** `DATABASE_URL`. */
  readonly url?: string;
  /** `DB_POOL_SIZE`: connections. */
  readonly poolSize?: number;
  /** `SLOW_QUERY`: seconds. */
  readonly slowQuery?: number;
}

export function configFromEnv(
  _base: HotpathConfig = {},
  _env: NodeJS.ProcessEnv = process.env,
): HotpathConfig {
  throw new Error('not built yet');
}
export function databaseFromEnv(_env: NodeJS.ProcessEnv = process.env): DatabaseEnvironment {
  throw new Error('not built yet');
}
