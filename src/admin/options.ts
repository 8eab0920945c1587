import * as v from 'valibot';
import type { Hotpath } from '../hotpath.js';
import { leaf, resolve, section } from '../options/schema.js';
import type { ValidationResult } from '../options/validation-result.js';
import { readFunction, readInteger } from '../options/validators.js';
import type { PostgresDatabase } from '../postgres/database.js';
import type { Telemetry } from '../telemetry/telemetry.js';
import type { Authorize } from './access/authorize.js';
import type { ReadJobFigures } from './performance-api/job-figures.js';

/** The counts that a pool of connections tells, as `Pool` of `pg` has them. */
export interface PoolCounts {
  /** Connections that are open. */
  readonly totalCount: number;
  /** Open connections that no query uses. */
  readonly idleCount: number;
  /** Queries that wait for a connection. */
  readonly waitingCount: number;
  readonly options?: { readonly max?: number | undefined } | undefined;
}

/** Options of `performanceApi`. */
export interface PerformanceApiOptions {
  /** The instance whose figures are served. Its telemetry must be on. */
  perf: Hotpath;
  /**
   * Decides who may see the figures and who may change something: `basicAuth({ users })` or a function of the app.
   * Default: none; nothing is served if `NODE_ENV` is `production`, and otherwise a key is needed.
   */
  authorize?: Authorize | undefined;
  /** The pool of database connections, of which `/database` shows the counts. Default: none. */
  pool?: PoolCounts | undefined;
  /** The database, as `postgres(pool)` returns it: `/database` shows its statistics, and its pool. Default: none. */
  postgres?: PostgresDatabase | undefined;
  /** Returns the figures of the app's queue of background jobs, or a promise of them, for `/jobs`. Default: none. */
  jobs?: ReadJobFigures | undefined;
  /** The most clients of `/events` at a time; further ones get a 503. Default: `100`. */
  maxListeners?: number | undefined;
}

/** Resolved options of `performanceApi`. */
export type PerformanceApiSettings = v.InferOutput<typeof performanceApiSchema>;

/** An instance with telemetry. */
export type ObservedHotpath = Hotpath & { readonly telemetry: Telemetry };

const performanceApiSchema = section({
  // Without it, the reader says what is expected.
  perf: v.optional(leaf(readPerf), null),
  authorize: v.optional(leaf(readFunction<Authorize>())),
  pool: v.optional(leaf(readPool)),
  postgres: v.optional(leaf(readDatabase)),
  jobs: v.optional(leaf(readFunction<ReadJobFigures>())),
  maxListeners: v.optional(leaf(readInteger(1, 10_000)), 100),
});

/**
 * @param factory the function that the app calls, for messages.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function resolvePerformanceApi(
  options: PerformanceApiOptions,
  factory = 'performanceApi',
): PerformanceApiSettings {
  return resolve(performanceApiSchema, options, factory);
}

function readPerf(input: unknown): ValidationResult<ObservedHotpath> {
  const { cache, telemetry } = (input ?? {}) as Partial<Hotpath>;
  if (typeof input !== 'function' || typeof cache !== 'function')
    return { expected: 'an instance of hotpath: the result of hotpath()' };
  return telemetry
    ? { value: input as ObservedHotpath }
    : { expected: 'an instance with telemetry; remove `telemetry: false` from its config' };
}

function readPool(input: unknown): ValidationResult<PoolCounts> {
  const pool = input as Partial<PoolCounts> | null | undefined;
  const isPool = ['totalCount', 'idleCount', 'waitingCount'].every(
    (name) => typeof pool?.[name as 'totalCount'] === 'number',
  );
  return isPool
    ? { value: pool as PoolCounts }
    : { expected: 'a pool of pg, with totalCount, idleCount and waitingCount' };
}

function readDatabase(input: unknown): ValidationResult<PostgresDatabase> {
  return typeof (input as Partial<PostgresDatabase> | null | undefined)?.statistics === 'function'
    ? { value: input as PostgresDatabase }
    : { expected: 'a database: the result of postgres(pool)' };
}
