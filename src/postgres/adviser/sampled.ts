import { ddlOf, type IndexDefinition, indexNameOf, quoteIdentifier } from '../indexes/definition.js';
import type { Session } from '../sessions.js';
import type { CatalogueTable } from './catalogue.js';
import { costOfHeapPages } from './cost-model.js';
import { noPlan, readOnly } from './explain.js';
import { columnsOf, type Expression, printedText } from './expression.js';
import { nodesOf, type PlanStep } from './plan.js';

/** Rows that are copied into a temporary table. */
const SAMPLE_ROWS = 20_000;

/** The result of a trial on a sample. */
export interface SampleResult {
  /** Of reading the whole table through the index. */
  readonly cost: number;
  /** The share of the rows that the condition leaves. */
  readonly share: number;
  /** Of the whole index, about. */
  readonly bytes: number;
}

/**
 * Builds an inverted index on a sample of a table, and plans the condition on it: HypoPG knows no inverted indexes. The
 * sample is a temporary table, which is rolled back.
 *
 * @param condition as the server printed it, with built-in functions alone.
 * @param estimatedRows those of the planner, where the sample has none.
 * @returns `undefined` if the planner does not use the index, or no temporary table can be made.
 */
export async function tryOnSample(
  session: Session,
  definition: IndexDefinition,
  {
    table,
    alias,
    condition,
    estimatedRows,
  }: { table: CatalogueTable; alias: string; condition: Expression; estimatedRows: number },
): Promise<SampleResult | undefined> {
  await session.query('BEGIN READ WRITE');
  try {
    const rows = await copySample(session, table, condition);
    const filter = `FROM pg_temp.hotpath_sample AS ${quoteIdentifier(alias)} WHERE ${printedText(condition)}`;
    const count = await session.query(`SELECT count(*) AS count ${filter}`);
    const [index] = [ddlOf({ ...definition, schema: 'pg_temp', table: 'hotpath_sample' })];
    await session.query(index);
    const plan = await session.query(`EXPLAIN (FORMAT JSON) SELECT 1 ${filter}`);
    const used = bitmapIn(plan.rows[0]?.['QUERY PLAN']);
    if (!used || rows === 0) return undefined;
    const size = await session.query('SELECT pg_relation_size(($1)::regclass) AS bytes', [
      `pg_temp.${quoteIdentifier(indexNameOf({ ...definition, schema: 'pg_temp', table: 'hotpath_sample' }))}`,
    ]);
    const matched = Number(count.rows[0]?.count);
    // A rare value may be in no row of the sample.
    const share = matched > 0 ? matched / rows : Math.min(estimatedRows / Math.max(table.rows, 1), 1 / rows);
    const wanted = share * table.rows;
    return {
      cost: used['Total Cost'] + costOfHeapPages(table.pages, wanted),
      share,
      bytes: Math.round((Number(size.rows[0]?.bytes) * Math.max(table.rows, rows)) / rows),
    };
  } catch (error) {
    return noPlan(error);
  } finally {
    await session.query('ROLLBACK');
  }
}

/** @returns the number of rows. */
async function copySample(session: Session, table: CatalogueTable, condition: Expression): Promise<number> {
  const columns = [...new Set(columnsOf(condition).map(({ name }) => quoteIdentifier(name)))].join(', ');
  const percent = Math.min(100, (SAMPLE_ROWS / Math.max(table.rows, 1)) * 120);
  // Whole pages, so that a large table is not read.
  const sample = percent < 100 ? ` TABLESAMPLE SYSTEM (${percent.toFixed(6)})` : '';
  const from = `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}${sample}`;
  const { rowCount } = await session.query(
    `CREATE TEMPORARY TABLE hotpath_sample ON COMMIT DROP AS SELECT ${columns} FROM ${from} LIMIT ${SAMPLE_ROWS}`,
  );
  await session.query('ANALYZE pg_temp.hotpath_sample');
  return rowCount ?? 0;
}

function bitmapIn(value: unknown): PlanStep | undefined {
  const [explained] = (typeof value === 'string' ? JSON.parse(value) : value) as [{ Plan: PlanStep }];
  return nodesOf(explained.Plan)
    .map(({ node }) => node)
    .find((node) => node['Node Type'] === 'Bitmap Index Scan');
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
