import type { Session } from '../sessions.js';

/**
 * Reads rows as JSON text, so that parsers that the app has set for types of `pg` change nothing.
 *
 * @param sql a SELECT; times are in milliseconds since 1970, see `millis`.
 * @throws the error of the server or of the connection.
 */
export async function readRows<Row>(
  session: Session,
  sql: string,
  values?: readonly unknown[],
): Promise<readonly Row[]> {
  const { rows } = await session.query(
    `SELECT coalesce(json_agg(row_to_json(figures)), '[]')::text AS figures FROM (${sql}) AS figures`,
    values,
  );
  return JSON.parse(String(rows[0]?.figures)) as Row[];
}

/** Reads the only row of a SELECT. @throws Error if there is none. */
export async function readRow<Row>(session: Session, sql: string, values?: readonly unknown[]): Promise<Row> {
  const [row] = await readRows<Row>(session, sql, values);
  if (row === undefined) throw new Error('the server returned no row');
  return row;
}

/** SQL for a time in milliseconds since 1970. */
export function millis(time: string): string {
  return `round(extract(epoch FROM ${time}) * 1000)`;
}
