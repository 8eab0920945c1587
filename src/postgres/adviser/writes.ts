import type { IndexDefinition } from '../indexes/definition.js';
import type { Catalogue, CatalogueTable } from './catalogue.js';
import { nodesOf } from './plan.js';
import type { PlannedStatement } from './workload.js';

/** The cost of one more index for one changed row, in the unit of plans: a page, and the log. */
const COST_OF_WRITE = 10;

/** One row has many entries in a GIN index, and a GiST index has no order that finds their page at once. */
const COST_OF_SPECIAL_WRITE = 40;

/** A statement that wrote so large a part of a table has filled it once. */
const SHARE_OF_LOAD = 0.5;

/** Changed rows of one table, in an hour. */
export interface TableWrites {
  readonly insertedOrDeleted: number;
  readonly updated: number;
  /** Changed rows of statements that name their columns. */
  readonly updatedColumns: ReadonlyMap<string, number>;
}

/** The counts of tables at a time. */
export interface WriteCounts {
  /** `performance.now()`. */
  readonly at: number;
  readonly byTable: ReadonlyMap<
    number,
    Pick<CatalogueTable, 'inserted' | 'deleted' | 'updated' | 'hotUpdated'>
  >;
}

/** The writes of each table: those of the statements, or those that the server has counted since the start, if more. */
export class Writes {
  readonly #byTable = new Map<number, TableWrites>();

  constructor(
    statements: readonly PlannedStatement[],
    catalogue: Catalogue,
    since: WriteCounts | undefined,
    now: number,
  ) {
    const written = new Map<number, { changed: number; updated: number; columns: Map<string, number> }>();
    for (const statement of statements) addStatement(statement, catalogue, written);
    for (const [oid, table] of catalogue.tables) {
      const { changed = 0, updated = 0, columns = new Map() } = written.get(oid) ?? {};
      const counted = countedSince(table, since, now);
      this.#byTable.set(oid, {
        insertedOrDeleted: Math.max(changed, counted.changed),
        updated: Math.max(updated, counted.updated),
        updatedColumns: columns,
      });
    }
  }

  /** Changed rows in an hour, of which each costs more with the index. */
  rowsPerHour(definition: IndexDefinition, table: CatalogueTable): number {
    const writes = this.#byTable.get(table.oid);
    if (!writes) return 0;
    // An update that changes no column of an index can stay on its page, and needs no entry in it.
    const text = [definition.where ?? '', ...definition.keys.map(({ expression = '' }) => expression)].join(
      ' ',
    );
    const isNamed = (column: string) =>
      definition.include.includes(column) ||
      definition.keys.some((key) => key.column === column) ||
      text.includes(column);
    const ofColumns = [...writes.updatedColumns]
      .filter(([column]) => isNamed(column))
      .map(([, rows]) => rows);
    return writes.insertedOrDeleted + Math.max(writes.updated, ...ofColumns, 0);
  }

  /** In the unit of plans, in an hour. */
  cost(definition: IndexDefinition, table: CatalogueTable): number {
    const each = definition.method === 'btree' ? COST_OF_WRITE : COST_OF_SPECIAL_WRITE;
    return this.rowsPerHour(definition, table) * each;
  }
}

function addStatement(
  { root, rows, calls, weight, fingerprint }: PlannedStatement,
  catalogue: Catalogue,
  written: Map<number, { changed: number; updated: number; columns: Map<string, number> }>,
): void {
  if (rows === 0) return;
  for (const { node } of nodesOf(root)) {
    if (node['Node Type'] !== 'ModifyTable') continue;
    const table = catalogue.tableNamed(node.Schema, node['Relation Name']);
    if (!table || (calls < 3 && rows >= table.rows * SHARE_OF_LOAD)) continue;
    const perHour = (rows / Math.max(calls, 1)) * weight;
    const sums = written.get(table.oid) ?? { changed: 0, updated: 0, columns: new Map<string, number>() };
    if (node.Operation !== 'Update') sums.changed += perHour;
    else {
      const columns = columnsSet(fingerprint);
      for (const column of columns) sums.columns.set(column, (sums.columns.get(column) ?? 0) + perHour);
      if (columns.length === 0) sums.updated += perHour;
    }
    written.set(table.oid, sums);
  }
}

/** The columns that an UPDATE sets. */
function columnsSet(text: string): string[] {
  const list = /\bSET (.*?)(?: WHERE | FROM | RETURNING |$)/is.exec(text)?.[1] ?? '';
  return [...list.matchAll(/(?:^|,)\s*"?(\w+)"?\s*=/g)].map(([, column]) => column!);
}

function countedSince(
  table: CatalogueTable,
  since: WriteCounts | undefined,
  now: number,
): { changed: number; updated: number } {
  const before = since?.byTable.get(table.oid);
  if (!since || !before) return { changed: 0, updated: 0 };
  const perHour = 3_600_000 / Math.max(now - since.at, 1000);
  const inserted = table.inserted - before.inserted;
  const isLoad = inserted >= table.rows * SHARE_OF_LOAD;
  const changed = (isLoad ? 0 : inserted) + table.deleted - before.deleted;
  const updated = table.updated - before.updated - (table.hotUpdated - before.hotUpdated);
  return { changed: Math.max(changed, 0) * perHour, updated: Math.max(updated, 0) * perHour };
}
