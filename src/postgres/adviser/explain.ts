import { codeOf } from '../driver.js';
import type { Session } from '../sessions.js';
import type { PlanStep } from './plan.js';

/** A statement of the app that can be planned. Its values stay in memory. */
export interface PlannableQuery {
  readonly text: string;
  /** `undefined`: it is planned without values, as a prepared statement is in the long run. */
  readonly values: readonly unknown[] | undefined;
}

/** Statements that PostgreSQL plans. */
const PLANNABLE = new Set(['SELECT', 'WITH', 'INSERT', 'UPDATE', 'DELETE', 'MERGE', 'VALUES', 'TABLE']);

/** Whether the statements of an operation have plans. */
export function isPlannable(operation: string): boolean {
  return PLANNABLE.has(operation);
}

/**
 * Plans a statement without running it, inside a transaction that the caller began.
 *
 * @throws the error of the server; the transaction has failed then.
 */
export async function explainQuery(session: Session, { text, values }: PlannableQuery): Promise<PlanStep> {
  const statement = withoutEnd(text);
  if (values === undefined) return explainGenerically(session, statement);
  return planIn(await session.single(`EXPLAIN (VERBOSE, FORMAT JSON) ${statement}`, values));
}

/** Runs work in a read-only transaction, which is always rolled back. */
export async function readOnly<T>(session: Session, work: () => Promise<T>): Promise<T> {
  await session.query('BEGIN READ ONLY');
  try {
    return await work();
  } finally {
    await session.query('ROLLBACK');
  }
}

/** The name under which a statement is prepared, one at a time. */
const PREPARED = 'hotpath_generic';

/** Binding NULLs would fold the plan to no rows; only the plan of a prepared statement keeps its parameters. */
async function explainGenerically(session: Session, text: string): Promise<PlanStep> {
  await session.query('SET LOCAL plan_cache_mode = force_generic_plan');
  // One that failed after it was prepared has survived its rollback.
  const left = await session.query('SELECT FROM pg_prepared_statements WHERE name = $1', [PREPARED]);
  if (left.rows.length > 0) await session.query(`DEALLOCATE ${PREPARED}`);
  const count = await prepare(session, text);
  const list = count === 0 ? '' : ` (${Array.from({ length: count }, () => 'NULL').join(', ')})`;
  const plan = planIn(await session.query(`EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE ${PREPARED}${list}`));
  await session.query(`DEALLOCATE ${PREPARED}`);
  return plan;
}

/** Parameters of which the server cannot tell the type. */
const MOST_UNKNOWN = 10;

/** @returns the number of parameters. */
async function prepare(session: Session, text: string): Promise<number> {
  const types: string[] = [];
  for (;;) {
    await session.query('SAVEPOINT hotpath_prepare');
    try {
      const declared =
        types.length === 0 ? '' : ` (${Array.from(types, (type = 'unknown') => type).join(', ')})`;
      await session.single(`PREPARE ${PREPARED}${declared} AS ${castParameters(text)}`);
      break;
    } catch (error) {
      const { code, message } = error as { code?: string; message?: string };
      const parameter = Number(/\$(\d+)/.exec(message ?? '')?.[1]);
      const isUnknown = code === '42P18' && parameter > 0 && types.filter(Boolean).length < MOST_UNKNOWN;
      if (!isUnknown) throw error;
      types[parameter - 1] = 'text';
      await session.query('ROLLBACK TO SAVEPOINT hotpath_prepare');
    }
  }
  const { rows } = await session.query(
    'SELECT cardinality(parameter_types) AS count FROM pg_prepared_statements WHERE name = $1',
    [PREPARED],
  );
  return Number(rows[0]?.count ?? 0);
}

/** `interval $1`, as `pg_stat_statements` shows it, is no SQL; `$1::interval` is. */
function castParameters(text: string): string {
  return text.replace(
    /\b(interval|date|timestamptz|timestamp(?: with(?:out)? time zone)?|time|uuid|jsonb?)\s+(\$\d+)/gi,
    '$2::$1',
  );
}

function withoutEnd(text: string): string {
  return text.replace(/[\s;]+$/, '');
}

function planIn({ rows }: { readonly rows: readonly Record<string, unknown>[] }): PlanStep {
  const value = rows[0]?.['QUERY PLAN'];
  // The app may have switched off the parser of JSON.
  const [explained] = (typeof value === 'string' ? JSON.parse(value) : value) as [
    { Plan: PlanStep; Planning?: unknown },
  ];
  return explained.Plan;
}

/** Errors of the server say that there is no plan; others end the work. */
export function noPlan(error: unknown): undefined {
  const code = codeOf(error);
  // Class 57 and 08: the connection has ended, or an administrator ends it. A time-out of one statement is not the end.
  if (
    code !== 'connection' &&
    code !== '57P01' &&
    code !== '57P02' &&
    code !== '57P03' &&
    !code.startsWith('08')
  )
    return undefined;
  throw error;
}
