import { promisify } from 'node:util';
import { type BrotliOptions, brotliCompress, constants, gzip, type ZlibOptions } from 'node:zlib';
import type { VariantCoding } from '../../assets/variants.js';
import { ZSTD, type ZstdOptions, zstdModule } from '../../runtime/zstd.js';

const encodeBrotli = promisify<Buffer, BrotliOptions, Buffer>(brotliCompress);
const encodeGzip = promisify<Buffer, ZlibOptions, Buffer>(gzip);
const encodeZstd = zstdModule && promisify<Buffer, ZstdOptions, Buffer>(zstdModule.zstdCompress);

/** The strongest level of zstd whose decoders need no more memory than those of the other levels. */
const ZSTD_LEVEL = 19;

/** They decide how often gzip begins a block. Which one is best differs between files; all three take little time. */
const GZIP_MEMORY_LEVELS = [7, 8, 9] as const;

/** Changes with the parameters below, so that files are encoded again after an update. */
export const ENCODER_VERSION = 1;

/** The encoders at full strength, on the thread pool. zstd needs Node 22.15. */
export const FULL_ENCODERS: Readonly<Partial<Record<VariantCoding, (body: Buffer) => Promise<Buffer>>>> = {
  br: (body) =>
    encodeBrotli(body, {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
        [constants.BROTLI_PARAM_SIZE_HINT]: body.length,
        // As the `brotli` command does: a window as large as the body, so that all of it can be referred to.
        [constants.BROTLI_PARAM_LGWIN]: windowBits(
          body.length,
          constants.BROTLI_MIN_WINDOW_BITS,
          constants.BROTLI_MAX_WINDOW_BITS,
        ),
      },
    }),
  ...(encodeZstd && {
    zstd: (body: Buffer) =>
      encodeZstd(body, {
        params: {
          [ZSTD.compressionLevel]: ZSTD_LEVEL,
          [ZSTD.windowLog]: windowBits(body.length, ZSTD.leastWindowBits, ZSTD.mostWindowBits),
        },
      }),
  }),
  gzip: async (body) => {
    const forms = await Promise.all(
      GZIP_MEMORY_LEVELS.map((memLevel) =>
        encodeGzip(body, { level: constants.Z_BEST_COMPRESSION, memLevel }),
      ),
    );
    return forms.reduce((best, form) => (form.length < best.length ? form : best));
  },
};

function windowBits(length: number, least: number, most: number): number {
  // RFC 7932 §9.1: a window of Brotli is 16 bytes smaller than the power of two.
  return Math.min(Math.max(Math.ceil(Math.log2(length + 16)), least), most);
}
