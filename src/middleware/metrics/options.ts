import type { Registry } from 'prom-client';
import * as v from 'valibot';
import { leaf, resolve, section } from '../../options/schema.js';
import type { ValidationResult } from '../../options/validation-result.js';
import { booleanValidator, readInteger } from '../../options/validators.js';

/** Options of the metrics middleware. */
export interface MetricsOptions {
  /** Whether to collect the metrics of the process too: memory, event loop, garbage collection. Default: `true`. */
  defaultMetrics?: boolean | undefined;
  /** The `prom-client` registry to use. Default: a new one. */
  registry?: Registry | undefined;
  /** Upper bounds of the duration histogram in seconds, ascending. Default: `[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]`. */
  buckets?: readonly number[] | undefined;
  /** The most label sets per metric; further ones count as `overflow`. Default: `2000`. */
  maxSeries?: number | undefined;
}

/** Resolved options of the metrics middleware. */
export type MetricsSettings = v.InferOutput<typeof metricsSchema>;

/** Reads the section. */
export const metricsSchema = section({
  defaultMetrics: v.optional(leaf(booleanValidator), true),
  registry: v.optional(leaf(readRegistry)),
  buckets: v.optional(leaf(readBuckets), [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]),
  maxSeries: v.optional(leaf(readInteger(1)), 2000),
});

/**
 * Resolves the section's options.
 * @param path the path of the options in the config, for messages.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function resolveMetrics(input?: MetricsOptions, path = 'metrics'): MetricsSettings {
  return resolve(metricsSchema, input, path);
}

// Checks methods instead of the class, because the app may use another copy of prom-client.
function readRegistry(input: unknown): ValidationResult<Registry> {
  const methods = ['metrics', 'registerMetric', 'getSingleMetric'];
  const complete =
    typeof input === 'object' &&
    input !== null &&
    methods.every((name) => typeof (input as Record<string, unknown>)[name] === 'function');
  return complete ? { value: input as Registry } : { expected: 'a Registry of prom-client' };
}

function readBuckets(input: unknown): ValidationResult<readonly number[]> {
  const valid =
    Array.isArray(input) &&
    input.length > 0 &&
    input.every((bound, i) => Number.isFinite(bound) && bound > (i === 0 ? 0 : input[i - 1]));
  return valid
    ? { value: Object.freeze([...input]) }
    : { expected: 'a list of numbers of seconds, greater than 0 and ascending' };
}
