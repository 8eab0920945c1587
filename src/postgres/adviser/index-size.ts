import type { IndexDefinition } from '../indexes/definition.js';
import type { Catalogue, CatalogueColumn } from './catalogue.js';
import {
  indexNodesOf,
  isScan,
  nodesOf,
  type PlacedNode,
  type PlanStep,
  repetitionsOf,
  shareOfLimit,
} from './plan.js';

/** Of a page of the server by default. */
export const PAGE_BYTES = 8192;

/** Of a leaf page, at a fill factor of 90. Bytes. */
const BYTES_PER_LEAF = 7_333;

/** The header of an entry, and its line pointer. Bytes. */
const ENTRY_HEADER = 8;
const LINE_POINTER = 4;

/** In a list of rows with one key, and the longest such list. Bytes. */
const ROW_POINTER = 6;
const LONGEST_LIST = 812;

/** Equal keys of these types may look different, so each row has its own entry. */
const NOT_MERGED = /^(?:numeric|real|double precision|jsonb)|\[\]$|range$/;

/** Since PostgreSQL 13, equal keys share an entry. */
const MERGES_KEYS = 130_000;

/** Pages of an index below one of the next level, roughly. */
const PAGES_OF_PARENT = 300;

/** The planner's figures: a page at a random place; 50 operators for a level of an index. */
const RANDOM_PAGE = 4;
const COST_OF_LEVEL = 0.125;

/** A hypothetical index with its size. */
export interface SizedIndex {
  readonly definition: IndexDefinition;
  /** As HypoPG assumes, and as the server will build it. Pages. */
  readonly assumedPages: number;
  readonly pages: number;
  readonly rows: number;
}

/**
 * The size of a B-tree as the server builds it. HypoPG counts a header for each column, and does not know that equal keys
 * share an entry. Its figure is 1.3 to 3.7 times as large.
 *
 * @param assumedBytes the figure of HypoPG 1.3 and 1.4.
 */
export function estimateSize(
  definition: IndexDefinition,
  catalogue: Catalogue,
  assumedBytes: number,
): SizedIndex {
  const assumedPages = Math.max(Math.round(assumedBytes / PAGE_BYTES), 1);
  const table = catalogue.tableNamed(definition.schema, definition.table);
  const names = [...definition.keys.map(({ column = '' }) => column), ...definition.include];
  const columns = names.map((name) => table && catalogue.columnNamed(table.oid, name));
  const all = Math.max(table?.rows ?? 1, 1);
  if (!table || definition.method !== 'btree' || !columns.every((column) => column !== undefined))
    return { definition, assumedPages, pages: assumedPages, rows: all };
  const rows = definition.where === undefined ? all : Math.min(rowsAssumed(columns, assumedPages), all);
  const bytes = rows * bytesOfRow(definition, columns, rows, catalogue.version);
  return {
    definition,
    assumedPages,
    pages: Math.max(Math.ceil((bytes / BYTES_PER_LEAF) * 1.005) + 1, 1),
    rows,
  };
}

/** The rows that HypoPG expects behind a predicate, by its own formula. */
function rowsAssumed(columns: readonly CatalogueColumn[], pages: number): number {
  const width = columns.reduce((sum, column) => sum + column.width, 0);
  const line = width + 8 * columns.length + aligned(4 * columns.length, 8);
  return Math.max((pages * 8_152) / (line * 1.3), 1);
}

function bytesOfRow(
  { keys, include }: IndexDefinition,
  columns: readonly CatalogueColumn[],
  rows: number,
  version: number,
): number {
  const data = columns.reduce((sum, column) => aligned(sum, alignmentOf(column)) + column.width, 0);
  const entry = aligned(ENTRY_HEADER + data, 8);
  const isMerged =
    version >= MERGES_KEYS && include.length === 0 && !columns.some(({ type }) => NOT_MERGED.test(type));
  const distinct = columns
    .slice(0, keys.length)
    .reduce((product, column) => Math.min(product * Math.max(column.distinct ?? rows, 1), rows), 1);
  const rowsOfKey = rows / distinct;
  if (!isMerged || rowsOfKey < 1.5) return entry + LINE_POINTER;
  const rowsOfList = Math.min(rowsOfKey, (LONGEST_LIST - entry) / ROW_POINTER);
  return (aligned(entry + rowsOfList * ROW_POINTER, 8) + LINE_POINTER) / rowsOfList;
}

