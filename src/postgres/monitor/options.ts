import * as v from 'valibot';
import type { NPlusOneEvent, SlowQueryEvent } from '../../events/channels.js';
import { REQUEST_SCOPE, type RequestScope } from '../../exchange/request-scope.js';
import type { Hotpath } from '../../hotpath.js';
import { leaf, resolve, section, toggle } from '../../options/schema.js';
import { type Duration, readDuration } from '../../options/units.js';
import type { ValidationResult, Validator } from '../../options/validation-result.js';
import {
  booleanValidator,
  readFunction,
  readInteger,
  readName,
  readPositiveDuration,
  readWord,
} from '../../options/validators.js';

/** When reads are tried again after their connection was lost. */
export interface RetryOptions {
  /** The most attempts, the first one included. Waits between them are random, up to 100 ms, 200 ms and so on. Default: `4`. */
  attempts?: number | undefined;
  /** After this time since the call, no further attempt begins. Default: `'3s'`. */
  within?: Duration | undefined;
}

/** The breaker of a pool. It opens when more than half of the last 20 connections failed, and of 5 at least. */
export interface DatabaseBreakerOptions {
  /** How long it stays open before one caller tries; doubled after each failure. Default: `'500ms'`. */
  openFor?: Duration | undefined;
  /** The longest of these times. Default: `'10s'`. */
  longest?: Duration | undefined;
}

/** Options of `monitorPool`. */
export interface MonitorPoolOptions {
  /** The instance whose requests, metrics and `Server-Timing` show the queries. Default: none; the figures alone. */
  perf?: Hotpath | undefined;
  /** The name of the pool in metrics. Default: `'default'`. */
  name?: string | undefined;
  /** A query that takes so long is slow. `false`: none is. Default: `'1s'`. */
  slow?: Duration | false | undefined;
  /** So many queries of one fingerprint in one request are reported as N+1. `false`: none are. Default: `10`. */
  nPlusOne?: number | false | undefined;
  /**
   * A client that `connect()` handed out this long ago is a leak suspect. `false`: none is, and `connect()` saves 2 µs.
   * Default: `'30s'`.
   */
  leakAfter?: Duration | false | undefined;
  /** The most fingerprints that are counted apart; further ones count as `other`. Default: `500`. */
  maxStatements?: number | undefined;
  /**
   * Repeats a read whose connection was lost: a `pool.query` with a promise, of one SELECT that provably changes nothing.
   * `true`: with the defaults. Default: `false`.
   */
  retry?: RetryOptions | boolean | undefined;
  /**
   * Refuses connections at once while the server cannot be reached, with `HOTPATH_DATABASE_UNAVAILABLE`. `true`: with the
   * defaults. Default: `false`.
   */
  breaker?: DatabaseBreakerOptions | boolean | undefined;
  /**
   * A client that idled this long is checked before it is used, which takes one round trip. `false`: none is. Default:
   * `false`.
   */
  checkAfterIdle?: Duration | false | undefined;
  /**
   * Plans slow SELECTs with `EXPLAIN` and the app's own values, on a connection of its own that only reads. At most one a
   * second, and each statement every ten minutes. Default: `false`.
   */
  explain?: boolean | undefined;
  /** The names of the metrics: ours, or those of OpenTelemetry's semantic conventions. Default: `'prometheus'`. */
  naming?: 'prometheus' | 'otel' | undefined;
  /** Called with each slow query; a returned promise is not awaited. Default: none. */
  onSlowQuery?: ((query: SlowQueryEvent) => void) | undefined;
  /** Called once for each route and fingerprint that is N+1. Default: none. */
  onNPlusOne?: ((found: NPlusOneEvent) => void) | undefined;
}

/** Resolved options of `monitorPool`. */
export type MonitorPoolSettings = v.InferOutput<typeof monitorPoolSchema>;

const monitorPoolSchema = section({
  perf: v.optional(leaf(readScoped)),
  name: v.optional(leaf(readName), 'default'),
  slow: v.optional(leaf(orFalse(readDuration)), '1s'),
  nPlusOne: v.optional(leaf(orFalse(readInteger(2, 100_000))), 10),
  leakAfter: v.optional(leaf(orFalse(readPositiveDuration)), '30s'),
  maxStatements: v.optional(leaf(readInteger(1, 10_000)), 500),
  retry: v.optional(
    toggle(
      section({
        attempts: v.optional(leaf(readInteger(2, 10)), 4),
        within: v.optional(leaf(readPositiveDuration), '3s'),
      }),
    ),
    false,
  ),
  breaker: v.optional(
    toggle(
      section({
        openFor: v.optional(leaf(readPositiveDuration), '500ms'),
        longest: v.optional(leaf(readPositiveDuration), '10s'),
      }),
    ),
    false,
  ),
  checkAfterIdle: v.optional(leaf(orFalse(readDuration)), false),
  explain: v.optional(leaf(booleanValidator), false),
  naming: v.optional(leaf(readWord('prometheus', 'otel')), 'prometheus'),
  onSlowQuery: v.optional(leaf(readFunction<(query: SlowQueryEvent) => void>())),
  onNPlusOne: v.optional(leaf(readFunction<(found: NPlusOneEvent) => void>())),
});

/** @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem. */
export function resolveMonitorPool(options: MonitorPoolOptions | undefined): MonitorPoolSettings {
  return resolve(monitorPoolSchema, options, 'monitorPool');
}

function orFalse<T>(read: Validator<T>): Validator<T | false> {
  return (input) => {
    if (input === false) return { value: false };
    const reading = read(input);
    return 'value' in reading ? reading : { expected: `false, or ${reading.expected}` };
  };
}

/** An instance with the scope of its requests. */
export type ScopedHotpath = Hotpath & { readonly [REQUEST_SCOPE]: RequestScope };

/** Accepts an instance of hotpath. */
export function readScoped(input: unknown): ValidationResult<ScopedHotpath> {
  return typeof input === 'function' && REQUEST_SCOPE in input
    ? { value: input as ScopedHotpath }
    : { expected: 'an instance of hotpath: the result of hotpath()' };
}
