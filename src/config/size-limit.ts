import * as v from 'valibot';
import { compileRoutes, type RouteTable, readPattern } from './routes.js';
import { leaf, mapOf, resolve, type Schema, section } from './schema.js';
import { readSize, type Size } from './units.js';

/** Options of the request-size limit. */
export interface SizeLimitOptions {
  /** Largest request body, as it arrives (still compressed). Bytes or a size. Default `'10mb'`. */
  limit?: Size;
}

/** The limit of one route; `false`: none. */
export type SizeLimitPolicy = Size | false;

/** Resolved options of the request-size limit. */
export interface SizeLimitSettings {
  /** Bytes. */
  readonly limit: number;
}

/** Options of `sizeLimit()` used alone. */
export interface StandaloneSizeLimitOptions extends SizeLimitOptions {
  /** Limits by path, in Express 5 syntax; the first match wins; `false`: no limit. */
  routes?: Readonly<Record<string, SizeLimitPolicy>>;
}

/** The part of a route's policies that the size limit reads. */
export interface SizeLimitRoutePolicies {
  /** Bytes; `false`: no limit. */
  readonly sizeLimit?: number | false;
}

const entries = { limit: v.optional(leaf(readSize), '10mb') };

/** Reads the section. */
export const sizeLimitSchema: Schema<SizeLimitSettings> = section(entries);

/** Reads a route's limit. */
export const sizeLimitPolicySchema: Schema<number | false> = leaf<number | false>((input) => {
  if (input === false) return { value: false };
  const reading = readSize(input);
  return 'value' in reading ? reading : { expected: `${reading.expected}, or false` };
});

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
