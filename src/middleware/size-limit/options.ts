import * as v from 'valibot';
import { isPlainObject } from '../../options/format-value.js';
import type { HotpathRequest } from '../../options/request-types.js';
import { leaf, type Schema, section } from '../../options/schema.js';
import { resolveStandalone } from '../../options/standalone.js';
import { readSize, type Size } from '../../options/units.js';
import type { ValidationResult } from '../../options/validation-result.js';
import { readFunction, readInteger, readPositiveSize, readWord } from '../../options/validators.js';
import type { BodyCodingError, BodyEvictedError, BodyTooLargeError } from './rejection.js';

/** The limits of a request body. */
export interface SizeLimits {
  /** The largest request body, counted as it arrives (still compressed). Default: `'10mb'`. */
  limit?: Size | undefined;
  /**
   * The largest size of a compressed request body after decompression: 53 bytes of Brotli can hold 64 MB. hotpath
   * decompresses such a body to count it, while the app reads it. The app still gets the compressed bytes, never more
   * than were counted. One coding is accepted (gzip, deflate, br, and zstd from Node 22.15 on). Other codings, or
   * several, get a 415; a body that is not in the coding it declares gets a 400. A body that the app does not read is
   * not checked. `false`: not checked, for an app that passes such bodies on. Default: the same as `limit`.
   */
  inflated?: Size | false | undefined;
  /**
   * The largest window of a Brotli body, as a power of two from 10 to 24. A decoder holds as much memory as the window;
   * a body that asks for a larger one gets a 415. Encoders use 22 (4 MB) by default; the `brotli`
   * command uses 24 (16 MB) for large files. Default: `22`.
   */
  brotliWindow?: number | undefined;
  /**
   * The largest window of a zstd body, as a power of two from 10 to 27. A body that asks for a larger one gets a 415. 23
   * (8 MB) is what every decoder on the web has (RFC 9659). Default: `23`.
   */
  zstdWindow?: number | undefined;
  /**
   * The part that responds to a refused body. `'problem'`: hotpath, at once, before the app runs. `'next'`: the app.
   * The first read of the body fails with an error as of `http-errors` (413, `entity.too.large`, `expose`). So
   * `express.json()` hands it to your error handler after `cors` and `helmet` have run. A response below 400, or none
   * within a second,
   * is replaced by the problem. Default: `'problem'`.
   */
  respond?: 'problem' | 'next' | undefined;
}

/** A body that was refused, for `onRefused`. */
export interface BodyRefusal {
  readonly req: HotpathRequest;
  /** 413 for a body that is too large; 400, 408, 415 or 503 for a compressed one. */
  readonly status: number;
  /** The error that readers of the body receive; its `code` says why. */
  readonly error: BodyTooLargeError | BodyCodingError | BodyEvictedError;
  /** The template of the route, or the pattern of the policy; `undefined` where neither is known yet. */
  readonly path: string | undefined;
}

/** Options of the request-size limit. */
export interface SizeLimitOptions extends SizeLimits {
  /**
   * The memory that the decoders of compressed bodies hold together, in the whole process. Half of it is for decoders
   * that need at most 64 kB, as gzip does. A body that needs more than is left waits. While one waits, bodies that have
   * sent next to nothing for five seconds end with a 408. If memory or their reader held them up, it is a 503.
   * Default: `'64mb'`.
   */
  decoderMemory?: Size | undefined;
  /** Called for each refused body, such as to log it; must be synchronous. Default: none. */
  onRefused?: ((refusal: BodyRefusal) => void) | undefined;
}

/** A size, an object with limits, or `false` for no limit. The section decides what is absent, `decoderMemory` and `onRefused`. */
export type SizeLimitPolicy = Size | false | SizeLimits;

/** Resolved options of the request-size limit: sizes in bytes. Without `inflated`, `limit` applies. */
export type SizeLimitSettings = v.InferOutput<typeof sizeLimitSchema>;

/** Options of `sizeLimit()` used alone. */
export interface StandaloneSizeLimitOptions extends SizeLimitOptions {
  /** Limits by path, in Express 5 syntax; the first match wins; `false`: no limit. */
  routes?: Readonly<Record<string, SizeLimitPolicy>> | undefined;
}

/** The part of a route's policies that the size limit reads. */
export interface SizeLimitRoutePolicies {
  readonly sizeLimit?: ReadSizeLimitPolicy | undefined;
}

const readLimit = (input: unknown): ValidationResult<number | false> => {
  if (input === false) return { value: false };
  const reading = readSize(input);
  return 'value' in reading ? reading : { expected: `${reading.expected}, or false` };
};

const inflated = v.exactOptional(leaf<number | false>(readLimit));
const readWindow = readInteger(10, 24);
const readZstdWindow = readInteger(10, 27);
const readRespond = readWord('problem', 'next');
const entries = {
  limit: v.optional(leaf(readSize), '10mb'),
  inflated,
  brotliWindow: v.optional(leaf(readWindow), 22),
  zstdWindow: v.optional(leaf(readZstdWindow), 23),
  respond: v.optional(leaf(readRespond), 'problem'),
  decoderMemory: v.optional(leaf(readPositiveSize), '64mb'),
  onRefused: v.optional(leaf(readFunction<NonNullable<SizeLimitOptions['onRefused']>>())),
};

/** Reads the section. */
export const sizeLimitSchema = section(entries);

const policySection = section({
  limit: v.exactOptional(leaf(readSize)),
  inflated,
  brotliWindow: v.exactOptional(leaf(readWindow)),
  zstdWindow: v.exactOptional(leaf(readZstdWindow)),
  respond: v.exactOptional(leaf(readRespond)),
});
/** A route's limit as read: bytes, or the settings that differ from the section's; `false`: no limit. */
export type ReadSizeLimitPolicy = number | false | v.InferOutput<typeof policySection>;

const policyLeaf = leaf<number | false>(readLimit);

/** Reads a route's limit. */
export const sizeLimitPolicySchema: Schema<ReadSizeLimitPolicy> = v.lazy(
  (input): Schema<ReadSizeLimitPolicy> =>
    isPlainObject(input) && Object.keys(input).length > 0 ? policySection : policyLeaf,
);

/**
 * Resolves the options of `sizeLimit()` used alone.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function resolveSizeLimitStandalone(options?: StandaloneSizeLimitOptions) {
  return resolveStandalone({ key: 'sizeLimit', entries, policy: sizeLimitPolicySchema }, options);
}
