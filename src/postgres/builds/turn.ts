import { isDirect, type Session, type Sessions } from '../sessions.js';
import { BuildError } from './build-error.js';
import { readServerFacts } from './catalog.js';
import { pauseFor } from './pause.js';

/** The advisory lock of a build or a clean-up: one in each database, because the server keeps them by database. */
const TURN = [0x686f7470, 0x61746801] as const;

/** Between two attempts to get the lock. Milliseconds. */
const POLL_MS = 250;

/**
 * Takes the only turn of the database, if it is free. The session keeps it until its end, also after a crash of this
 * process: the server goes on with the build then.
 */
export async function tryTurn(session: Session): Promise<boolean> {
  const { rows } = await session.query('SELECT pg_try_advisory_lock($1, $2) AS taken', TURN);
  return rows[0]?.taken === true;
}

/**
 * Waits for the turn. It polls, because a session that waits inside the server holds a snapshot, for which the build that
 * has the turn would wait in return.
 *
 * @param isLate whether to give up.
 * @returns whether it has the turn.
 */
async function takeTurn(session: Session, signal: AbortSignal, isLate: () => boolean): Promise<boolean> {
  for (;;) {
    if (await tryTurn(session)) return true;
    if (isLate() || !(await pauseFor(POLL_MS, signal))) return false;
  }
}

/** Time-outs that a role or a database may have set, and that would end a build in the middle. */
const TIMEOUTS = ['client_connection_check_interval', 'transaction_timeout', 'idle_session_timeout'];

/** Turns off the time-outs of the session that have no place in a build. */
async function prepareSession(session: Session): Promise<void> {
  await session.query(`SELECT set_config(name, '0', false) FROM pg_settings WHERE name = ANY ($1)`, [
    TIMEOUTS,
  ]);
}

/** A session that has the turn. */
export interface TurnSession extends Session {
  /** Its process on the server. */
  readonly pid: number;
  /** PGlite: all connections share one session, so nothing is concurrent. */
  readonly isEmbedded: boolean;
  readonly sessions: Sessions;
}

/**
 * Runs work on a session that has the turn.
 *
 * @param isLate whether to give up waiting for it.
 * @throws BuildError `other-build` without the turn, `closed` after the end of the monitor, `pooler`.
 */
export async function withTurn<T>(
  { sessions, signal }: { readonly sessions: Sessions; readonly signal: AbortSignal },
  purpose: string,
  isLate: () => boolean,
  work: (session: TurnSession) => Promise<T>,
): Promise<T> {
  if (signal.aborted) throw new BuildError('closed', false);
  return sessions.use(purpose, { statementTimeout: 0, lockTimeout: 500 }, async (session) => {
    const { isEmbedded, pid } = await readServerFacts(session);
    // Before anything else: the pooler would hand lock and settings to the app, and nobody would have the turn again.
    if (!isEmbedded && !(await isDirect(session))) throw new BuildError('pooler', false);
    await prepareSession(session);
    if (!(await takeTurn(session, signal, isLate)))
      throw signal.aborted ? new BuildError('closed', false) : new BuildError('other-build', true);
    try {
      return await work({ ...session, pid, isEmbedded, sessions });
    } finally {
      // There, a session does not end with its connection.
      if (isEmbedded) await session.query('SELECT pg_advisory_unlock($1, $2)', TURN);
    }
  });
}
