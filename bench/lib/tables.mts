// Numbers and tables in Markdown.
import type { Spread } from './statistics.mjs';

export function number(value: number, digits = 0): string {
  if (!Number.isFinite(value)) return '–';
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** The median, or a dash. */
export function cell(spread: Spread | undefined, digits = 0): string {
  return spread === undefined ? '–' : number(spread.median, digits);
}

/** A table with right-aligned numbers. A `|` in a cell is escaped. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const safe = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
  const line = (cells: readonly string[]) => `| ${cells.map(safe).join(' | ')} |`;
  const isNumeric = (column: number) => {
    const cells = rows.map((row) => row[column] ?? '').filter((text) => text !== '');
    return cells.length > 0 && cells.filter((text) => /^\(?[\d,.–]/.test(text)).length * 2 >= cells.length;
  };
  const rule = head.map((_, column) => (column > 0 && isNumeric(column) ? '---:' : '---'));
  return [line(head), `| ${rule.join(' | ')} |`, ...rows.map(line)].join('\n');
}
