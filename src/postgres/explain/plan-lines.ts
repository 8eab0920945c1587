import { maskValues } from '../monitor/fingerprint.js';

/** Lines and characters of a plan that are kept. */
const MOST_LINES = 60;
const LONGEST_LINE = 300;

/** A step of a plan, as `EXPLAIN (FORMAT JSON)` has it. */
export type PlanNode = Readonly<Record<string, unknown>>;

/** The parts of a step that hold expressions of the statement. */
const EXPRESSIONS = [
  'Index Cond',
  'Recheck Cond',
  'Hash Cond',
  'Merge Cond',
  'TID Cond',
  'Join Filter',
  'Filter',
  'One-Time Filter',
  'Order By',
  'Sort Key',
  'Presorted Key',
  'Group Key',
  'Cache Key',
];

/** A plan in lines, as `psql` shows it. Values in conditions become `?`, as in statements. */
export function planLines(root: PlanNode): string[] {
  const lines: string[] = [];
  write(root, 0, lines);
  return lines.map((line) => (line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)}…` : line));
}

function write(node: PlanNode, depth: number, lines: string[]): void {
  if (lines.length >= MOST_LINES) return;
  const indent = '  '.repeat(depth);
  lines.push(`${indent}${depth === 0 ? '' : '-> '}${describeStep(node)}`);
  for (const name of EXPRESSIONS) {
    const value = node[name];
    if (value === undefined) continue;
    const text = Array.isArray(value) ? value.join(', ') : String(value);
    lines.push(`${indent}   ${name}: ${maskValues(text)}`);
  }
  const plans = node.Plans;
  if (Array.isArray(plans)) for (const plan of plans) write(plan as PlanNode, depth + 1, lines);
}

/** Such as `Index Scan using orders_pkey on orders o  (cost=0..8 rows=1)`. */
function describeStep(node: PlanNode): string {
  const { 'Node Type': type, 'Index Name': index, 'Relation Name': relation, Alias: alias } = node;
  const using = index === undefined ? '' : ` using ${index}`;
  const on = relation === undefined ? '' : ` on ${relation}${alias === relation ? '' : ` ${alias}`}`;
  const cost = `cost=${rounded(node['Startup Cost'])}..${rounded(node['Total Cost'])}`;
  return `${type}${using}${on}  (${cost} rows=${rounded(node['Plan Rows'])})`;
}

function rounded(value: unknown): string {
  return typeof value === 'number' ? String(Math.round(value)) : '?';
}
