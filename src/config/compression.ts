import type { ServerResponse } from 'node:http';
import type { HotpathRequest } from './context.js';
import type { RouteTable } from './routes.js';
import type { Size } from './units.js';

/** A content coding that responses can be compressed with. */
export type ContentEncoding = 'br' | 'gzip' | 'deflate';

/** Options of the compression middleware. */
export interface CompressionOptions {
  /** Bodies smaller than this stay as they are. Bytes or a size. Default `'1kb'`. */
  threshold?: Size;
  /** Effort of gzip and deflate: 1 (fast) to 9 (small), or -1 for zlib's own choice, which is 6. Default 6. */
  level?: number;
  /** Effort of Brotli: 0 (fast) to 11 (small, far too slow for a live response). Default 4. */
  brotliQuality?: number;
  /** Encodings offered, the preferred one first. Default `['br', 'gzip']`. */
  encodings?: readonly ContentEncoding[];
  /**
   * The share of its size, 0 to 1, that a stored body must lose for its compressed variant to be kept.
   * Default 0.1.
   */
  minimumGain?: number;
  /** Whether a response may be compressed; asked before its headers go. Default: by its `Content-Type`. */
  filter?: (req: HotpathRequest, res: ServerResponse) => boolean;
}

/** Compression for one route: off, on as the section says, or on with other numbers. */
export type CompressionPolicy = boolean | Pick<CompressionOptions, 'threshold' | 'level' | 'brotliQuality'>;

/** Resolved numbers for one route, taken from the section where the route gives none. */
export interface CompressionPolicySettings {
  /** Bytes. */
  readonly threshold: number;
  readonly level: number;
  readonly brotliQuality: number;
}

/** Resolved options of the compression middleware. */
export interface CompressionSettings extends CompressionPolicySettings {
  readonly encodings: readonly ContentEncoding[];
  readonly minimumGain: number;
  readonly filter?: (req: HotpathRequest, res: ServerResponse) => boolean;
}

/** Options of `compression()` used alone. */
export interface StandaloneCompressionOptions extends CompressionOptions {
  /** Policies by path, in Express 5 syntax; the first match wins. */
  routes?: Readonly<Record<string, CompressionPolicy>>;
}

/** The part of a route's policies that compression reads. */
export interface CompressionRoutePolicies {
  readonly compression?: CompressionPolicySettings | false;
}

export function resolveCompression(_input?: CompressionOptions, _path = 'compression'): CompressionSettings {
  throw new Error('not built yet');
}
export function resolveCompressionStandalone(
  _options?: StandaloneCompressionOptions,
  _path = 'compression',
): {
  settings: CompressionSettings;
  routes: RouteTable<CompressionRoutePolicies>;
} {
  throw new Error('not built yet');
}
