import { extname } from 'node:path';
import type { VariantCoding } from '../../assets/variants.js';
import type { PrecompressedSource } from './precompress.js';

/** Sums of a type of files. Bytes. */
interface TypeTotals {
  readonly type: string;
  files: number;
  size: number;
  /** The bytes that a client receives with each coding: those of the source where there is no variant. */
  readonly sent: Record<VariantCoding, number>;
}

/** A table of the files by extension: how large they are, and how large with each coding. */
export function formatTable(
  sources: readonly PrecompressedSource[],
  codings: readonly VariantCoding[],
): string {
  const rows = [...totalsByType(sources)].sort((a, b) => b.size - a.size);
  if (rows.length > 1) rows.push(totalOf('total', sources));
  const cells = [
    ['type', 'files', 'size', ...codings],
    ...rows.map(({ type, files, size, sent }) => [
      type,
      String(files),
      formatBytes(size),
      ...codings.map((coding) => `${formatBytes(sent[coding])} ${formatGain(sent[coding], size)}`),
    ]),
  ];
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const align = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!);
  return cells.map((row) => row.map(align).join('  ').trimEnd()).join('\n');
}

/** A bar for one line of a terminal; the cursor returns to its start. */
export function formatProgress(done: number, all: number, columns: number): string {
  const share = all === 0 ? 1 : done / all;
  const text = ` ${String(Math.floor(share * 100)).padStart(3)} % of ${formatBytes(all)}`;
  const width = Math.max(0, Math.min(40, columns - text.length - 3));
  const filled = Math.round(share * width);
  return `\r[${'#'.repeat(filled)}${'.'.repeat(width - filled)}]${text}`;
}

/** Removes the bar. */
export const CLEAR_LINE = '\r\u001b[K';

/** Bytes in units of 1000, as browsers show them. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 999_950) return `${(bytes / 1000).toFixed(1)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function formatGain(sent: number, size: number): string {
  return size === 0 ? '' : `-${Math.round((1 - sent / size) * 100)}%`;
}

function totalsByType(sources: readonly PrecompressedSource[]): TypeTotals[] {
  const types = new Set(sources.map(({ path }) => extname(path).toLowerCase()));
  return [...types].map((type) =>
    totalOf(
      type,
      sources.filter(({ path }) => extname(path).toLowerCase() === type),
    ),
  );
}

function totalOf(type: string, sources: readonly PrecompressedSource[]): TypeTotals {
  const totals: TypeTotals = { type, files: 0, size: 0, sent: { br: 0, zstd: 0, gzip: 0 } };
  for (const { size, variants } of sources) {
    totals.files++;
    totals.size += size;
    for (const coding of ['br', 'zstd', 'gzip'] as const) totals.sent[coding] += variants[coding] ?? size;
  }
  return totals;
}

/** The name of a file for a terminal, which would obey control characters in it. */
export function printableName(name: string): string {
  return name.replace(/\p{Cc}/gu, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
}