function aligned(bytes: number, to: number): number {
  return Math.ceil(bytes / to) * to;
}

function alignmentOf({ type }: CatalogueColumn): number {
  if (/^(?:bigint|timestamp|double|time|interval|money)/.test(type)) return 8;
  if (/^(?:integer|real|date|oid)/.test(type)) return 4;
  return type === 'smallint' ? 2 : 1;
}

/** The cost that a plan has too little or too much, because HypoPG knows neither the size nor the height of its indexes. */
export function costOfSizes(root: PlanStep, sizeOfName: (name: string) => SizedIndex | undefined): number {
  let sum = 0;
  for (const placed of nodesOf(root)) {
    if (!isScan(placed.node)) continue;
    for (const node of indexNodesOf(placed.node)) {
      const size = sizeOfName(node['Index Name'] ?? '');
      if (size) sum += correctionOf(placed, node, size);
    }
  }
  return sum;
}

function correctionOf(
  placed: PlacedNode,
  index: PlanStep,
  { pages, assumedPages, rows }: SizedIndex,
): number {
  // It keeps the results, so that the loop runs less often than its rows say.
  if (placed.above.some((upper) => upper['Node Type'] === 'Memoize')) return 0;
  const times = repetitionsOf(placed);
  const wanted = Math.min((index.indexRows ?? index['Plan Rows']) / rows, 1);
  const height = Math.ceil(Math.log(Math.max(pages, 1)) / Math.log(PAGES_OF_PARENT));
  const more = pagesRead(pages, wanted, times) - pagesRead(assumedPages, wanted, times);
  const { ofSearch, ofLoop } = sharesUntilLimit(placed);
  // The way to the first entry is gone in any case.
  const searches = Math.max(times * ofLoop, 1);
  const read = ofSearch * ofLoop * shareUntilMatch(placed);
  return more * RANDOM_PAGE * read + searches * (height + 1) * COST_OF_LEVEL;
}

/** Pages of an index that a scan reads, as the planner counts them: a loop finds many in memory. */
function pagesRead(pages: number, share: number, times: number): number {
  const each = Math.max(Math.ceil(pages * share), 1);
  if (times <= 1) return each;
  const all = each * times;
  return Math.min((2 * pages * all) / (2 * pages + all), pages);
}

/** A loop that only wants to know whether there is a row ends at the first one. */
function shareUntilMatch({ node, above: [upper] }: PlacedNode): number {
  const isEarly =
    upper?.['Node Type'] === 'Nested Loop' &&
    /^(?:Semi|Anti)$/.test(upper['Join Type'] ?? '') &&
    upper.Plans?.[1] === node;
  return isEarly ? 2 / (node['Plan Rows'] + 1) : 1;
}

/** The shares that limits leave: of the rows of one search, and of the searches of a loop. */
function sharesUntilLimit({ node, above }: PlacedNode): { ofSearch: number; ofLoop: number } {
  const shares = { ofSearch: 1, ofLoop: 1 };
  let isLoop = false;
  let below = node;
  for (const upper of above) {
    // It reads all of its input.
    if (/^(?:Sort|Hash|Aggregate|Materialize|BitmapOr|BitmapAnd|ModifyTable)$/.test(upper['Node Type']))
      break;
    if (upper['Node Type'] === 'Limit') shares[isLoop ? 'ofLoop' : 'ofSearch'] *= shareOfLimit(upper);
    isLoop ||=
      below['Parent Relationship'] === 'SubPlan' ||
      (upper['Node Type'] === 'Nested Loop' && upper.Plans?.[0] !== below);
    below = upper;
  }
  return shares;
}
