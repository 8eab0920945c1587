import type { Transform } from 'node:stream';
import zlib, { type Zlib, type ZlibOptions } from 'node:zlib';

/** Numbers of zstd's own API, which `zlib.constants` has from Node 22.15 on. */
export const ZSTD = {
  compressionLevel: 100,
  windowLog: 101,
  windowLogMax: 100,
  flush: 1,
  leastWindowBits: 10,
  /** RFC 9659: decoders on the web have windows of at most 8 MB. A power of two. */
  mostWindowBits: 23,
} as const;

/** Options of zstd streams: those of Brotli, with other parameters. */
export interface ZstdOptions extends Pick<ZlibOptions, 'chunkSize'> {
  readonly params?: Readonly<Record<number, number>>;
  readonly readableHighWaterMark?: number;
}

/** The zstd functions of Node from 22.15 (and 23.8) on. This file can go when that is the oldest version supported. */
interface ZstdModule {
  createZstdCompress(options?: ZstdOptions): Transform & Zlib;
  createZstdDecompress(options?: ZstdOptions): Transform & Zlib;
  zstdCompress(
    body: Uint8Array,
    options: ZstdOptions,
    callback: (error: Error | null, result: Buffer) => void,
  ): void;
}

/** The functions of `node:zlib` for zstd (RFC 8878); `undefined` before Node 22.15. */
export const zstdModule: ZstdModule | undefined =
  'createZstdCompress' in zlib ? (zlib as unknown as ZstdModule) : undefined;
