import type { ServerResponse } from 'node:http';
import * as v from 'valibot';
import type { ContentEncoding } from '../../http/content-encoding.js';
import type { HotpathRequest } from '../../options/request-types.js';
import { leaf, objectOr, resolve, section } from '../../options/schema.js';
import { resolveStandalone } from '../../options/standalone.js';
import { type Duration, readSize, type Size } from '../../options/units.js';
import type { ValidationResult } from '../../options/validation-result.js';
import { readFunction, readInteger, readShare, readTimerDuration } from '../../options/validators.js';
import { zstdModule } from '../../runtime/zstd.js';
import { compressibleByType } from './filter.js';

/** Options of the compression middleware. */
export interface CompressionOptions {
  /** Smaller bodies are not compressed. Default: `'1kb'`. */
  threshold?: Size | undefined;
  /** The effort of gzip and deflate: 1 (fast) to 9 (small), or -1 for zlib's own choice, which is 6. Default: `6`. */
  level?: number | undefined;
  /** The effort of Brotli: 0 (fast) to 11 (small, but too slow for a live response). Default: `4`. */
  brotliQuality?: number | undefined;
  /** The effort of zstd: 1 (fast) to 19 (small). Default: `3`. */
  zstdLevel?: number | undefined;
  /**
   * The encodings to offer, the preferred one first: `'br'`, `'gzip'`, `'deflate'`, and `'zstd'` from Node 22.15 on.
   * Default: `['br', 'gzip']`.
   */
  encodings?: readonly ContentEncoding[] | undefined;
  /**
   * The encoding for clients that send no `Accept-Encoding`, or an empty one, although RFC 9110 §12.5.3 lets those have
   * the plain body. It is for clients that you know to decode it. Default: `'identity'`.
   */
  enforceEncoding?: ContentEncoding | 'identity' | undefined;
  /**
   * How long a handler pauses before what it has written is sent, so that text written in pieces arrives in pieces. At
   * most one flush in 100 ms: each costs a few bytes. `false`: only `res.flush()` sends it. Default: `'0.02s'`.
   */
  flushAfter?: Duration | false | undefined;
  /** The share of its size, 0 to 1, that a stored body must lose for the compressed form to be kept. Default: `0.1`. */
  minimumGain?: number | undefined;
  /**
   * Returns whether a response may be compressed; called before the headers are sent. `compression.filter` is the default
   * as a function. Default: decided by `Content-Type`.
   */
  filter?: ((req: HotpathRequest, res: ServerResponse) => boolean) | undefined;
}

/**
 * `false`: off; `true`: as in the section; or other numbers for one route.
 *
 * Turn it off for responses that hold a secret, such as a token, beside text that the client can choose. The length of
 * the compressed response reveals how much the two have in common (BREACH).
 */
export type CompressionPolicy =
  | boolean
  | Pick<CompressionOptions, 'threshold' | 'level' | 'brotliQuality' | 'zstdLevel' | 'flushAfter'>;

/** Resolved options of the compression middleware: sizes in bytes, durations in seconds. */
export type CompressionSettings = v.InferOutput<typeof compressionSchema>;

/** Resolved numbers for one route, taken from the section where the route gives none. */
export type CompressionPolicySettings = Pick<
  CompressionSettings,
  'threshold' | 'level' | 'brotliQuality' | 'zstdLevel' | 'flushAfter'
>;

/** Options of `compression()` used alone. */
export interface StandaloneCompressionOptions extends CompressionOptions {
  /** Policies by path, in Express 5 syntax; the first match wins. */
  routes?: Readonly<Record<string, CompressionPolicy>> | undefined;
}

/** The part of a route's policies that compression reads. */
export interface CompressionRoutePolicies {
  readonly compression?: CompressionPolicySettings | false;
}

const tuning = {
  threshold: leaf(readSize),
  level: leaf<number>((input) =>
    input === -1 || 'value' in readInteger(1, 9)(input)
      ? { value: input as number }
      : { expected: 'a whole number from 1 to 9, or -1' },
  ),
  brotliQuality: leaf(readInteger(0, 11)),
  zstdLevel: leaf(readInteger(1, 19)),
  flushAfter: leaf<number | false>(readFlushAfter),
};

