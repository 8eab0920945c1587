/** The planner's own figures by default: one page read in sequence costs 1. */
const RANDOM_PAGE = 4;
const TUPLE = 0.01;
const INDEX_TUPLE = 0.005;
const OPERATOR = 0.0025;

/** Rows of one leaf page of an index, roughly. */
const ROWS_PER_LEAF = 250;

/** A table as far as the costs of reading it go. */
export interface TableSize {
  readonly rows: number;
  readonly pages: number;
}

/** How rows are read through an index. */
export interface IndexRead {
  /** Rows that the conditions of the index leave. */
  readonly rows: number;
  /** All columns are in the index. */
  readonly isCovered: boolean;
  /** Whether the rows follow the order of the index: from 0, not at all, to 1. */
  readonly correlation: number;
}

/** The cost of reading rows through a B-tree, as the planner computes it, roughly. */
export function costOfIndexRead(
  { rows: all, pages }: TableSize,
  { rows, isCovered, correlation }: IndexRead,
): number {
  const descent = 0.3 + Math.ceil(Math.log2(Math.max(all, 2))) * OPERATOR * 2;
  const leaves = Math.ceil(rows / ROWS_PER_LEAF) * RANDOM_PAGE * (rows > ROWS_PER_LEAF ? 0.5 : 1);
  const entries = rows * (INDEX_TUPLE + OPERATOR);
  if (isCovered) return descent + leaves + entries + rows * TUPLE;
  const ordered = Math.ceil((rows / Math.max(all, 1)) * pages) + RANDOM_PAGE;
  const scattered = costOfHeapPages(pages, rows);
  const share = correlation ** 2;
  return descent + leaves + entries + rows * TUPLE + share * ordered + (1 - share) * scattered;
}

/** The cost of the pages that a bitmap leads to: many of them are read almost in sequence. */
export function costOfHeapPages(pages: number, rows: number): number {
  const fetched = Math.min((2 * pages * rows) / Math.max(2 * pages + rows, 1), pages);
  const each =
    fetched > 1 ? RANDOM_PAGE - (RANDOM_PAGE - 1) * Math.sqrt(fetched / Math.max(pages, 1)) : RANDOM_PAGE;
  // Each row is compared again.
  return fetched * each + rows * (TUPLE + OPERATOR);
}
