import { type IndexDefinition, idOf } from '../indexes/definition.js';
import type { Session } from '../sessions.js';
import { isWorthwhile, MOST_SHARE } from './acceptance.js';
import type { Proposal } from './candidates.js';
import type { ImprovedStatement } from './choose.js';
import { costOfHeapPages } from './cost-model.js';
import type { PlannableQuery } from './explain.js';
import { columnsOf, type Expression, withoutAliases } from './expression.js';
import type { IndexableFunctions } from './indexable.js';
import { nodesOf, type PlacedNode, type PlanStep, repetitionsOf } from './plan.js';
import { type SampleResult, tryOnSample } from './sampled.js';
import type { ScannedTable } from './scans.js';
import type { PlannedWith } from './what-if.js';
import type { PlannedStatement } from './workload.js';

/** An index that was tried on a sample, with the statements that it helps. */
export interface SampledAdvice {
  readonly definition: IndexDefinition;
  readonly bytes: number;
  readonly improved: readonly ImprovedStatement[];
}

/** The surroundings of trials on samples. */
export interface SampledContext {
  readonly session: Session;
  readonly functions: IndexableFunctions;
  proposalsOf(statement: PlannedStatement): readonly Proposal[];
  /** Plans as if indexes existed. */
  plan(query: PlannableQuery, indexes: readonly IndexDefinition[]): Promise<PlannedWith | undefined>;
  /** With the other indexes that are advised. */
  costOf(statement: PlannedStatement): number;
  writeCost(definition: IndexDefinition): number;
  isLate(): boolean;
}

/** A statement that other indexes have made cheaper than this needs no GIN or GiST index beside them. */
const CHEAP = 1_000;

/** The effect of an index on one statement. */
interface Tried {
  readonly definition: IndexDefinition;
  readonly result: SampleResult;
  /** The statement's cost as the planner will compute it. */
  readonly after: number;
}

/** Tries indexes of which the planner knows too little before they exist, each on a sample. */
export async function adviseBySample(
  statements: readonly PlannedStatement[],
  context: SampledContext,
): Promise<SampledAdvice[]> {
  const byId = new Map<
    string,
    { definition: IndexDefinition; bytes: number; improved: ImprovedStatement[]; gain: number }
  >();
  for (const statement of statements) {
    const now = context.costOf(statement);
    if (context.isLate() || (now < statement.cost && now < CHEAP)) continue;
    let best: (Tried & { gain: number }) | undefined;
    for (const { definitions, sampled } of context.proposalsOf(statement)) {
      const [definition] = definitions;
      if (!definition || definitions.length > 1) continue;
      const found = await tryFor(statement, definition, sampled, now, context);
      if (found && found.after < (best?.after ?? Number.POSITIVE_INFINITY)) best = { definition, ...found };
    }
    if (!best) continue;
    const { definition, result, after } = best;
    const id = idOf(definition);
    const advice = byId.get(id) ?? { definition, bytes: result.bytes, improved: [], gain: 0 };
    advice.improved.push({ statement, after, used: new Set([id]) });
    advice.gain += statement.weight * best.gain;
    byId.set(id, advice);
  }
  return [...byId.values()].filter(({ definition, gain }) => gain > context.writeCost(definition));
}

async function tryFor(
  statement: PlannedStatement,
  definition: IndexDefinition,
  sampled: Expression | undefined,
  now: number,
  context: SampledContext,
): Promise<{ result: SampleResult; after: number; gain: number } | undefined> {
  const { session, functions } = context;
  const { schema, table: name } = definition;
  const scanned = statement.scanned.find(
    ({ table, conditions }) =>
      table.schema === schema && table.name === name && (!sampled || conditions.includes(sampled)),
  );
  const placed = scanned && nodesOf(statement.root).find(({ node }) => node === scanned.scan);
  if (!placed) return undefined;
  const conditions = sampled ? [sampled] : conditionsOnExpression(scanned, definition);
  // The sample runs them.
  if (conditions.length === 0 || !conditions.every((each) => functions.allows(each, true))) return undefined;
  const isOwn = (each: Expression) => columnsOf(each).every(({ relation }) => relation === scanned.alias);
  if (!conditions.every(isOwn)) return undefined;
  const { table, alias } = scanned;
  const result = await tryOnSample(session, definition, { table, alias, conditions });
  if (!result || result.share > MOST_SHARE) return undefined;
  const repeated = repetitionsOf(placed);
  const before = costOfScan(placed, statement);
  const read = shareUntilLimit(placed, result);
  const heap = (rows: number) => result.indexCost + costOfHeapPages(table.pages, rows) * read;
  const beside = Math.max(statement.cost - before, 0);
  const after =
    (sampled && (await costByPredicate(statement, definition, { condition: sampled, result }, context))) ??
    beside + Math.min(heap(result.plannedRows) * repeated, before);
  // The gain is that of the rows that are there, where these are more.
  const real =
    beside + Math.min(heap(Math.max(result.plannedRows, result.share * table.rows)) * repeated, before);
  const truth = scanned.isMisjudged ? Math.max(now, costAsCounted(placed, scanned, result.share)) : now;
  return isWorthwhile(truth, real, statement.leastGain) ? { result, after, gain: truth - real } : undefined;
}

