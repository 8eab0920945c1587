import type { JobWorkerFigures } from 'hotpath/admin';
import type pg from 'pg';
import type { JobRecords, Outcome } from '../types.js';

/** A number that other programs on the same server are unlikely to lock. */
const SCHEMA_LOCK = 4_680_938;

/** Creates the tables, unless they exist. A schema of its own: that of the shop is replaced when its size changes. */
export async function createRecordTables(client: Pick<pg.PoolClient, 'query'>): Promise<void> {
  // Processes that start together would race: CREATE … IF NOT EXISTS does not lock.
  await client.query(`
    BEGIN;
    SELECT pg_advisory_xact_lock(${SCHEMA_LOCK});
    CREATE SCHEMA IF NOT EXISTS hotpath_jobs;
    CREATE TABLE IF NOT EXISTS hotpath_jobs.forecasts (
      id         text PRIMARY KEY,
      progress   integer NOT NULL DEFAULT 0,
      outcome    jsonb,
      changed_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX IF NOT EXISTS forecasts_changed_at ON hotpath_jobs.forecasts (changed_at);
    CREATE TABLE IF NOT EXISTS hotpath_jobs.workers (
      id      text PRIMARY KEY,
      figures jsonb NOT NULL,
      beat_at timestamptz NOT NULL DEFAULT now()
    );
    COMMIT`);
}

/** Records in PostgreSQL. */
export function postgresRecords(pool: Pick<pg.Pool, 'query'>): JobRecords {
  return {
    async raise(id, progress) {
      const { rows } = await pool.query(
        `INSERT INTO hotpath_jobs.forecasts AS f (id, progress) VALUES ($1, $2)
         ON CONFLICT (id) DO UPDATE SET progress = greatest(f.progress, excluded.progress), changed_at = now()
         RETURNING outcome IS NOT NULL AS settled`,
        [id, progress],
      );
      return rows[0].settled;
    },
    async settle(id, outcome) {
      const { rows } = await pool.query(
        `INSERT INTO hotpath_jobs.forecasts AS f (id, outcome) VALUES ($1, $2)
         ON CONFLICT (id) DO UPDATE SET outcome = coalesce(f.outcome, excluded.outcome), changed_at = now()
         RETURNING outcome`,
        [id, JSON.stringify(outcome)],
      );
      return rows[0].outcome;
    },
    async read(id) {
      const { rows } = await pool.query(
        'SELECT progress, outcome FROM hotpath_jobs.forecasts WHERE id = $1',
        [id],
      );
      const { progress = 0, outcome = null } = rows[0] ?? {};
      return { progress, outcome: (outcome as Outcome | null) ?? undefined };
    },
    async beat(worker) {
      await pool.query(
        `INSERT INTO hotpath_jobs.workers (id, figures) VALUES ($1, $2)
         ON CONFLICT (id) DO UPDATE SET figures = excluded.figures, beat_at = now()`,
        [worker.id, JSON.stringify(worker)],
      );
    },
    async leave(workerId) {
      await pool.query('DELETE FROM hotpath_jobs.workers WHERE id = $1', [workerId]);
    },
    async workers(milliseconds) {
      const { rows } = await pool.query(
        `SELECT figures FROM hotpath_jobs.workers
         WHERE beat_at >= now() - $1 * interval '1 millisecond' ORDER BY id LIMIT 100`,
        [milliseconds],
      );
      return rows.map(({ figures }) => figures as JobWorkerFigures);
    },
    async sweep(milliseconds) {
      for (const [table, column] of [
        ['forecasts', 'changed_at'],
        ['workers', 'beat_at'],
      ]) {
        await pool.query(
          `DELETE FROM hotpath_jobs.${table} WHERE ${column} < now() - $1 * interval '1 millisecond'`,
          [milliseconds],
        );
      }
    },
  };
}
