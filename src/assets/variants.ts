import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';

/** A content coding whose variants of files are served. */
export type VariantCoding = 'br' | 'zstd' | 'gzip';

/** The endings of variants beside their source: `app.js.br` beside `app.js`. */
export const VARIANT_ENDINGS: Readonly<Record<VariantCoding, string>> = {
  br: '.br',
  zstd: '.zst',
  gzip: '.gz',
};

/** A precompressed form of a file. */
export interface Variant {
  readonly coding: VariantCoding;
  readonly path: string;
  readonly stats: Stats;
}

/**
 * The variants of a file that may be served instead, the smallest first. A variant older than its source is left out: the
 * source has changed since.
 */
export async function findVariants(
  source: string,
  stats: Stats,
  codings: readonly VariantCoding[],
): Promise<Variant[]> {
  const found = await Promise.all(
    codings.map(async (coding) => {
      const path = source + VARIANT_ENDINGS[coding];
      const own = await statFile(path);
      // No coding makes a file empty: another program is about to write it, or has failed to.
      return own && own.size > 0 && !isOlder(own, stats) ? { coding, path, stats: own } : undefined;
    }),
  );
  return found.filter((variant) => variant !== undefined).sort((a, b) => a.stats.size - b.stats.size);
}

/** The path of the source if this is the name of a variant; `undefined` for any other name. */
export function sourceOfVariant(path: string, codings: readonly VariantCoding[]): string | undefined {
  const ending = codings
    .map((coding) => VARIANT_ENDINGS[coding])
    // File systems may ignore case.
    .find((each) => path.slice(-each.length).toLowerCase() === each);
  return ending && path.slice(0, -ending.length);
}

/** The `Stats` of a path that is a file; `undefined` if it is none or cannot be read. */
export async function statFile(path: string): Promise<Stats | undefined> {
  try {
    const stats = await stat(path);
    return stats.isFile() ? stats : undefined;
  } catch {
    return undefined;
  }
}

/** Whole milliseconds, because setting a file's time may lose the rest. */
function isOlder(variant: Stats, source: Stats): boolean {
  return Math.floor(variant.mtimeMs) < Math.floor(source.mtimeMs);
}