/**
 * The cost of a plan as if the index existed. The planner knows a hypothetical B-tree whose predicate is the condition, so it
 * decides about the rest. `undefined`: it does not use it, or has no statistics of the condition.
 */
async function costByPredicate(
  { query }: PlannedStatement,
  { schema, table, keys }: IndexDefinition,
  { condition, result }: { condition: Expression; result: SampleResult },
  { plan }: SampledContext,
): Promise<number | undefined> {
  if (keys.some(({ expression }) => expression !== undefined)) return undefined;
  const where = withoutAliases(condition);
  const stand: IndexDefinition = {
    schema,
    table,
    method: 'btree',
    keys: [{ expression: '1' }],
    include: [],
    where,
  };
  const planned = await plan(query, [stand]);
  const used = nodesOf(planned?.root ?? NO_PLAN).find(({ node }) =>
    planned?.names.has(node['Index Name'] ?? ''),
  );
  if (!planned || !used) return undefined;
  const isBitmap = used.node['Node Type'] === 'Bitmap Index Scan';
  const search = isBitmap ? used.node['Total Cost'] : LEAST_SEARCH;
  return planned.root['Total Cost'] + (result.indexCost - search) * repetitionsOf(used);
}

const NO_PLAN: PlanStep = { 'Node Type': '', 'Startup Cost': 0, 'Total Cost': 0, 'Plan Rows': 0 };

/** The planner's figure for one page of an index. */
const LEAST_SEARCH = 4;

/** The conditions on the expression of a B-tree with this key alone; the server has no statistics of it before. */
function conditionsOnExpression(
  { conditions, isMisjudged }: ScannedTable,
  { keys, where, method }: IndexDefinition,
): Expression[] {
  const [{ expression } = {}, ...others] = keys;
  if (
    !isMisjudged ||
    expression === undefined ||
    others.length > 0 ||
    where !== undefined ||
    method !== 'btree'
  )
    return [];
  return conditions.filter((each) => withoutAliases(each).includes(expression));
}

/** The part of a statement's cost that a scan has, with the processes that only a large scan needs. */
function costOfScan(placed: PlacedNode, { cost }: PlannedStatement): number {
  const { node, above } = placed;
  const scan = node['Total Cost'] * repetitionsOf(placed);
  const gather = above.find((upper) => upper['Node Type'].startsWith('Gather'));
  const [input] = gather?.Plans ?? [];
  const isOnly = gather && input && scan >= input['Total Cost'] / 2;
  return Math.min(isOnly ? scan + gather['Total Cost'] - input['Total Cost'] : scan, cost);
}

/** The share of the rows of an index that is read until a limit right above their scan. */
function shareUntilLimit({ node, above }: PlacedNode, { assumedRows, plannedRows }: SampleResult): number {
  const at = above.findIndex(
    (upper) => !/^(?:Gather|Subquery Scan|Result|LockRows)$/.test(upper['Node Type']),
  );
  const limit = above[at];
  if (limit?.['Node Type'] !== 'Limit') return 1;
  const rowsNow = (above[at - 1] ?? node)['Plan Rows'];
  const rows = plannedRows * Math.min(rowsNow / Math.max(assumedRows, 1), 1);
  return Math.min(limit['Plan Rows'] / Math.max(rows, 1), 1);
}

/** The cost of a scan that ends early, if the planner knew how few of its rows fit. */
function costAsCounted({ node, above }: PlacedNode, { table }: ScannedTable, share: number): number {
  const limit = above.find((upper) => upper['Node Type'] === 'Limit');
  if (!limit) return 0;
  const matched = Math.max(share * table.rows, 1);
  return node['Total Cost'] * Math.min(1, limit['Plan Rows'] / matched);
}
