import { type IndexDefinition, indexNameOf } from '../indexes/definition.js';
import type { Session } from '../sessions.js';

/** Blanks and parentheses that the server may print or not. */
const normalized = (text: string): string => text.replaceAll(/[\s()"]/g, '').toLowerCase();

/** The name of a valid index that has the same keys in the same order, the same further columns and predicate. */
export async function findEqualIndex(
  session: Session,
  definition: IndexDefinition,
): Promise<string | undefined> {
  const { rows } = await session.query(
    `SELECT c.relname AS name, m.amname AS method, pg_get_expr(i.indpred, i.indrelid) AS predicate,
            ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, false) FROM generate_series(1, i.indnatts) k ORDER BY k) AS columns,
            i.indnkeyatts AS "keyCount", i.indoption::text AS options,
            (SELECT bool_and(o.opcdefault) FROM pg_opclass o WHERE o.oid = ANY (i.indclass)) AS "hasDefaultClasses"
       FROM pg_index i
       JOIN pg_class c ON c.oid = i.indexrelid
       JOIN pg_am m ON m.oid = c.relam
      WHERE i.indrelid = (SELECT t.oid FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
                           WHERE n.nspname = $1 AND t.relname = $2)
        AND i.indisvalid AND i.indisready AND c.relname <> $3`,
    [definition.schema, definition.table, indexNameOf(definition)],
  );
  const wanted = shapeOf(definition);
  const equal = rows.find((row) => {
    const columns = (row.columns as string[]).map(normalized);
    const keys = columns.slice(0, row.keyCount as number);
    const include = columns.slice(row.keyCount as number).sort();
    const predicate = normalized((row.predicate as string | null) ?? '');
    const shape = [row.method, keys, row.options, include, predicate, row.hasDefaultClasses];
    return JSON.stringify(shape) === wanted;
  });
  return equal?.name as string | undefined;
}

/** As the catalogue describes an index. */
function shapeOf({ method, keys, include, where = '' }: IndexDefinition): string {
  // `indoption`: 1 for descending, 2 for nulls first.
  const options = keys.map(({ order = 'asc', nulls }) => {
    const isFirst = (nulls ?? (order === 'asc' ? 'last' : 'first')) === 'first';
    return (order === 'desc' ? 1 : 0) + (isFirst ? 2 : 0);
  });
  return JSON.stringify([
    method,
    keys.map(({ column, expression = '' }) => normalized(column ?? expression)),
    options.join(' '),
    include.map(normalized).sort(),
    normalized(where),
    keys.every(({ opclass }) => opclass === undefined),
  ]);
}
