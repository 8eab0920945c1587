/** Units that are looked at: a key may be as long as a URL, and is hashed several times for a request. */
const MOST_UNITS = 256;

/**
 * 32 bits: FNV-1a over the UTF-16 units, evenly chosen where there are many, mixed as MurmurHash3 does at its end, so
 * that the lowest bits depend on all.
 */
export function hash32(text: string): number {
  const step = Math.ceil(text.length / MOST_UNITS);
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += step) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
