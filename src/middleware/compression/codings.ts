import type { Transform } from 'node:stream';
import zlib, { type Zlib } from 'node:zlib';
import type { ContentEncoding } from '../../http/content-encoding.js';
import { ZSTD, zstdModule } from '../../runtime/zstd.js';

/** A stream of `node:zlib` that compresses. */
export type EncoderStream = Transform & Zlib;

/** How much the streams of a response compress. */
export interface StreamEffort {
  readonly level: number;
  readonly brotliQuality: number;
  readonly zstdLevel: number;
}

/**
 * The flush of each coding that sends what was written and keeps what the encoder has learned. The default of
 * `stream.flush()` for gzip forgets it: text in small pieces becomes twice as long.
 */
export const FLUSH_OPERATIONS: Readonly<Record<ContentEncoding, number>> = {
  br: zlib.constants.BROTLI_OPERATION_FLUSH,
  gzip: zlib.constants.Z_SYNC_FLUSH,
  deflate: zlib.constants.Z_SYNC_FLUSH,
  zstd: ZSTD.flush,
};

const ENCODERS: Readonly<Record<ContentEncoding, (effort: StreamEffort) => EncoderStream>> = {
  br: ({ brotliQuality }) =>
    zlib.createBrotliCompress({ params: { [zlib.constants.BROTLI_PARAM_QUALITY]: brotliQuality } }),
  gzip: ({ level }) => zlib.createGzip({ level }),
  deflate: ({ level }) => zlib.createDeflate({ level }),
  zstd: ({ zstdLevel }) => zstdModule!.createZstdCompress({ params: { [ZSTD.compressionLevel]: zstdLevel } }),
};

/** Creates the stream of a coding. @throws what `node:zlib` throws, such as without memory. */
export function createEncoder(coding: ContentEncoding, effort: StreamEffort): EncoderStream {
  return ENCODERS[coding](effort);
}
