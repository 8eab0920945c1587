import type { Catalogue, CatalogueTable, ExistingIndex } from './catalogue.js';
import { columnsOf, type Expression, qualifyColumns, readExpression, withoutAliases } from './expression.js';
import {
  conditionsOfNode,
  isScan,
  keepsOrder,
  nodesOf,
  type OrderKey,
  orderOf,
  type PlacedNode,
  type PlanStep,
} from './plan.js';

/** A table that a plan reads, with everything that the plan wants of it. */
export interface ScannedTable {
  readonly table: CatalogueTable;
  readonly alias: string;
  readonly scan: PlanStep;
  /** Conditions that name its columns. */
  readonly conditions: readonly Expression[];
  /** Orders that the plan sorts into, or reads an index for. */
  readonly orders: readonly (readonly OrderKey[])[];
  /** Conditions on expressions leave far fewer rows than the planner assumes, which has no statistics of those. */
  readonly isMisjudged: boolean;
  /** Columns that the plan needs, by name. */
  readonly columns: ReadonlySet<string>;
}

/** The tables of a plan. */
export function scannedTables(root: PlanStep, catalogue: Catalogue): ScannedTable[] {
  const nodes = qualifiedOutputs(nodesOf(root), catalogue);
  const found: ScannedTable[] = [];
  const partitioned = new Set<string>();
  const originals = nodesOf(root).map(({ node }) => node);
  for (const [at, placed] of nodes.entries()) {
    const { node } = placed;
    const { Alias: alias } = node;
    const table = isScan(node) ? catalogue.tableNamed(node.Schema, node['Relation Name']) : undefined;
    if (!table || alias === undefined) continue;
    // Partitions have the conditions of their table; one of them is enough. Upper nodes name the first.
    const key = `${table.oid}/${alias.replace(/_\d+$/, '')}`;
    if (table.isPartitioned && partitioned.has(key)) continue;
    partitioned.add(key);
    const names = table.isPartitioned ? [alias, alias.replace(/_\d+$/, '')] : [alias];
    found.push({
      table,
      alias,
      scan: originals[at]!,
      conditions: conditionsFor(nodes, names),
      orders: ordersFor(placed, nodes, names, catalogue, table),
      columns: columnsFor(nodes, names),
      isMisjudged: false,
    });
  }
  return found;
}

/** The server leaves the alias out of `Output` where a statement has one table. */
function qualifiedOutputs(nodes: readonly PlacedNode[], catalogue: Catalogue): readonly PlacedNode[] {
  const scans = nodes.filter(({ node }) => isScan(node) && node.Alias !== undefined);
  const [first] = scans;
  if (!first || scans.length > 1) return nodes;
  const { Schema, 'Relation Name': name, Alias: alias = '' } = first.node;
  const table = catalogue.tableNamed(Schema, name);
  const columns = new Set(catalogue.columnsOfTable(table?.oid ?? 0).map((column) => column.name));
  return nodes.map(({ node, above }) => ({
    node: {
      ...node,
      ...(node.Output && { Output: node.Output.map((text) => qualifyColumns(text, alias, columns)) }),
    },
    above,
  }));
}

/** The conditions that name a column of a table, each once. */
function conditionsFor(nodes: readonly PlacedNode[], aliases: readonly string[]): Expression[] {
  const byText = new Map<string, Expression>();
  for (const { node } of nodes) {
    for (const { expression } of conditionsOfNode(node)) {
      const isOfTable = columnsOf(expression).some(({ relation }) => aliases.includes(relation));
      if (isOfTable) byText.set(withoutAliases(expression), expression);
    }
  }
  return [...byText.values()];
}

