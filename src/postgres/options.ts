import * as v from 'valibot';
import type { Hotpath } from '../hotpath.js';
import { leaf, resolve, section } from '../options/schema.js';
import { type Duration, readSize, type Size } from '../options/units.js';
import { booleanValidator, readTimerDuration } from '../options/validators.js';
import { buildEntries } from './builds/options.js';
import type { BuildOptions } from './builds/types.js';
import { readClientOptions } from './changes/options.js';
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
  /** How the statistics of the server are read. */
  statistics?: DatabaseStatisticsOptions | undefined;
  /** The index adviser, and whether and how indexes are built. */
  indexes?: IndexOptions | undefined;
  /** Maintenance that may be started. */
  maintenance?: DatabaseMaintenanceOptions | undefined;
}

/** Options of the maintenance. */
export interface DatabaseMaintenanceOptions {
  /** Whether ANALYZE of stale tables may be started: by `db.maintenance` and by the performance API. Default: `false`. */
  analyze?: boolean | undefined;
}

/** Options of the statistics. */
export interface DatabaseStatisticsOptions {
  /** How long statistics hold, however many dashboards show them. Default: `'5s'`. */
  cacheFor?: Duration | undefined;
  /** How long callers wait; figures that come later are absent, with the reason `timeout`. Default: `'700ms'`. */
  timeout?: Duration | undefined;
}

/** Options of the index adviser, and of the builds of its indexes. */
export interface IndexOptions extends BuildOptions {
  /**
   * Where HypoPG is not installed, indexes are built for a trial on tables up to this size, in a transaction that is rolled
   * back. Writers of the table wait meanwhile. Default: `0`; no trials.
   */
  trialMaxBytes?: Size | undefined;
  /**
   * Whether a statement that an index helps may run once before the build and once after it, so that its buffers are known.
   * It runs with values of the app, in a read-only transaction, if it is proved that it only reads. Default: `true`.
   */
  measure?: boolean | undefined;
}

/** Resolved options of `postgres`. */
export type PostgresSettings = v.InferOutput<typeof postgresSchema>;

const postgresSchema = section({
  perf: v.optional(leaf(readScoped)),
  connection: v.optional(leaf(readClientOptions)),
  statistics: v.optional(
    section({
      cacheFor: v.optional(leaf(readTimerDuration), '5s'),
      timeout: v.optional(leaf(readTimerDuration), '700ms'),
    }),
    {},
  ),
  maintenance: v.optional(section({ analyze: v.optional(leaf(booleanValidator), false) }), {}),
  indexes: v.optional(
    section({
      ...buildEntries,
      trialMaxBytes: v.optional(leaf(readSize), 0),
      measure: v.optional(leaf(booleanValidator), true),
    }),
    {},
  ),
});

/** @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem. */
export function resolvePostgres(options: PostgresOptions | undefined): PostgresSettings {
  return resolve(postgresSchema, options, 'postgres');
}
