import { ddlOf, type IndexDefinition, indexNameOf, quoteIdentifier } from '../indexes/definition.js';
import type { Session } from '../sessions.js';
import type { CatalogueTable } from './catalogue.js';
import { noPlan, readOnly } from './explain.js';
import { columnsOf, type Expression, printedText } from './expression.js';
import { conditionsOfNode, nodesOf, type PlanStep } from './plan.js';

/** Rows that are copied into a temporary table. */
const SAMPLE_ROWS = 20_000;

/** The result of a trial on a sample. */
export interface SampleResult {
  /** Of finding rows in the index, without reading them from the table. */
  readonly indexCost: number;
  /** Rows of the table that the conditions leave, as the planner estimates them today. */
  readonly assumedRows: number;
  /** As it will estimate them with the index. */
  readonly plannedRows: number;
  /** The share of the rows that the conditions leave, as it was counted. */
  readonly share: number;
  /** Of the whole index, about. */
  readonly bytes: number;
}

/** A condition with built-in functions alone, as the server printed it, on one table. */
interface SampledConditions {
  readonly table: CatalogueTable;
  readonly alias: string;
  readonly conditions: readonly Expression[];
}

/**
 * Builds an index on a sample of a table, and plans conditions on it. HypoPG knows neither GIN nor GiST, and the planner has
 * no statistics of an expression. The sample is a temporary table, which is rolled back.
 *
 * @returns `undefined` if the index serves the conditions not, or no temporary table can be made.
 */
export async function tryOnSample(
  session: Session,
  definition: IndexDefinition,
  sampled: SampledConditions,
): Promise<SampleResult | undefined> {
  const { table, alias, conditions } = sampled;
  const onSample = { ...definition, schema: 'pg_temp', table: 'hotpath_sample' };
  await session.query('BEGIN READ WRITE');
  try {
    const rows = await copySample(session, table, conditions);
    await session.query(ddlOf(onSample));
    // After the index, so that there are statistics of its expressions.
    await session.query('ANALYZE pg_temp.hotpath_sample');
    const sizes = await session.query('SELECT pg_relation_size(($1)::regclass) AS bytes', [
      `pg_temp.${quoteIdentifier(indexNameOf(onSample))}`,
    ]);
    await session.query(
      `SET LOCAL transaction_read_only = on; SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off`,
    );
    const where = `AS ${quoteIdentifier(alias)} WHERE ${conditions.map(printedText).join(' AND ')}`;
    const count = await session.single(`SELECT count(*) AS count FROM pg_temp.hotpath_sample ${where}`);
    const plan = await session.query(`EXPLAIN (FORMAT JSON) SELECT 1 FROM pg_temp.hotpath_sample ${where}`);
    const root = planRoot(plan.rows[0]?.['QUERY PLAN']);
    const used = nodesOf(root).find(({ node }) => node['Node Type'] === 'Bitmap Index Scan')?.node;
    if (!used || rows === 0 || conditionsOfNode(used).every(({ field }) => field !== 'Index Cond'))
      return undefined;
    const factor = Math.max(table.rows, rows) / rows;
    const hasStatistics = definition.keys.every(({ column }) => column !== undefined);
    const assumedRows = await assumedRowsOf(session, sampled);
    const plannedRows = hasStatistics ? assumedRows : Math.max(used['Plan Rows'] * factor, 1);
    const matched = Number(count.rows[0]?.count);
    const bytes = Number(sizes.rows[0]?.bytes);
    // A rare value may be in no row of the sample.
    const share = matched > 0 ? matched / rows : Math.min(plannedRows / Math.max(table.rows, 1), 1 / rows);
    const indexCost = costOfWholeIndex(definition, { used, rows, bytes, factor, plannedRows });
    return { indexCost, assumedRows, plannedRows, share, bytes: Math.round(bytes * factor) };
  } catch (error) {
    return noPlan(error);
  } finally {
    await session.query('ROLLBACK');
  }
}

