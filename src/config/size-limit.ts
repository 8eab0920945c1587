import type { RouteTable } from './routes.js';
import type { Size } from './units.js';

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

export function resolveSizeLimit(_input?: SizeLimitOptions, _path = 'sizeLimit'): SizeLimitSettings {
  throw new Error('not built yet');
}
export function resolveSizeLimitStandalone(
  _options?: StandaloneSizeLimitOptions,
  _path = 'sizeLimit',
): {
  settings: SizeLimitSettings;
  routes: RouteTable<SizeLimitRoutePolicies>;
} {
  throw new Error('not built yet');
}
