import * as v from 'valibot';
import { isPlainObject } from './describe.js';
import { readInteger, readPositiveSize } from './readers.js';
import type { Reading } from './reading.js';
import { compileRoutes, type RouteTable, readPattern } from './routes.js';
import { leaf, mapOf, resolve, type Schema, section } from './schema.js';
import { readSize, type Size } from './units.js';

/** The limits of a request body. */
export interface SizeLimits {
  /** Largest request body, as it arrives (still compressed). Bytes or a size. Default `'10mb'`. */
  limit?: Size;
  /**
   * Largest that a request body with a `Content-Encoding` may become when that is taken off: 53 bytes of Brotli
   * can hold 64 MB. Such a body is decoded here beside the app, which receives of it only what has been
   * counted; hotpath changes nothing of it. One coding is accepted (gzip, deflate or br); others, and several,
   * are refused with 415, and what is not in the coding that it names with 400. `false`: codings are not
   * looked at, for an app that passes such bodies on as they are. Bytes or a size. Default: as `limit`.
   */
  inflated?: Size | false;
  /**
   * Largest window of a Brotli body, as a power of two: 10 to 24. A decoder holds as much memory as the window, so a
   * larger one is refused with 415. Default 22 (4 MB), which is what encoders use unless they are told otherwise;
   * the `brotli` command takes 24 (16 MB) for large files.
   */
  brotliWindow?: number;
}

/** Options of the request-size limit. */
export interface SizeLimitOptions extends SizeLimits {
  /**
   * Memory that the decoders of compressed bodies may hold together, in the whole process; half of it is for those
   * that need 64 kB and no more, as gzip does. A body that needs more than is left waits; while one waits, bodies that have sent next to nothing for five seconds are ended with 408.
   * Bytes or a size. Default `'64mb'`.
   */
  decoderMemory?: Size;
}

/** The limit of one route, or both its limits; `false`: none. What is not given is that of the section. */
export type SizeLimitPolicy = Size | false | SizeLimits;

/** Resolved options of the request-size limit. */
export interface SizeLimitSettings {
  /** Bytes. */
  readonly limit: number;
  /** Bytes; `false`: codings are not looked at; absent: as `limit`. */
  readonly inflated?: number | false;
  /** A power of two. */
  readonly brotliWindow: number;
  /** Bytes, of all decoders in the process. */
  readonly decoderMemory: number;
}

/** Options of `sizeLimit()` used alone. */
export interface StandaloneSizeLimitOptions extends SizeLimitOptions {
  /** Limits by path, in Express 5 syntax; the first match wins; `false`: no limit. */
  routes?: Readonly<Record<string, SizeLimitPolicy>>;
}

/** The part of a route's policies that the size limit reads. */
export interface SizeLimitRoutePolicies {
  /** Bytes, or the settings that differ from the section's; `false`: no limit. */
  readonly sizeLimit?: number | false | Partial<Omit<SizeLimitSettings, 'decoderMemory'>>;
}

const readLimit = (input: unknown): Reading<number | false> => {
  if (input === false) return { value: false };
  const reading = readSize(input);
  return 'value' in reading ? reading : { expected: `${reading.expected}, or false` };
};

const inflated = v.optional(leaf<number | false>(readLimit));
const readWindow = readInteger(10, 24);
const entries = {
  limit: v.optional(leaf(readSize), '10mb'),
  inflated,
  brotliWindow: v.optional(leaf(readWindow), 22),
  decoderMemory: v.optional(leaf(readPositiveSize), '64mb'),
};

/** Reads the section. */
export const sizeLimitSchema: Schema<SizeLimitSettings> = section(entries);

/** A route's limit as read. */
export type ReadSizeLimitPolicy = number | false | Partial<Omit<SizeLimitSettings, 'decoderMemory'>>;

const policySection = section({
  limit: v.optional(leaf(readSize)),
  inflated,
  brotliWindow: v.optional(leaf(readWindow)),
});
const policyLeaf = leaf<number | false>(readLimit);

/** Reads a route's limit. */
export const sizeLimitPolicySchema: Schema<ReadSizeLimitPolicy> = v.lazy(
  (input): Schema<ReadSizeLimitPolicy> =>
    isPlainObject(input) && Object.keys(input).length > 0 ? policySection : policyLeaf,
);

/**
 * Resolves the section's options.
 * @param path where they stand, for messages.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function resolveSizeLimit(input?: SizeLimitOptions, path = 'sizeLimit'): SizeLimitSettings {
  return resolve(sizeLimitSchema, input, path);
}

/** Resolves the options of `sizeLimit()` used alone; throws as `resolveSizeLimit` does. */
export function resolveSizeLimitStandalone(
  options?: StandaloneSizeLimitOptions,
  path = 'sizeLimit',
): { settings: SizeLimitSettings; routes: RouteTable<SizeLimitRoutePolicies> } {
  const { routes, ...settings } = resolve(
    section({ ...entries, routes: v.optional(mapOf(readPattern, sizeLimitPolicySchema), {}) }),
    options,
    path,
  );
  const policies = Object.entries(routes).map(
    ([pattern, sizeLimit]) => [pattern, Object.freeze({ sizeLimit })] as const,
  );
  return { settings: Object.freeze(settings), routes: compileRoutes(Object.fromEntries(policies)) };
}
