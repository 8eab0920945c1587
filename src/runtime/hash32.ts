/**
 * Maximum number of units to read, because keys can be as long as URLs and are hashed several times per
 * request.
 */
const MOST_UNITS = 256;

/**
 * A 32-bit hash: FNV-1a over the UTF-16 units, or over evenly spaced ones of long texts. The final mix of
 * MurmurHash3 makes the lowest bits depend on all.
 */
export function hash32(text: string): number {
  const step = Math.ceil(text.length / MOST_UNITS);
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += step) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
