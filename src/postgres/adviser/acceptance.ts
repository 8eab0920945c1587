import type { Catalogue } from './catalogue.js';
import { columnsOf } from './expression.js';
import { conditionsOfNode, indexNodesOf, isScan, nodesOf, type PlacedNode, type PlanStep } from './plan.js';
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
const LARGE_GAIN = 5_000;

/** An index that leads to a larger share of the rows is no use of it, unless the rows lie in its order. */
export const MOST_SHARE = 0.1;
const MOST_SHARE_CORRELATED = 0.35;

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

/** The ids of the new indexes that a plan uses for a condition, or for an order that the statement wants. */
export function indexesInUse(
  { root, names, ordered }: PlannedWith,
  catalogue: Catalogue,
  gain: number,
): Set<string> {
  const used = new Set<string>();
  for (const placed of nodesOf(root)) {
    if (!isScan(placed.node)) continue;
    for (const node of indexNodesOf(placed.node)) {
      const id = names.get(node['Index Name'] ?? '');
      if (id === undefined || !isLarge(placed, catalogue, gain)) continue;
      if (ordered?.has(id) || isUse(placed, node, catalogue)) used.add(id);
    }
  }
  return used;
}

function isLarge({ node }: PlacedNode, catalogue: Catalogue, gain: number): boolean {
  const table = catalogue.tableNamed(node.Schema, node['Relation Name']);
  return table !== undefined && (table.rows >= LEAST_ROWS || gain >= LARGE_GAIN);
}

function isUse(placed: PlacedNode, index: PlanStep, catalogue: Catalogue): boolean {
  const { node } = placed;
  const table = catalogue.tableNamed(node.Schema, node['Relation Name'])!;
  if (givesOrder(placed)) return true;
  const share = index['Plan Rows'] / Math.max(table.rows, 1);
  // A predicate that leaves few rows is a condition too.
  return share <= MOST_SHARE || (share <= MOST_SHARE_CORRELATED && isCorrelated(placed, index, catalogue));
}

function isCorrelated({ node }: PlacedNode, index: PlanStep, catalogue: Catalogue): boolean {
  const table = catalogue.tableNamed(node.Schema, node['Relation Name'])!;
  const [first] = conditionsOfNode(index).flatMap(({ expression }) => columnsOf(expression));
  const { correlation = null } = (first && catalogue.columnNamed(table.oid, first.name)) ?? {};
  return correlation !== null && Math.abs(correlation) > 0.9;
}

/** Nodes that keep the order of their input and end early under a limit. */
const KEEPS_ORDER =
  /^(?:Nested Loop|Result|Subquery Scan|LockRows|Incremental Sort|Unique|WindowAgg|Merge Append|Append|Gather Merge|Memoize|ProjectSet|Group)$/;

/** Whether the order of an index is wanted: up to a limit, for a window, or for the first row of each group. */
function givesOrder({ node, above }: PlacedNode): boolean {
  if (node['Node Type'] === 'Bitmap Heap Scan') return false;
  for (const upper of above) {
    const type = upper['Node Type'];
    if (type === 'Limit' || type === 'WindowAgg' || type === 'Unique') return true;
    const isGroup = type === 'Aggregate' && upper.Strategy === 'Sorted';
    if (!KEEPS_ORDER.test(type) && !(isGroup && above.some((each) => each['Node Type'] === 'Limit')))
      return false;
  }
  return false;
}