/** The rows that the planner expects of conditions on the table itself. */
async function assumedRowsOf(
  session: Session,
  { table, alias, conditions }: SampledConditions,
): Promise<number> {
  const from = `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)} AS ${quoteIdentifier(alias)}`;
  const where = conditions.map(printedText).join(' AND ');
  const plan = await session.query(`EXPLAIN (FORMAT JSON) SELECT 1 FROM ${from} WHERE ${where}`);
  return planRoot(plan.rows[0]?.['QUERY PLAN'])['Plan Rows'];
}

const PAGE_BYTES = 8192;

/** The planner's figures: a page at a random place, and an operator for each row of a bitmap. */
const RANDOM_PAGE = 4;
const OPERATOR = 0.0025;

/** The cost of a search in the whole index, from that of the sample. */
function costOfWholeIndex(
  { method }: IndexDefinition,
  {
    used,
    rows,
    bytes,
    factor,
    plannedRows,
  }: {
    used: PlanStep;
    rows: number;
    bytes: number;
    factor: number;
    plannedRows: number;
  },
): number {
  const pages = Math.max(bytes / PAGE_BYTES, 1);
  const share = used['Plan Rows'] / Math.max(rows, 1);
  // The bitmap has an entry for each row, in the sample too.
  const search = used['Total Cost'] - used['Plan Rows'] * OPERATOR;
  const rowsCost = plannedRows * OPERATOR;
  // A GIN index grows by the way to an entry; the planner takes the size to this power.
  if (method === 'gin')
    return (
      (search * Math.round((pages * factor) ** 0.15)) / Math.max(Math.round(pages ** 0.15), 1) + rowsCost
    );
  // Others are read by pages: those of the sample, and the further ones of the whole index.
  const further = Math.max(Math.ceil(share * pages * factor) - Math.ceil(share * pages), 0);
  return search + further * RANDOM_PAGE + rowsCost * 3;
}

/** @returns the number of rows. */
async function copySample(
  session: Session,
  table: CatalogueTable,
  conditions: readonly Expression[],
): Promise<number> {
  const columns = [...new Set(conditions.flatMap(columnsOf).map(({ name }) => quoteIdentifier(name)))].join(
    ', ',
  );
  const percent = Math.min(100, (SAMPLE_ROWS / Math.max(table.rows, 1)) * 120);
  // Whole pages, so that a large table is not read.
  const sample = percent < 100 ? ` TABLESAMPLE SYSTEM (${percent.toFixed(6)})` : '';
  const from = `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}${sample}`;
  const { rowCount } = await session.query(
    `CREATE TEMPORARY TABLE hotpath_sample ON COMMIT DROP AS SELECT ${columns} FROM ${from} LIMIT ${SAMPLE_ROWS}`,
  );
  return rowCount ?? 0;
}

function planRoot(value: unknown): PlanStep {
  const [explained] = (typeof value === 'string' ? JSON.parse(value) : value) as [{ Plan: PlanStep }];
  return explained.Plan;
}

/** Rows that are counted. */
const COUNTED_ROWS = 5_000;

/**
 * The share of the rows that conditions leave together, counted on some pages: of an expression the server has no statistics.
 *
 * @param conditions with built-in functions alone.
 * @returns `undefined` if it cannot be counted.
 */
export async function countShare(
  session: Session,
  { table, alias, conditions }: { table: CatalogueTable; alias: string; conditions: readonly Expression[] },
): Promise<number | undefined> {
  const percent = Math.min(100, (COUNTED_ROWS / Math.max(table.rows, 1)) * 120);
  const from = `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`;
  const text = `SELECT count(*) AS all, count(*) FILTER (WHERE ${conditions.map(printedText).join(' AND ')}) AS matched
    FROM ${from} AS ${quoteIdentifier(alias)} TABLESAMPLE SYSTEM (${percent.toFixed(6)}) REPEATABLE (1)`;
  const result = await readOnly(session, () => session.single(text)).catch(noPlan);
  const { all = 0, matched = 0 } = result?.rows[0] ?? {};
  return Number(all) > 0 ? Number(matched) / Number(all) : undefined;
}
