import { randomBytes } from 'node:crypto';

/** Hashes a text to a number from 0 to 2^32 - 1. */
export type KeyedHash = (text: string) => number;

/**
 * HalfSipHash-1-3 over the UTF-16 units. Without the key, nobody can choose texts with the same hash. Linux
 * uses it for hash tables with short keys (`hsiphash`). A URL takes less than a microsecond.
 */
export function keyedHash(key: Buffer = randomBytes(8)): KeyedHash {
  const k0 = key.readInt32LE(0);
  const k1 = key.readInt32LE(4);
  return (text) => {
    let a = k0;
    let b = k1;
    let c = k0 ^ 0x6c796765;
    let d = k1 ^ 0x74656462;
    const { length } = text;
    const words = (length >> 1) + 1;
    // Three final rounds, without input.
    for (let i = 0; i < words + 3; i++) {
      let word = 0;
      if (i < words - 1) word = text.charCodeAt(2 * i) | (text.charCodeAt(2 * i + 1) << 16);
      else if (i === words - 1) word = (length << 25) | (length & 1 ? text.charCodeAt(length - 1) : 0);
      else if (i === words) c ^= 0xff;
      d ^= word;
      a = (a + b) | 0;
      b = ((b << 5) | (b >>> 27)) ^ a;
      a = (a << 16) | (a >>> 16);
      c = (c + d) | 0;
      d = ((d << 8) | (d >>> 24)) ^ c;
      a = (a + d) | 0;
      d = ((d << 7) | (d >>> 25)) ^ a;
      c = (c + b) | 0;
      b = ((b << 13) | (b >>> 19)) ^ c;
      c = (c << 16) | (c >>> 16);
      a ^= word;
    }
    return (b ^ d) >>> 0;
  };
}
