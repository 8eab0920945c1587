import { conjunctsOf, type Expression, readExpression } from './expression.js';

/** A node of a plan in `FORMAT JSON`, with the fields that are read. */
export interface PlanStep {
  readonly 'Node Type': string;
  readonly 'Parent Relationship'?: string;
  readonly 'Subplan Name'?: string;
  readonly 'Join Type'?: string;
  readonly 'Relation Name'?: string;
  readonly Schema?: string;
  readonly Alias?: string;
  readonly 'Index Name'?: string;
  readonly 'Scan Direction'?: string;
  readonly Strategy?: string;
  readonly Operation?: string;
  readonly 'Startup Cost': number;
  readonly 'Total Cost': number;
  readonly 'Plan Rows': number;
  readonly Output?: readonly string[];
  readonly 'Sort Key'?: readonly string[];
  readonly 'Group Key'?: readonly string[];
  readonly 'Shared Hit Blocks'?: number;
  readonly 'Shared Read Blocks'?: number;
  readonly Plans?: readonly PlanStep[];
  /** Rows that its index leads to, before its filter; `undefined`: not counted. No field of the server. */
  readonly indexRows?: number;
}

/** A node with the nodes above it, the nearest first. */
export interface PlacedNode {
  readonly node: PlanStep;
  readonly above: readonly PlanStep[];
}

/** Every node, the root first. */
export function nodesOf(node: PlanStep, above: readonly PlanStep[] = []): PlacedNode[] {
  const below = (node.Plans ?? []).flatMap((child) => nodesOf(child, [node, ...above]));
  return [{ node, above }, ...below];
}

/** Fields that hold conditions. */
const CONDITIONS = [
  'Filter',
  'Index Cond',
  'Recheck Cond',
  'Hash Cond',
  'Merge Cond',
  'Join Filter',
  'TID Cond',
] as const;

/** A condition of a node that must hold. */
export interface NodeCondition {
  readonly field: (typeof CONDITIONS)[number];
  readonly expression: Expression;
}

/** The conditions of one node, taken apart; those that cannot be read are left out. */
export function conditionsOfNode(node: PlanStep): NodeCondition[] {
  return CONDITIONS.flatMap((field) => {
    const text = (node as unknown as Record<string, unknown>)[field];
    const read = typeof text === 'string' ? readExpression(text) : undefined;
    return read ? conjunctsOf(read).map((expression) => ({ field, expression })) : [];
  });
}

/** A key of an order. */
export interface OrderKey {
  readonly expression: Expression;
  readonly isDescending: boolean;
  readonly nullsFirst: boolean;
}

/** Reads `Sort Key`, up to the first key that cannot be read. */
export function orderOf(keys: readonly string[]): OrderKey[] {
  const order: OrderKey[] = [];
  for (const key of keys) {
    const [, text = '', direction, nulls] = /^(.*?)( DESC)?( NULLS (?:FIRST|LAST))?$/s.exec(key)!;
    // A collation or an operator of its own would need one in the index.
    const expression = / COLLATE | USING /.test(text) ? undefined : readExpression(text);
    if (!expression) break;
    const isDescending = direction !== undefined;
    const nullsFirst = nulls === undefined ? isDescending : nulls.endsWith('FIRST');
    order.push({ expression, isDescending, nullsFirst });
  }
  return order;
}

/** Nodes that keep the order of their input and end early under a limit. */
const KEEPS_ORDER =
  /^(?:Nested Loop|Result|Subquery Scan|LockRows|Incremental Sort|Unique|WindowAgg|Merge Append|Append|Gather Merge|Memoize|ProjectSet|Group)$/;

/** Whether a node hands on its rows in their order, before it has read all of them. */
export function keepsOrder({ 'Node Type': type }: PlanStep): boolean {
  return KEEPS_ORDER.test(type);
}

/** The share of its input that a limit reads, skipped rows included. */
export function shareOfLimit(limit: PlanStep): number {
  const [input] = limit.Plans ?? [];
  if (!input) return 1;
  const whole = input['Total Cost'] - input['Startup Cost'];
  return whole > 0 ? Math.min(1, (limit['Total Cost'] - input['Startup Cost']) / whole) : 1;
}

/** Whether a node reads a table. */
export function isScan({ 'Node Type': type }: PlanStep): boolean {
  return /^(?:Seq|Index|Index Only|Bitmap Heap|Sample|Tid|Tid Range) Scan$/.test(type);
}

/** The indexes that a scan reads: its own, or those of its bitmap. */
export function indexNodesOf(scan: PlanStep): PlanStep[] {
  if (scan['Index Name'] !== undefined) return [scan];
  if (scan['Node Type'] !== 'Bitmap Heap Scan') return [];
  return nodesOf(scan)
    .map(({ node }) => node)
    .filter((node) => node['Node Type'] === 'Bitmap Index Scan');
}

/** Whether a node runs a subplan once, and keeps its rows in a table of hashes. */
export function isHashedIn(node: PlanStep, { 'Subplan Name': name }: PlanStep): boolean {
  if (name === undefined) return false;
  const texts = Object.values(node).filter((value) => typeof value === 'string' || isTexts(value));
  return String(texts).includes(`hashed ${name})`);
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}

/** How often a plan reads a scan: once for each row of the loop that it is in. */
export function repetitionsOf({ node, above }: PlacedNode): number {
  let times = 1;
  let below = node;
  for (const upper of above) {
    const [outer] = upper.Plans ?? [];
    if (isHashedIn(upper, below)) return times;
    if (below['Parent Relationship'] === 'SubPlan') times *= Math.max(upper['Plan Rows'], 1);
    else if (upper['Node Type'] === 'Nested Loop' && below !== outer && below['Node Type'] !== 'Materialize')
      times *= Math.max(outer?.['Plan Rows'] ?? 1, 1);
    below = upper;
  }
  return times;
}
