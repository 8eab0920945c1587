import { type IndexDefinition, type IndexKey, idOf, quoteIdentifier } from '../indexes/definition.js';
import type { Session } from '../sessions.js';
import { MOST_SHARE_CORRELATED } from './acceptance.js';
import { patternKey } from './candidates.js';
import type { Catalogue, CatalogueTable } from './catalogue.js';
import { type Condition, readCondition } from './conditions.js';
import { costOfHeapPages, costOfIndexRead } from './cost-model.js';
import { explainQuery, noPlan, type PlannableQuery, readOnly } from './explain.js';
import { columnsOf, type Expression, printedText, withoutAliases } from './expression.js';
import {
  conditionsOfNode,
  isHashedIn,
  nodesOf,
  type PlacedNode,
  type PlanStep,
  repetitionsOf,
  shareOfLimit,
} from './plan.js';
import type { ScannedTable } from './scans.js';
import type { PlannedWith, WhatIf } from './what-if.js';
import type { PlannedStatement } from './workload.js';

/** Columns of a row that is read for each row of a join. */
const COST_OF_JOINED_ROW = 8;

/** The start of a search in a GIN or GiST index. */
const COST_OF_SPECIAL = 50;

/** The use of indexes for one scan. */
interface Estimate {
  readonly ids: readonly string[];
  readonly rows: number;
  readonly givesOrder: boolean;
  /** Of the statement. */
  readonly gain: number;
}

/** A scan with its conditions, and its place in the plan. */
interface EstimatedScan {
  readonly scanned: ScannedTable;
  readonly placed: PlacedNode;
  readonly conditions: readonly Condition[];
  readonly catalogue: Catalogue;
}

/**
 * Plans with indexes by rules and the planner's own estimates of rows, where the planner itself cannot try them: without
 * HypoPG, and without a build. One scan of a statement changes at a time; the rest of its plan stays.
 */
export class EstimatedIndexes implements WhatIf {
  readonly level = 'estimated';
  readonly #session: Session;
  readonly #catalogue: Catalogue;
  readonly #statements: ReadonlyMap<PlannableQuery, PlannedStatement>;
  readonly #isIndexable: (statement: PlannedStatement, expression: Expression) => boolean;
  readonly #isVolatile: (expression: Expression) => boolean;
  readonly #scans = new Map<PlannedStatement, readonly EstimatedScan[]>();
  readonly #rows = new Map<string, number>();

