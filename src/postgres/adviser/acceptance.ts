import type { Catalogue } from './catalogue.js';
import { columnsOf } from './expression.js';
import {
  conditionsOfNode,
  indexNodesOf,
  isScan,
  keepsOrder,
  nodesOf,
  type PlacedNode,
  type PlanStep,
  shareOfLimit,
} from './plan.js';
import type { ScannedTable } from './scans.js';
import type { PlannedWith } from './what-if.js';

/** The cost must fall to at most this share. */
const MOST_REMAINING = 0.5;

/** The cost must fall by at least this much: about a millisecond. */
export const LEAST_GAIN = 100;

/** Where the statement finds its rows by indexes already: about ten milliseconds. */
const LEAST_GAIN_OF_INDEXED = 1_000;

/** Tables with fewer rows are read whole as fast, unless they are read again and again. */
const LEAST_ROWS = 5_000;

/** A gain that is worth an index on a small table as well. */
export const LARGE_GAIN = 5_000;

/** An index that leads to a larger share of the rows is no use of it, unless the rows lie in its order. */
export const MOST_SHARE = 0.1;
export const MOST_SHARE_CORRELATED = 0.35;

/** Whether a fall in cost is worth an index. @param least see `leastGain`. */
export function isWorthwhile(before: number, after: number, least: number): boolean {
  return after <= before * MOST_REMAINING && before - after >= least;
}

/** The fall in cost that a statement must have: a refinement of an index must gain more than the first one. */
export function leastGain(root: PlanStep): number {
  const isWhole = ({ node }: PlacedNode) =>
    node['Node Type'] === 'Seq Scan' ||
    (node['Index Name'] !== undefined && conditionsOfNode(node).every(({ field }) => field !== 'Index Cond'));
  return nodesOf(root).some((placed) => isScan(placed.node) && isWhole(placed))
    ? LEAST_GAIN
    : LEAST_GAIN_OF_INDEXED;
}

/** A scan by an index, whatever the partition. */
export function useIn(id: string, alias: string | undefined): string {
  return `${id} ${alias?.replace(/_\d+$/, '')}`;
}

/**
 * The new indexes that a plan uses for a condition, or for an order that the statement wants.
 *
 * @returns their ids, and in `uses` their ids with the alias of the scan.
 */
export function indexesInUse(
  { root, names, ordered }: PlannedWith,
  catalogue: Catalogue,
  gain: number,
  scanned: readonly ScannedTable[],
): { readonly used: Set<string>; readonly uses: Set<string> } {
  const used = new Set<string>();
  const uses = new Set<string>();
  for (const placed of nodesOf(root)) {
    if (!isScan(placed.node)) continue;
    for (const node of indexNodesOf(placed.node)) {
      const id = names.get(node['Index Name'] ?? '');
      if (id === undefined || !isLarge(placed, catalogue, gain)) continue;
      // Estimates take it into account themselves, and keep the conditions of the old scan.
      const isMisjudged =
        ordered === undefined && scanned.some((each) => each.isMisjudged && each.alias === placed.node.Alias);
      if (!ordered?.has(id) && !isUse(placed, node, catalogue, isMisjudged)) continue;
      used.add(id);
      uses.add(useIn(id, placed.node.Alias));
    }
  }
  return { used, uses };
}

function isLarge({ node }: PlacedNode, catalogue: Catalogue, gain: number): boolean {
  const table = catalogue.tableNamed(node.Schema, node['Relation Name']);
  return table !== undefined && (table.rows >= LEAST_ROWS || gain >= LARGE_GAIN);
}

function isUse(placed: PlacedNode, index: PlanStep, catalogue: Catalogue, isMisjudged: boolean): boolean {
  const { node } = placed;
  const table = catalogue.tableNamed(node.Schema, node['Relation Name'])!;
  const isWhole = conditionsOfNode(index).every(({ field }) => field !== 'Index Cond');
  const rows = index.indexRows ?? (isWhole && node === index ? undefined : index['Plan Rows']);
  // A walk along the order would go on and on, where fewer rows than expected pass the filter.
  if (isWhole && isMisjudged) return false;
  if (givesOrder(placed, (rows ?? table.rows) / Math.max(table.rows, 1))) return true;
  const share = (rows ?? index['Plan Rows']) / Math.max(table.rows, 1);
  // A predicate that leaves few rows is a condition too.
  return share <= MOST_SHARE || (share <= MOST_SHARE_CORRELATED && isCorrelated(placed, index, catalogue));
}

function isCorrelated({ node }: PlacedNode, index: PlanStep, catalogue: Catalogue): boolean {
  const table = catalogue.tableNamed(node.Schema, node['Relation Name'])!;
  const [first] = conditionsOfNode(index).flatMap(({ expression }) => columnsOf(expression));
  const { correlation = null } = (first && catalogue.columnNamed(table.oid, first.name)) ?? {};
  return correlation !== null && Math.abs(correlation) > 0.9;
}

/**
 * Whether the order of an index is wanted: up to a limit, for a window, or for the first row of each group.
 *
 * @param share of the table that the index leads to. A limit that leaves most of it is none.
 */
function givesOrder({ node, above }: PlacedNode, share: number): boolean {
  if (node['Node Type'] === 'Bitmap Heap Scan') return false;
  for (const upper of above) {
    const type = upper['Node Type'];
    if (type === 'Limit') return shareOfLimit(upper) * share <= MOST_SHARE_CORRELATED;
    if (type === 'WindowAgg' || type === 'Unique') return true;
    const isGroup = type === 'Aggregate' && upper.Strategy === 'Sorted';
    if (!keepsOrder(upper) && !(isGroup && above.some((each) => each['Node Type'] === 'Limit'))) return false;
  }
  return false;
}
