import * as v from 'valibot';
import type { Hotpath } from '../hotpath.js';
import { leaf, resolve, section } from '../options/schema.js';
import type { ValidationResult } from '../options/validation-result.js';
import { readScoped } from './monitor/options.js';
import type { ClientOptions } from './sessions.js';

/** Options of `postgres`. */
export interface PostgresOptions {
  /** The instance whose cache follows the tables. Default: none. */
  perf?: Hotpath | undefined;
  /**
   * Where hotpath's own connections lead, as options of `new pg.Client()`: set it if the pool goes through PgBouncer.
   * Default: as those of the pool.
   */
  connection?: ClientOptions | undefined;
}

/** Resolved options of `postgres`. */
export type PostgresSettings = v.InferOutput<typeof postgresSchema>;

const postgresSchema = section({
  perf: v.optional(leaf(readScoped)),
  connection: v.optional(leaf(readConnection)),
});

/** @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem. */
export function resolvePostgres(options: PostgresOptions | undefined): PostgresSettings {
  return resolve(postgresSchema, options, 'postgres');
}

function readConnection(input: unknown): ValidationResult<ClientOptions> {
  return typeof input === 'object' && input !== null && !Array.isArray(input)
    ? { value: input as ClientOptions }
    : { expected: 'options of new pg.Client(), such as { connectionString: … }' };
}
