import type { SessionLimits, Sessions } from './sessions.js';
import type { AbsenceReason } from './statistics/figures.js';
import { absenceOf } from './statistics/reasons.js';
import { readRow } from './statistics/rows.js';

/** The result of a check of the database, as `health` takes it. */
export interface DatabaseCheckResult {
  readonly status: 'pass' | 'warn' | 'fail';
  /** Names no host and no user. */
  readonly reason?: string;
}

/** Milliseconds. */
const LIMITS: SessionLimits = { statementTimeout: 1_000, lockTimeout: 200, replyTimeout: 1_000 };

/** From this share of the connections of the server on the check warns. */
const NEARLY_FULL = 0.9;

const REASONS: { readonly [Reason in AbsenceReason]?: string } = {
  unavailable: 'the server does not respond',
  timeout: 'the server did not respond in time',
  'authentication-failed': 'the server refuses the role',
  closed: 'the monitor of the database is closed',
};

/**
 * Connects to the server, beside the pool, and runs one statement. A full server is a warning: the connections of the pool
 * still work. Never rejects.
 */
export async function checkDatabase(sessions: Sessions): Promise<DatabaseCheckResult> {
  try {
    const { used, most } = await sessions.use('check', LIMITS, (session) =>
      readRow<{ used: number; most: number }>(
        session,
        `SELECT count(*) AS used, current_setting('max_connections')::int AS most
         FROM pg_stat_activity WHERE backend_type = 'client backend' OR (backend_type IS NULL AND datname IS NOT NULL)`,
      ),
    );
    if (used < NEARLY_FULL * most) return { status: 'pass' };
    return { status: 'warn', reason: `${used} of ${most} connections of the server are in use` };
  } catch (error) {
    const absence = sessions.isClosed ? 'closed' : absenceOf(error);
    if (absence === 'too-many-connections')
      return { status: 'warn', reason: 'all connections of the server are in use' };
    return { status: 'fail', reason: REASONS[absence] ?? 'the server refuses a simple statement' };
  }
}
