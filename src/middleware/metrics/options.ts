import type { Registry } from 'prom-client';
import * as v from 'valibot';
import { leaf, mapOf, objectOr, resolve, type Schema, section } from '../../options/schema.js';
import type { ValidationResult } from '../../options/validation-result.js';
import { booleanValidator, readInteger } from '../../options/validators.js';
import type { MetricLabel } from '../../telemetry/http-metrics.js';

export type { MetricLabel };

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
  /** The start of the names of all metrics, such as `'shop_'`. Default: `''`. */
  prefix?: string | undefined;
  /**
   * Further labels of the metrics of requests: a value, or a function of `{ req, res }` that returns it when the response
   * has ended. A function has at most 100 values, further ones become `other`; `maxSeries` bounds them all
   * together. Never return text that a client can choose. Default: none.
   */
  labels?: Readonly<Record<string, MetricLabel>> | undefined;
  /** Whether the duration histogram has the label `status` too; it multiplies the series. Default: `false`. */
  statusInDurations?: boolean | undefined;
  /**
   * Whether the handler serves OpenMetrics to scrapers that ask for it, with a trace for each bucket of the durations.
   * The trace is that of OpenTelemetry's active span, or of the header `traceparent`. Default: `false`.
   */
  exemplars?: boolean | undefined;
}

/** How the requests of one path are counted: `false`: in no series but `http_requests_in_progress`; or with buckets of its own. */
export interface MetricsPolicy {
  /** Upper bounds of the duration histogram for this route. Default: `metrics.buckets`. */
  buckets?: readonly number[] | undefined;
}

/** The part of a route's policies that concerns metrics. */
export interface MetricsRoutePolicies {
  readonly metrics?: false | { readonly buckets?: readonly number[] | undefined } | undefined;
}

/** Resolved options of the metrics middleware. */
export type MetricsSettings = v.InferOutput<typeof metricsSchema>;

/** Reads the section. */
export const metricsSchema = section({
  defaultMetrics: v.optional(leaf(booleanValidator), true),
  registry: v.optional(leaf(readRegistry)),
  buckets: v.optional(leaf(readBuckets), [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]),
  maxSeries: v.optional(leaf(readInteger(1)), 2000),
  prefix: v.optional(leaf(readPrefix), ''),
  labels: v.optional(mapOf(readLabelName, leaf(readLabel)), {}),
  statusInDurations: v.optional(leaf(booleanValidator), false),
  exemplars: v.optional(leaf(booleanValidator), false),
});

/** Reads the metrics of a route. */
export const metricsPolicySchema: Schema<false | { readonly buckets?: readonly number[] | undefined }> =
  objectOr(
    section({ buckets: v.optional(leaf(readBuckets)) }),
    [false],
    'false or an object such as { buckets: [0.1, 1] }',
  );

/**
 * Resolves the section's options.
 * @param path the path of the options in the config, for messages.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function resolveMetrics(input?: MetricsOptions, path = 'metrics'): MetricsSettings {
  return resolve(metricsSchema, input, path);
}

function readPrefix(input: unknown): ValidationResult<string> {
  return typeof input === 'string' && /^(?:[A-Za-z_:][\w:]*)?$/.test(input)
    ? { value: input }
    : { expected: "the start of a metric's name, such as 'shop_' (letters, digits and underscores)" };
}

const OWN_LABELS: ReadonlySet<string> = new Set(['method', 'path', 'status', 'le']);

function readLabelName(input: unknown): ValidationResult<string> {
  return typeof input === 'string' && /^(?!__)[A-Za-z_]\w*$/.test(input) && !OWN_LABELS.has(input)
    ? { value: input }
    : { expected: "the name of a label, such as 'tenant'; method, path, status and le are taken" };
}

function readLabel(input: unknown): ValidationResult<MetricLabel> {
  if (typeof input === 'function') return { value: input as MetricLabel };
  return typeof input === 'string' && input.length <= 100
    ? { value: input }
    : { expected: 'a string of at most 100 characters, or a function that returns one' };
}

// Checks methods instead of the class, because the app may use another copy of prom-client.
export function readRegistry(input: unknown): ValidationResult<Registry> {
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
