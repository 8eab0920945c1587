import { setTimeout as delay } from 'node:timers/promises';
import { unawaited } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import { isDirect, type Session, type SessionLimits, type Sessions } from '../sessions.js';
import type { AbsenceReason } from '../statistics/figures.js';
import { absenceOf } from '../statistics/reasons.js';
import { millis, readRow, readRows } from '../statistics/rows.js';
import type { AnalyzeState, StaleTable } from './figures.js';
import { ANALYZE_ID, staleTables } from './readings.js';

/** ANALYZE that has begun. */
export interface StartedAnalyze {
  readonly tables: readonly StaleTable[];
  /** Of the server. Milliseconds since 1970. */
  readonly since: number;
}

/** Why ANALYZE does not begin. */
export type StartRefusal =
  /** The options do not allow it. */
  | 'not-allowed'
  /** An id is unknown, or its table is not stale any more. */
  | 'unknown-id'
  /** The role may not analyze one of the tables. */
  | 'not-owner'
  | 'standby'
  /** Another one runs in this database. */
  | 'busy'
  /** A pooler in transaction mode, which breaks locks and time-outs. */
  | 'pooler'
  | AbsenceReason;

/** Milliseconds. ANALYZE reads a sample, which takes seconds; it must not queue behind a lock for long. */
const LIMITS: SessionLimits = { statementTimeout: 600_000, lockTimeout: 2_000 };
const STATE_LIMITS: SessionLimits = { statementTimeout: 2_000, lockTimeout: 200, replyTimeout: 3_000 };

/** Attempts to get the lock of a table. */
const ATTEMPTS = 3;

/** Between two attempts. Milliseconds. */
const PAUSE = 1_000;

/** The key of the advisory lock that a run holds: two numbers, the first of which says "hotp". */
const LOCK_KEYS = [0x686f7470, 2] as const;

/** Tables of one run. */
export const MOST_IDS = 50;

/** An id, as a dry run returns it. */
export const ANALYZE_ID_FORM = /^[0-9a-f]{16}$/;

/**
 * Runs ANALYZE for tables with stale statistics, one run at a time in a database. Tables come from the catalogue, by
 * ids. The catalogue also tells how far a run is, so that every instance can.
 */
export class AnalyzeRunner {
  readonly #sessions: Sessions;
  readonly #isAllowed: boolean;

  constructor(sessions: Sessions, isAllowed: boolean) {
    this.#sessions = sessions;
    this.#isAllowed = isAllowed;
  }

  /** Starts a run in the background. Never rejects. @param ids of a dry run. */
  start(ids: readonly string[]): Promise<StartedAnalyze | StartRefusal> {
    if (!this.#isAllowed) return Promise.resolve('not-allowed');
    return new Promise((resolve) => {
      const run = this.#sessions.use('maintenance', LIMITS, async (session) => {
        const started = await prepare(session, ids);
        resolve(started);
        if (typeof started === 'string') return;
        await analyzeAll(session, started.tables);
        // An embedded server keeps it after the end of a connection.
        await unlock(session);
      });
      const ended = run.catch((error: unknown) =>
        resolve(this.#sessions.isClosed ? 'closed' : absenceOf(error)),
      );
      runInOwnContext(() => void unawaited(ended, 'ANALYZE'));
    });
  }

  /**
   * How far the tables of a run are.
   *
   * @param since the time of its start, as `start` returned it.
   * @throws the error of the server or of the connection.
   */
  states(ids: readonly string[], since: number): Promise<readonly AnalyzeState[]> {
    return this.#sessions.use('status', STATE_LIMITS, (session) => readStates(session, ids, since));
  }
}