const entries = {
  threshold: v.optional(tuning.threshold, '1kb'),
  level: v.optional(tuning.level, 6),
  brotliQuality: v.optional(tuning.brotliQuality, 4),
  zstdLevel: v.optional(tuning.zstdLevel, 3),
  flushAfter: v.optional(tuning.flushAfter, '0.02s'),
  encodings: v.optional(leaf(readEncodings), ['br', 'gzip']),
  enforceEncoding: v.optional(leaf(readEnforced), 'identity'),
  minimumGain: v.optional(leaf(readShare), 0.1),
  filter: v.optional(leaf(readFilter)),
};

/** Reads the section. */
export const compressionSchema = section(entries);

/** Reads a route's policy. */
export const compressionPolicySchema = objectOr(
  section({
    threshold: v.exactOptional(tuning.threshold),
    level: v.exactOptional(tuning.level),
    brotliQuality: v.exactOptional(tuning.brotliQuality),
    zstdLevel: v.exactOptional(tuning.zstdLevel),
    flushAfter: v.exactOptional(tuning.flushAfter),
  }),
  [true, false],
  'true, false, or an object with threshold, level, brotliQuality, zstdLevel and flushAfter',
);

/** A route's policy as read, before the section's numbers fill its gaps. */
export type ReadCompressionPolicy = v.InferOutput<typeof compressionPolicySchema>;

/** Fills the gaps of a route's policy with the section's numbers. */
export function completeCompressionPolicy(
  policy: ReadCompressionPolicy,
  { threshold, level, brotliQuality, zstdLevel, flushAfter }: CompressionPolicySettings,
): CompressionPolicySettings | false {
  if (policy === false) return false;
  const own = policy === true ? {} : policy;
  return Object.freeze({ threshold, level, brotliQuality, zstdLevel, flushAfter, ...own });
}

/**
 * Resolves the section's options.
 * @param path the path of the options in the config, for messages.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function resolveCompression(input?: CompressionOptions, path = 'compression'): CompressionSettings {
  return resolve(compressionSchema, input, path);
}

/**
 * Resolves the options of `compression()` used alone.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function resolveCompressionStandalone(options?: StandaloneCompressionOptions) {
  const complete = completeCompressionPolicy;
  return resolveStandalone(
    { key: 'compression', entries, policy: compressionPolicySchema, complete },
    options,
  );
}

const CODINGS: readonly unknown[] = ['br', 'gzip', 'deflate', 'zstd'];
const WITHOUT_ZSTD = `'zstd' needs Node 22.15, and this is ${process.version}: leave it out`;

function readEncodings(input: unknown): ValidationResult<readonly ContentEncoding[]> {
  const valid =
    Array.isArray(input) &&
    input.length > 0 &&
    new Set(input).size === input.length &&
    input.every((each) => CODINGS.includes(each));
  const expected = "a list of 'br', 'gzip', 'deflate' and 'zstd', each at most once, not empty";
  if (!valid) return { expected };
  if (input.includes('zstd') && !zstdModule) return { expected: `${expected} (${WITHOUT_ZSTD})` };
  return { value: Object.freeze([...input]) };
}

function readEnforced(input: unknown): ValidationResult<ContentEncoding | 'identity'> {
  const expected = "'identity', 'br', 'gzip', 'deflate' or 'zstd'";
  if (input !== 'identity' && !CODINGS.includes(input)) return { expected };
  if (input === 'zstd' && !zstdModule) return { expected: `${expected} (${WITHOUT_ZSTD})` };
  return { value: input as ContentEncoding | 'identity' };
}

function readFlushAfter(input: unknown): ValidationResult<number | false> {
  if (input === false) return { value: false };
  const reading = readTimerDuration(input);
  return 'value' in reading ? reading : { expected: `${reading.expected}, or false` };
}

/** The default as a function is the default: without a function of the app, the front door may compress too. */
function readFilter(input: unknown): ValidationResult<CompressionOptions['filter']> {
  if (input === compressibleByType) return { value: undefined };
  return readFunction<NonNullable<CompressionOptions['filter']>>()(input);
}
