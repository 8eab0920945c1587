import * as v from 'valibot';
import type { NPlusOneEvent, SlowQueryEvent } from '../../events/channels.js';
import { REQUEST_SCOPE, type RequestScope } from '../../exchange/request-scope.js';
import type { Hotpath } from '../../hotpath.js';
import { leaf, resolve, section } from '../../options/schema.js';
import { type Duration, readDuration } from '../../options/units.js';
import type { ValidationResult, Validator } from '../../options/validation-result.js';
import {
  readFunction,
  readInteger,
  readName,
  readPositiveDuration,
  readWord,
} from '../../options/validators.js';

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