async function prepare(session: Session, ids: readonly string[]): Promise<StartedAnalyze | StartRefusal> {
  if (!(await isDirect(session))) return 'pooler';
  const { isLocked, since } = await readRow<{ isLocked: boolean; since: number }>(
    session,
    `SELECT pg_try_advisory_lock(${LOCK_KEYS}) AS "isLocked", ${millis('clock_timestamp()')} AS since`,
  );
  if (!isLocked) return 'busy';
  const tables = await readRows<StaleTable>(session, staleTables('id = ANY ($1)'), [ids]);
  const refusal =
    tables.length < new Set(ids).size
      ? 'unknown-id'
      : tables.find((table) => table.refusal !== null)?.refusal;
  if (!refusal) return { tables, since };
  // Otherwise the next request would find it held until the server has seen the end of this connection.
  await unlock(session);
  return refusal;
}

async function unlock(session: Session): Promise<void> {
  await session.query(`SELECT pg_advisory_unlock(${LOCK_KEYS})`);
}

/** Without a right, ANALYZE does nothing and succeeds: `prepare` has checked it. */
async function analyzeAll(session: Session, tables: readonly StaleTable[]): Promise<void> {
  for (const { statement } of tables) await analyzeOne(session, statement);
  // There the time of the last ANALYZE is seen half a second late, and the run must not look like one that broke off.
  await session.query(`SELECT pg_sleep(0.6) WHERE current_setting('server_version_num')::int < 150000`);
}

/** @param statement made by the server from its catalogue. */
async function analyzeOne(session: Session, statement: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await session.query(statement);
      return;
    } catch (error) {
      const reason = absenceOf(error);
      if (reason === 'unavailable') throw error;
      // The table is locked, or gone: the others go on.
      if (reason !== 'timeout' || attempt === ATTEMPTS) return;
    }
    await delay(PAUSE, undefined, { ref: false });
  }
}

type StateRow = Omit<AnalyzeState, 'state'> & { readonly isDone: boolean; readonly isAlive: boolean };

async function readStates(
  session: Session,
  ids: readonly string[],
  since: number,
): Promise<readonly AnalyzeState[]> {
  const rows = await readRows<StateRow>(
    session,
    `WITH worker AS (
       SELECT l.pid FROM pg_locks l
       WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = ${LOCK_KEYS[0]} AND l.objid = ${LOCK_KEYS[1]}
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
     ), found AS (
       SELECT c.oid, ${ANALYZE_ID} AS id, n.nspname AS schema, c.relname AS table,
         greatest(s.last_analyze, s.last_autoanalyze) AS last
       FROM pg_stat_user_tables s
       JOIN pg_class c ON c.oid = s.relid
       JOIN pg_namespace n ON n.oid = c.relnamespace
     )
     SELECT f.id, f.schema, f.table, ${millis('f.last')} AS "lastAnalyzeAt",
       coalesce(f.last >= to_timestamp($2::float8 / 1000), false) AS "isDone",
       EXISTS (SELECT FROM worker) AS "isAlive", p.phase,
       CASE WHEN p.sample_blks_total > 0 THEN p.sample_blks_scanned / p.sample_blks_total::float8
         WHEN p.phase IS NOT NULL THEN 0 END AS progress,
       coalesce((
         SELECT json_agg(b.pid) FROM worker w, LATERAL (SELECT DISTINCT unnest(pg_blocking_pids(w.pid)) AS pid) AS b
         WHERE EXISTS (SELECT FROM pg_locks l WHERE l.pid = w.pid AND l.relation = f.oid AND NOT l.granted)
       ), '[]') AS "blockedBy"
     FROM found f
     LEFT JOIN pg_stat_progress_analyze p ON p.relid = f.oid AND p.pid IN (SELECT pid FROM worker)
     WHERE f.id = ANY ($1) ORDER BY f.schema, f.table LIMIT ${MOST_IDS}`,
    [ids, since],
  );
  return rows.map(({ isDone, isAlive, ...row }) => ({ ...row, state: stateOf(row, isDone, isAlive) }));
}

function stateOf(
  { phase }: Pick<AnalyzeState, 'phase'>,
  isDone: boolean,
  isAlive: boolean,
): AnalyzeState['state'] {
  if (phase !== null) return 'running';
  if (isDone) return 'done';
  return isAlive ? 'waiting' : 'ended';
}
