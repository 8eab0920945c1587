/** A content coding that can be taken off; `'zstd'` from Node 22.15 on. */
export type InflatableCoding = 'gzip' | 'deflate' | 'br' | 'zstd';

/** The window of gzip and deflate is never larger (RFC 1951 §2). */
const DEFLATE_WINDOW_BITS = 15;

/** Smaller windows of zstd count as this: decoders accept none below it as their bound. */
const LEAST_ZSTD_WINDOW_BITS = 10;

/**
 * The window that a coded body asks for, from its first bytes: 2 to the power of so many bits.
 *
 * @returns `undefined` where they do not tell, as of a zstd body that comes byte by byte.
 */
export function windowBitsOf(coding: InflatableCoding, first: Uint8Array): number | undefined {
  if (coding === 'br') return brotliWindowBits(first[0]!);
  return coding === 'zstd' ? zstdWindowBits(first) : DEFLATE_WINDOW_BITS;
}

/** RFC 7932 §9.1. A large window, which is no part of the standard, is an error to the decoder. */
function brotliWindowBits(first: number): number {
  if ((first & 1) === 0) return 16;
  const high = (first >> 1) & 7;
  if (high !== 0) return 17 + high;
  const low = (first >> 4) & 7;
  return low === 0 ? 17 : 8 + low;
}

const ZSTD_MAGIC = 0xfd2fb528;
/** Bytes of a dictionary's id, by its flag. */
const ID_BYTES = [0, 1, 2, 4];

/** RFC 8878 §3.1.1.1: of a single segment the window is its content. */
function zstdWindowBits(first: Uint8Array): number | undefined {
  const bytes = Buffer.from(first.buffer, first.byteOffset, Math.min(first.byteLength, 18));
  if (bytes.length < 6 || bytes.readUInt32LE(0) !== ZSTD_MAGIC) return undefined;
  const descriptor = bytes[4]!;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  if (!isSingleSegment) {
    const exponent = bytes[5]! >> 3;
    return 10 + exponent + ((bytes[5]! & 7) > 0 ? 1 : 0);
  }
  const size = contentSize(bytes, 5 + ID_BYTES[descriptor & 3]!, descriptor >> 6);
  return size === undefined ? undefined : Math.max(Math.ceil(Math.log2(size + 1)), LEAST_ZSTD_WINDOW_BITS);
}

/** RFC 8878 §3.1.1.1.4. */
function contentSize(bytes: Buffer, at: number, flag: number): number | undefined {
  if (bytes.length < at + 2 ** flag) return undefined;
  if (flag === 0) return bytes[at]!;
  if (flag === 1) return bytes.readUInt16LE(at) + 256;
  return flag === 2 ? bytes.readUInt32LE(at) : Number(bytes.readBigUInt64LE(at));
}
