import * as v from 'valibot';
import { isPlainObject } from '../../options/format-value.js';
import { leaf, list, mapOf, resolve, type Schema, section } from '../../options/schema.js';
import type { Duration } from '../../options/units.js';
import type { ValidationResult, Validator } from '../../options/validation-result.js';
import { booleanValidator, readFunction, readName, readTimerDuration } from '../../options/validators.js';
import type { Authorize } from '../access/authorize.js';
import type { HealthReport } from './report.js';

/** The argument of a check. */
export interface CheckContext {
  /** Aborted at the time-out. */
  readonly signal: AbortSignal;
}

/** A result of a check that says more than that it passed. */
export interface CheckResult {
  readonly status: 'pass' | 'warn' | 'fail';
  /** Why; shown to those who may see reasons. */
  readonly reason?: string | undefined;
}

/**
 * Looks whether something works. It passes unless it throws, rejects, returns `false`, an `Error`, a response of `fetch`
 * that is not `ok`, or a `CheckResult` that says otherwise. It must also settle in time.
 */
export interface CheckFunction {
  (context: CheckContext): unknown;
  /** Whether the app cannot work without it, where the options do not say. Default: `true`. */
  readonly critical?: boolean | undefined;
}

/** A check with options of its own. */
export interface HealthCheckOptions {
  /** The check. */
  check: CheckFunction;
  /** `false`: where it fails, the instance is degraded (`warn`), and still ready. Default: that of the function, or `true`. */
  critical?: boolean | undefined;
  /** How long it may take. Default: `timeout` of all. */
  timeout?: Duration | undefined;
  /** How long its result holds. Default: `cacheFor` of all. */
  cacheFor?: Duration | undefined;
}

/** Options of `health`. */
export interface HealthOptions {
  /** Checks of `/readyz`, by name. Default: none. */
  checks?: Readonly<Record<string, CheckFunction | HealthCheckOptions>> | undefined;
  /** How long each check may take. Shorter than the time-out of the probe, 1 s on Kubernetes. Default: `'800ms'`. */
  timeout?: Duration | undefined;
  /** How long the result of a check holds, however many requests come. Default: `'1s'`. */
  cacheFor?: Duration | undefined;
  /** The path that says whether the process runs; `false`: none. Default: `'/healthz'`. */
  live?: string | false | undefined;
  /** The path that says whether requests may come; `false`: none. Default: `'/readyz'`. */
  ready?: string | false | undefined;
  /** The beginnings of both paths; `['', '/api']` adds `/api/healthz` and `/api/readyz`. Default: `['']`. */
  prefixes?: readonly string[] | undefined;
  /**
   * Decides who may see the checks and their reasons: `basicAuth({ users })` or a function of the app, as for
   * `performanceApi`. All others see the status alone. Default: nobody sees them.
   */
  authorize?: Authorize | undefined;
  /** The instance of hotpath: unready once `shutdown` has it. Default: that of the server alone counts. */
  perf?: object | undefined;
  /** Called when the readiness or a failing check changes, for the app's own log. Default: none. */
  onChange?: ((report: HealthReport) => unknown) | undefined;
}

/** Resolved options of one check: durations in milliseconds. */
export interface CheckSettings {
  readonly check: CheckFunction;
  readonly critical: boolean;
  readonly timeoutMs: number;
  readonly cacheMs: number;
}

/** Resolved options of `health`. */
export type HealthSettings = Omit<v.InferOutput<typeof healthSchema>, 'checks'> & {
  readonly checks: ReadonlyMap<string, CheckSettings>;
};

const checkSection = section({
  check: leaf(readFunction<CheckFunction>()),
  critical: v.optional(leaf(booleanValidator)),
  timeout: v.optional(leaf(readTimeout)),
  cacheFor: v.optional(leaf(readTimerDuration)),
});

type ReadCheck = v.InferOutput<typeof checkSection>;

const checkSchema: Schema<ReadCheck> = v.lazy((input): Schema<ReadCheck> => {
  if (isPlainObject(input)) return checkSection;
  return leaf<ReadCheck>((value) =>
    typeof value === 'function'
      ? { value: { check: value as CheckFunction } }
      : { expected: 'a function, or an object with a function `check`' },
  );
});

const healthSchema = section(
  {
    checks: v.optional(mapOf(readName, checkSchema, 'names'), {}),
    timeout: v.optional(leaf(readTimeout), '800ms'),
    cacheFor: v.optional(leaf(readTimerDuration), '1s'),
    live: v.optional(leaf(pathOrFalse(false)), '/healthz'),
    ready: v.optional(leaf(pathOrFalse(false)), '/readyz'),
    prefixes: v.optional(list(leaf(readPrefixPath), "a list such as ['', '/api']"), ['']),
    authorize: v.optional(leaf(readFunction<Authorize>())),
    perf: v.optional(leaf(readOwner)),
    onChange: v.optional(leaf(readFunction<NonNullable<HealthOptions['onChange']>>())),
  },
  ({ live = '/healthz', ready = '/readyz' }, report) => {
    if (live === ready && live !== false)
      report('ready', 'is the same path as `live`; set another path, or false');
  },
);

/** @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem. */
export function resolveHealth(options: HealthOptions | undefined): HealthSettings {
  const settings = resolve(healthSchema, options, 'health');
  const checks = Object.entries(settings.checks).map(([name, given]) => {
    const { check, critical = check.critical !== false } = given;
    const { timeout, cacheFor } = { timeout: settings.timeout, cacheFor: settings.cacheFor, ...ownOf(given) };
    return [name, { check, critical, timeoutMs: timeout * 1000, cacheMs: cacheFor * 1000 }] as const;
  });
  return { ...settings, checks: new Map(checks) };
}

function ownOf({ timeout, cacheFor }: ReadCheck): { timeout?: number; cacheFor?: number } {
  return { ...(timeout !== undefined && { timeout }), ...(cacheFor !== undefined && { cacheFor }) };
}

function readTimeout(input: unknown): ValidationResult<number> {
  const reading = readTimerDuration(input);
  return 'value' in reading && reading.value === 0 ? { expected: 'a duration greater than 0' } : reading;
}

function pathOrFalse(off: false): Validator<string | false> {
  return (input) => (input === off ? { value: off } : readFixedPath(input));
}

function readFixedPath(input: unknown): ValidationResult<string> {
  return typeof input === 'string' && /^(?:\/[\w.~-]+)+$/.test(input)
    ? { value: input }
    : { expected: "a path without parameters, such as '/healthz', or false" };
}

function readPrefixPath(input: unknown): ValidationResult<string> {
  if (input === '' || input === '/') return { value: '' };
  const reading = readFixedPath(input);
  return 'value' in reading ? reading : { expected: "'' or a path without parameters, such as '/api'" };
}

function readOwner(input: unknown): ValidationResult<object> {
  return typeof input === 'function'
    ? { value: input }
    : { expected: 'the instance that hotpath() returned' };
}