  constructor(
    session: Session,
    catalogue: Catalogue,
    statements: readonly PlannedStatement[],
    isIndexable: (statement: PlannedStatement, expression: Expression) => boolean,
    isVolatile: (expression: Expression) => boolean,
  ) {
    this.#session = session;
    this.#catalogue = catalogue;
    this.#statements = new Map(
      statements
        .flatMap((statement) => [statement, ...(statement.generic ? [statement.generic] : [])])
        .map((statement) => [statement.query, statement]),
    );
    this.#isIndexable = isIndexable;
    this.#isVolatile = isVolatile;
  }

  async plan(query: PlannableQuery, indexes: readonly IndexDefinition[]): Promise<PlannedWith | undefined> {
    const statement = this.#statements.get(query);
    if (!statement) return undefined;
    let total = statement.cost;
    const replaced = new Map<PlanStep, PlanStep>();
    const names = new Map<string, string>();
    const ordered = new Set<string>();
    for (const scan of this.#scansOf(statement)) {
      const best = await this.#bestFor(statement, scan, indexes);
      if (!best) continue;
      for (const id of best.ids) names.set(id, id);
      if (best.givesOrder) for (const id of best.ids) ordered.add(id);
      total -= Math.min(best.gain, total);
      replaced.set(scan.placed.node, indexScan(scan.placed.node, best));
    }
    const root = { ...replaceNodes(statement.root, replaced), 'Total Cost': Math.max(total, 1) };
    return { root, names, ordered };
  }

  bytesOf(definition: IndexDefinition): number | null {
    const table = this.#catalogue.tableNamed(definition.schema, definition.table);
    const columns = [...definition.keys.map(({ column }) => column), ...definition.include];
    const widths = columns.map(
      (name) => (table && name !== undefined && this.#catalogue.columnNamed(table.oid, name)?.width) || 16,
    );
    return table && definition.method === 'btree'
      ? Math.round(table.rows * (16 + widths.reduce((a, b) => a + b, 0)))
      : null;
  }

  async close(): Promise<void> {}

  #scansOf(statement: PlannedStatement): readonly EstimatedScan[] {
    const known = this.#scans.get(statement);
    if (known) return known;
    const nodes = nodesOf(statement.root);
    const scans = statement.scanned.flatMap((scanned) => {
      const placed = nodes.find(({ node }) => node === scanned.scan);
      const { table, alias } = scanned;
      const isIndexable = (expression: Expression) => this.#isIndexable(statement, expression);
      // A condition that may change from row to row is no condition of an index.
      const conditions = scanned.conditions
        .filter((expression) => !this.#isVolatile(expression))
        .map((expression) =>
          readCondition(expression, { catalogue: this.#catalogue, table, alias, isIndexable }),
        )
        .filter((condition) => !placed || !condition.isJoin || isWithinReach(condition, placed));
      return placed ? [{ scanned, placed, conditions, catalogue: this.#catalogue }] : [];
    });
    this.#scans.set(statement, scans);
    return scans;
  }

  async #bestFor(
    statement: PlannedStatement,
    scan: EstimatedScan,
    indexes: readonly IndexDefinition[],
  ): Promise<Estimate | undefined> {
    const { table } = scan.scanned;
    const own = indexes.filter(({ schema, table: name }) => schema === table.schema && name === table.name);
    let best = own.length > 0 ? await this.#ofArms(statement, scan, own) : undefined;
    for (const definition of own) {
      const found = await this.#ofIndex(statement, scan, definition);
      if (found && found.gain > (best?.gain ?? 0)) best = found;
    }
    return best;
  }

  /** `undefined`: the index cannot serve the scan. */
  async #ofIndex(
    statement: PlannedStatement,
    scan: EstimatedScan,
    definition: IndexDefinition,
  ): Promise<Estimate | undefined> {
    const { placed, scanned } = scan;
    const { table } = scanned;
    const use = useOf(definition, scan);
    if (!use) return undefined;
    const rows = await this.#rowsWith(statement, scanned, use.conditions);
    if (rows === undefined) return undefined;
    const first = definition.keys[0]?.column;
    const correlation =
      (first !== undefined && this.#catalogue.columnNamed(table.oid, first)?.correlation) || 0;
    const isCovered = isCoveredBy(definition, scanned);
    const read =
      definition.method !== 'btree'
        ? COST_OF_SPECIAL + costOfHeapPages(table.pages, rows)
        : costOfIndexRead(table, { rows, isCovered, correlation: Math.abs(correlation) });
    const ids = [idOf(definition)];
    // A walk along the order would go on and on, where fewer rows than expected pass the filter.
    const isOrdered = use.givesOrder && !(use.conditions.length === 0 && scanned.isMisjudged);
    const limited = isOrdered ? limitedRead(placed, { rows, read }, table, this.#catalogue) : undefined;
    const ofLimit = limited && {
      ids,
      rows,
      givesOrder: true,
      gain: gainOf(limited.cost, limited.top, statement),
    };
    if (use.conditions.length === 0) return ofLimit;
    const lookups = use.isJoin ? rowsOfOtherSide(placed, scanned.alias, this.#catalogue) : 1;
    const gain = gainOf(read * lookups, placed, statement);
    return ofLimit && ofLimit.gain > gain ? ofLimit : { ids, rows, givesOrder: false, gain };
  }

  /** Arms of an OR, each with an index of its own, new or existing. */
  async #ofArms(
    statement: PlannedStatement,
    scan: EstimatedScan,
    indexes: readonly IndexDefinition[],
  ): Promise<Estimate | undefined> {
    const { placed, scanned, conditions } = scan;
    const { table } = scanned;
    for (const { arms } of conditions.filter(({ kind }) => kind === 'or')) {
      const ids = new Set<string>();
      let rows = 0;
      for (const arm of arms ?? []) {
        const found = indexes.find((definition) => {
          const use = useOf(definition, { ...scan, conditions: arm });
          return use?.conditions.some((each) => arm.includes(each)) === true;
        });
        if (!found && !this.#hasIndexFor(arm, table.oid)) return undefined;
        if (found) ids.add(idOf(found));
        const used = found ? useOf(found, { ...scan, conditions: arm })!.conditions : arm.slice(0, 1);
        rows += (await this.#rowsWith(statement, scanned, used)) ?? table.rows;
      }
      if (ids.size === 0) continue;
      const read = COST_OF_JOINED_ROW * (arms?.length ?? 1) + costOfHeapPages(table.pages, rows);
      return { ids: [...ids], rows, givesOrder: false, gain: gainOf(read, placed, statement) };
    }
    return undefined;
  }

  #hasIndexFor(arm: readonly Condition[], table: number): boolean {
    const columns = this.#catalogue.columnsOfTable(table);
    const numbers = arm
      .filter(({ kind }) => kind === 'equal' || kind === 'in' || kind === 'range')
      .map(({ keys: [key] }) => columns.find(({ name }) => name === key?.column)?.number);
    return this.#catalogue
      .indexesOf(table)
      .some((index) => index.isValid && index.predicate === null && numbers.includes(index.numbers[0]));
  }

  /** The rows that conditions leave, as the planner estimates them; of a join: for one row of the other side. */
  async #rowsWith(
    { query, fingerprint }: PlannedStatement,
    { table, alias }: ScannedTable,
    conditions: readonly Condition[],
  ): Promise<number | undefined> {
    const joins = conditions.filter(({ isJoin }) => isJoin);
    const fixed = conditions.filter(({ isJoin }) => !isJoin);
    const share = joins.reduce((product, condition) => product * this.#shareOf(condition, table.oid), 1);
    if (fixed.length === 0) return Math.max(table.rows * share, 1);
    const isGeneric =
      query.values === undefined || fixed.some(({ expression }) => /\$\d/.test(printedText(expression)));
    if (isGeneric) {
      const each = fixed.reduce((product, condition) => product * this.#shareOf(condition, table.oid), share);
      return Math.max(table.rows * each, 1);
    }
    const where = fixed.map(({ expression }) => printedText(expression)).join(' AND ');
    const key = `${fingerprint}\n${alias}\n${where}`;
    let rows = this.#rows.get(key);
    if (rows === undefined) {
      const text = `SELECT 1 FROM ${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)} AS ${quoteIdentifier(alias)} WHERE ${where}`;
      const root = await readOnly(this.#session, () =>
        explainQuery(this.#session, { text, values: [] }),
      ).catch(noPlan);
      if (!root) return undefined;
      rows = root['Plan Rows'];
      this.#rows.set(key, rows);
    }
    return Math.max(rows * share, 1);
  }

  /** Without values: what the planner assumes. */
  #shareOf({ kind, keys: [key] }: Condition, table: number): number {
    if (kind === 'equal') return 1 / this.#distinct(table, key);
    if (kind === 'in') return Math.min(1, 10 / this.#distinct(table, key));
    return kind === 'range' || kind === 'row' ? 0.33 : 0.1;
  }

  #distinct(table: number, key: { readonly column?: string } | undefined): number {
    const { distinct = null } =
      (key?.column !== undefined && this.#catalogue.columnNamed(table, key.column)) || {};
    return Math.max(distinct ?? 200, 1);
  }
}

interface Use {
  readonly conditions: readonly Condition[];
  readonly isJoin: boolean;
  readonly givesOrder: boolean;
}

/** The conditions that an index serves: equal ones, then one range; and whether it gives the order that is left. */
function useOf({ keys, method, where, include }: IndexDefinition, scan: EstimatedScan): Use | undefined {
  const { conditions, scanned, catalogue } = scan;
  // Without the planner, nobody knows whether all pages are visible to all transactions.
  if (include.length > 0) return undefined;
  const predicate = where === undefined ? [] : conditions.filter(({ text }) => where.includes(text));
  if (where !== undefined && predicate.length === 0) return undefined;
  if (method !== 'btree') {
    const found = conditions.filter((each) => each.kind === method && isKey(keys[0], each.keys[0]));
    const isJoin = found.some((each) => each.isJoin);
    return found.length > 0 ? { conditions: found, isJoin, givesOrder: false } : undefined;
  }
  const used: Condition[] = [...predicate];
  let at = 0;
  for (; at < keys.length; at++) {
    const equal = conditions.find(
      (each) => /^(?:equal|null|in)$/.test(each.kind) && isKey(keys[at], each.keys[0]),
    );
    if (!equal) break;
    used.push(equal);
  }
  const isOrdered = used.every(
    (each) => each.kind !== 'in' && (!each.isJoin || isFixedBelowLimit(each, scan)),
  );
  const ranges = conditions.filter(
    (each) =>
      isKey(keys[at], each.keys[0]) &&
      (each.kind === 'prefix'
        ? keys[at]!.opclass?.name === patternKey(each.keys[0]!, scanned.table, catalogue).opclass?.name
        : /^(?:range|row)$/.test(each.kind) && keys[at]!.opclass === undefined),
  );
  used.push(...ranges);
  const givesOrder = isOrdered && scanned.orders.some((order) => isOrder(order, keys, used, at));
  const isJoin = used.some((each) => each.isJoin && !isFixedBelowLimit(each, scan));
  return used.length > 0 || givesOrder ? { conditions: [...new Set(used)], isJoin, givesOrder } : undefined;
}

/**
 * Whether the rows of the other side of a join could be looked up one by one. No condition reaches below a group, a window
 * or a limit that lies between: their results need all rows.
 */
function isWithinReach({ text }: Condition, { above }: PlacedNode): boolean {
  const fence = above.find(needsAllRows);
  if (!fence) return true;
  return nodesOf(fence).some(({ node }) =>
    conditionsOfNode(node).some(({ expression }) => withoutAliases(expression) === text),
  );
}

/** An aggregate without functions only makes the rows of a semi-join distinct, which a lookup does as well. */
function needsAllRows({
  'Node Type': type,
  Output: output = [],
  'Group Key': group = [],
}: PlanStep): boolean {
  if (type === 'Aggregate') return output.some((text) => !group.includes(text));
  return type === 'WindowAgg' || type === 'Limit';
}

/** Whether the other table of a condition is read outside of the subquery of this scan, which runs once for each of its rows. */
function isFixedBelowLimit({ expression }: Condition, { placed, scanned }: EstimatedScan): boolean {
  const top = placed.above.findIndex(
    ({ 'Node Type': type }, at) => type === 'Limit' || (type === 'Aggregate' && at < 2),
  );
  const inside = top < 0 ? placed.node : placed.above[top]!;
  const others = columnsOf(expression).filter(({ relation }) => relation !== scanned.alias);
  const isInside = nodesOf(inside).some(({ node }) => others.some(({ relation }) => relation === node.Alias));
  const isSubplan = [placed.node, ...placed.above].some((node) => node['Parent Relationship'] === 'SubPlan');
  return !isInside && (isSubplan || top >= 0);
}

function isOrder(
  order: ScannedTable['orders'][number],
  keys: readonly IndexKey[],
  used: readonly Condition[],
  from: number,
): boolean {
  const wanted = order.filter(
    ({ expression }) =>
      !used.some(({ kind, keys: [key] }) => kind === 'equal' && key?.column === expression.name),
  );
  const rest = keys.slice(from);
  const isSame = wanted.every(
    ({ expression }, at) => rest[at]?.column === expression.name && rest[at]?.opclass === undefined,
  );
  // All keys up, or the same directions as the order, or all turned.
  const turns = wanted.map(({ isDescending }, at) => isDescending !== (rest[at]?.order === 'desc'));
  return wanted.length > 0 && isSame && turns.every((turn) => turn === turns[0]);
}

function isKey(
  key: IndexKey | undefined,
  of: { readonly column?: string; readonly expression?: string } | undefined,
): boolean {
  if (!key || !of) return false;
  return key.column === undefined ? key.expression === of.expression : key.column === of.column;
}

function isCoveredBy({ keys, include }: IndexDefinition, { columns }: ScannedTable): boolean {
  const has = new Set([...keys.map(({ column }) => column), ...include]);
  return !columns.has('*') && [...columns].every((name) => has.has(name));
}

/** The rows that a join looks up in a scan. */
function rowsOfOtherSide({ node, above }: PlacedNode, alias: string, catalogue: Catalogue): number {
  let below = node;
  for (const upper of above) {
    if (/^(?:Hash Join|Merge Join|Nested Loop)$/.test(upper['Node Type'])) {
      const other = upper.Plans?.find((plan) => plan !== below);
      if (!other) return 1;
      // Rows that were found for one row of this scan are not those that it would be searched for.
      const dependent = nodesOf(other).find(({ node: each }) =>
        conditionsOfNode(each).some(({ expression }) =>
          columnsOf(expression).some(({ relation }) => relation === alias),
        ),
      );
      const table = dependent && catalogue.tableNamed(dependent.node.Schema, dependent.node['Relation Name']);
      return Math.max(table?.rows ?? other['Plan Rows'], 1);
    }
    below = upper;
  }
  return 1;
}

/** The cost that a statement saves if a part of its plan costs less. */
function gainOf(cost: number, { node, above }: PlacedNode, statement: PlannedStatement): number {
  const repeated = repetitionsOf({ node, above });
  const before = Math.min(node['Total Cost'] * repeated, statement.cost);
  return before - cost * repeated;
}

/** How one scan is read through an index. */
interface LimitedRead {
  readonly rows: number;
  readonly read: number;
}

/** The part of a plan that ends early if its rows come in the wanted order, and its cost then; `undefined`: none does. */
function limitedRead(
  { node, above }: PlacedNode,
  { rows, read }: LimitedRead,
  table: CatalogueTable,
  catalogue: Catalogue,
): { cost: number; top: PlacedNode } | undefined {
  const each = read / Math.max(rows, 1);
  const isBlocking = (upper: PlanStep) => upper['Node Type'] === 'Aggregate' && upper.Strategy !== 'Sorted';
  const at = above.findIndex((upper) => upper['Node Type'] === 'Limit' || isBlocking(upper));
  const top = above[at];
  if (!top) return undefined;
  // The other arms of a UNION ALL are read whole, unless each of them has the order as well.
  const isArm = above.slice(0, at).some((upper) => /Append$/.test(upper['Node Type']));
  if (isArm && !table.isPartitioned) return undefined;
  const placed = { node: top, above: above.slice(at + 1) };
  const path = [node, ...above.slice(0, at + 1)];
  if (isBlocking(top)) {
    // The end of an order, as `max` wants it; partial aggregates are a part of theirs.
    const whole = placed.above.findLast((upper) => upper['Node Type'] === 'Aggregate');
    const isExtreme = !top['Group Key'] && isExtremeOnly(top);
    const index = whole ? placed.above.indexOf(whole) : -1;
    const end = whole ? { node: whole, above: placed.above.slice(index + 1) } : placed;
    return isExtreme
      ? { cost: each + COST_OF_JOINED_ROW + costBeside(path, 1, catalogue), top: end }
      : undefined;
  }
  const sort = above.slice(0, at).find((upper) => upper['Node Type'] === 'Sort');
  const produced = Math.max((sort?.Plans?.[0] ?? node)['Plan Rows'], 1);
  const wanted = Math.min(Math.max(top['Plan Rows'] / produced, sort ? shareOfLimit(top) : 0) * rows, rows);
  if (wanted > table.rows * MOST_SHARE_CORRELATED) return undefined;
  const joins = path.filter((upper) => /Join|Nested Loop/.test(upper['Node Type'])).length;
  const beside = costBeside(path, wanted, catalogue);
  return { cost: each * wanted + wanted * joins * COST_OF_JOINED_ROW + beside + 4, top: placed };
}

/** The cost of everything that a path of a plan needs beside its scan, for some rows of it: it stays. */
function costBeside(path: readonly PlanStep[], rows: number, catalogue: Catalogue): number {
  let sum = 0;
  for (const upper of path) {
    for (const child of upper.Plans ?? []) {
      if (path.includes(child)) continue;
      const relationship = child['Parent Relationship'];
      if (relationship === 'SubPlan' && !isHashedIn(upper, child)) sum += child['Total Cost'] * rows;
      else if (relationship === 'SubPlan' || relationship === 'InitPlan') sum += child['Total Cost'];
      else if (/^(?:Hash|Merge) Join$/.test(upper['Node Type']) && !canLookUp(upper, child, catalogue))
        sum += child['Total Cost'];
    }
  }
  return sum;
}

/** Whether an index finds the rows of the other side of a join, so that a loop can replace it. */
function canLookUp(join: PlanStep, side: PlanStep, catalogue: Catalogue): boolean {
  const columns = conditionsOfNode(join)
    .filter(({ field }) => field === 'Hash Cond' || field === 'Merge Cond')
    .flatMap(({ expression }) => columnsOf(expression));
  return nodesOf(side).some(({ node }) => {
    const table = catalogue.tableNamed(node.Schema, node['Relation Name']);
    const numbers = columns
      .filter(({ relation }) => relation === node.Alias)
      .map(({ name }) => table && catalogue.columnNamed(table.oid, name)?.number);
    const indexes = table ? catalogue.indexesOf(table.oid) : [];
    return indexes.some(
      ({ isValid, predicate, numbers: [first] }) => isValid && predicate === null && numbers.includes(first),
    );
  });
}

function isExtremeOnly({ Output: output = [] }: PlanStep): boolean {
  return output.length > 0 && output.every((text) => /^(?:PARTIAL )?(?:min|max)\(/.test(text));
}

function indexScan(node: PlanStep, { ids, rows }: Estimate): PlanStep {
  const scan = (name: string): PlanStep => ({
    ...node,
    'Index Name': name,
    'Plan Rows': rows / ids.length,
    Plans: [],
  });
  const [id = ''] = ids;
  if (ids.length === 1) return { ...scan(id), 'Node Type': 'Index Scan' };
  const bitmaps = ids.map((each) => ({ ...scan(each), 'Node Type': 'Bitmap Index Scan' }));
  return { ...node, 'Node Type': 'Bitmap Heap Scan', Plans: bitmaps };
}

function replaceNodes(node: PlanStep, replaced: ReadonlyMap<PlanStep, PlanStep>): PlanStep {
  const found = replaced.get(node);
  if (found) return found;
  return node.Plans ? { ...node, Plans: node.Plans.map((child) => replaceNodes(child, replaced)) } : node;
}