function columnsFor(nodes: readonly PlacedNode[], aliases: readonly string[]): Set<string> {
  const columns = new Set<string>();
  const add = (text: string) => {
    const read = readExpression(
      text.replace(/^PARTIAL |^\(PARTIAL /, (found) => found.replace('PARTIAL ', '')),
    );
    // One that cannot be read may name any column.
    if (!read) columns.add('*');
    else for (const { relation, name } of columnsOf(read)) if (aliases.includes(relation)) columns.add(name);
  };
  for (const { node, above } of nodes) {
    // A scan below another node may hand on columns that nobody needs. A subquery hands on what it wants.
    const isInput = /^(?:Outer|Inner|Member)$/.test(node['Parent Relationship'] ?? '');
    const isWhole = isScan(node) && above.length > 0 && isInput && node['Node Type'] === 'Seq Scan';
    if (!isWhole) for (const text of node.Output ?? []) add(text);
    for (const { expression } of conditionsOfNode(node)) {
      for (const { relation, name } of columnsOf(expression))
        if (aliases.includes(relation)) columns.add(name);
    }
  }
  return columns;
}

function ordersFor(
  placed: PlacedNode,
  nodes: readonly PlacedNode[],
  aliases: readonly string[],
  catalogue: Catalogue,
  table: CatalogueTable,
): OrderKey[][] {
  const orders: OrderKey[][] = [];
  for (const { node, above } of nodes) {
    if (/^(?:Incremental )?Sort$/.test(node['Node Type']) && isWantedSort(above)) {
      orders.push(ownKeys(orderOf(node['Sort Key'] ?? []), aliases));
    }
    if (node['Node Type'] === 'Aggregate' && !node['Group Key']) {
      orders.push(...extremes(node, aliases));
    }
  }
  const given = orderOfIndex(placed, catalogue, table);
  if (given) orders.push(given);
  return orders.filter((order) => order.length > 0);
}

/** Groups and merge joins can do without an order, unless a limit ends them early. */
function isWantedSort(above: readonly PlanStep[]): boolean {
  const types = above.map((node) => node['Node Type']).filter((type) => type !== 'Gather Merge');
  return types.includes('Limit') || !/^(?:Aggregate|Group|Merge Join|Materialize)$/.test(types[0] ?? '');
}

/** The keys up to the first that another table gives. */
function ownKeys(order: readonly OrderKey[], aliases: readonly string[]): OrderKey[] {
  const isOther = ({ expression }: OrderKey) => {
    const columns = columnsOf(expression);
    return columns.length === 0 || columns.some(({ relation }) => !aliases.includes(relation));
  };
  const end = order.findIndex(isOther);
  return order.slice(0, end < 0 ? order.length : end);
}

/** `min(column)` and `max(column)` are the ends of an order. */
function extremes({ Output: output = [] }: PlanStep, aliases: readonly string[]): OrderKey[][] {
  return output.flatMap((text) => {
    const read = readExpression(text.replace(/^PARTIAL /, ''));
    const [of] = read?.parts ?? [];
    const isExtreme = read?.kind === 'call' && /^(?:min|max)$/.test(read.name) && of?.kind === 'column';
    if (!isExtreme || !aliases.includes(of.relation)) return [];
    return [[{ expression: of, isDescending: false, nullsFirst: false }]];
  });
}

/** The order that a plan with a limit reads an index for: it needs no sort, which would name it. */
function orderOfIndex(
  { node, above }: PlacedNode,
  catalogue: Catalogue,
  table: CatalogueTable,
): OrderKey[] | undefined {
  const first = above.find((upper) => !keepsOrder(upper));
  if (node['Index Name'] === undefined || first?.['Node Type'] !== 'Limit') return undefined;
  const index = catalogue.indexesOf(table.oid).find(({ name }) => name === node['Index Name']);
  if (index?.method !== 'btree' || node.Alias === undefined) return undefined;
  const isBackward = node['Scan Direction'] === 'Backward';
  return keysOfIndex(index, catalogue, table, node.Alias, isBackward);
}

function keysOfIndex(
  { numbers, keyCount, options }: ExistingIndex,
  catalogue: Catalogue,
  table: CatalogueTable,
  alias: string,
  isBackward: boolean,
): OrderKey[] {
  const columns = catalogue.columnsOfTable(table.oid);
  const keys: OrderKey[] = [];
  for (const [at, number] of numbers.slice(0, keyCount).entries()) {
    const name = columns.find((column) => column.number === number)?.name;
    const quoted =
      name === undefined ? undefined : `"${alias.replaceAll('"', '""')}"."${name.replaceAll('"', '""')}"`;
    const expression = quoted === undefined ? undefined : readExpression(quoted);
    if (!expression) break;
    const option = options[at] ?? 0;
    keys.push({
      expression,
      isDescending: ((option & 1) !== 0) !== isBackward,
      nullsFirst: ((option & 2) !== 0) !== isBackward,
    });
  }
  return keys;
}
