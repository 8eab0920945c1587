import { fingerprintOf } from '../monitor/fingerprint.js';
import { type FigureReading, type FigureReadings, PartialReading } from './collector.js';
import type {
  ActivityFigures,
  BlockedFigures,
  BlockFigures,
  BufferFigures,
  ConnectionFigures,
  ServerFigures,
  ServerReadings,
  SessionFigures,
  TableFigures,
} from './figures.js';
import { millis, readRow, readRows } from './rows.js';
import { StatementReader } from './statement-window.js';

const MOST_TABLES = 50;
const MOST_SESSIONS = 20;

/** A transaction that is open for this long is listed. Seconds. */
export const LONG_TRANSACTION = 60;

const readServer: FigureReading<ServerFigures> = (session) =>
  readRow(
    session,
    `SELECT split_part(current_setting('server_version'), ' ', 1) AS version,
       ${millis('pg_postmaster_start_time()')} AS "startedAt",
       pg_is_in_recovery() AS "isStandby",
       current_setting('max_connections')::int AS "maxConnections",
       -- The second one exists since PostgreSQL 16.
       current_setting('superuser_reserved_connections')::int
         + coalesce(current_setting('reserved_connections', true)::int, 0) AS "reservedConnections",
       age(datfrozenxid) AS "xidAge",
       current_setting('autovacuum_freeze_max_age')::int AS "freezeMaxAge"
     FROM pg_database WHERE datname = current_database()`,
  );

const readConnections: FigureReading<ConnectionFigures> = async (session) => {
  const value = await readRow<ConnectionFigures>(
    session,
    // Sessions of other roles have no state, unless this role may see it.
    `SELECT count(*) AS total,
       count(*) FILTER (WHERE datname = current_database()) AS "ofDatabase",
       count(*) FILTER (WHERE datname = current_database() AND usename = current_user) AS "ofRole",
       count(*) FILTER (WHERE application_name LIKE 'hotpath %') AS "ofMonitor",
       count(*) FILTER (WHERE state = 'active') AS active,
       count(*) FILTER (WHERE state = 'idle') AS idle,
       count(*) FILTER (WHERE state = 'idle in transaction') AS "idleInTransaction",
       count(*) FILTER (WHERE state = 'idle in transaction (aborted)') AS "idleInTransactionAborted",
       count(*) FILTER (WHERE query = '<insufficient privilege>') AS hidden,
       count(*) FILTER (WHERE state = 'active' AND wait_event_type = 'Lock') AS "waitingForLock"
     FROM pg_stat_activity
     -- The type is hidden as well.
     WHERE backend_type = 'client backend' OR (backend_type IS NULL AND datname IS NOT NULL)`,
  );
  return value.hidden > 0 ? new PartialReading(value) : value;
};

const readActivity: FigureReading<ActivityFigures> = (session) =>
  readRow(
    session,
    `SELECT ${millis('stats_reset')} AS "statsResetAt",
       pg_database_size(datid) AS "sizeBytes",
       xact_commit AS commits, xact_rollback AS rollbacks, deadlocks,
       temp_files AS "tempFiles", temp_bytes AS "tempBytes"
     FROM pg_stat_database WHERE datname = current_database()`,
  );

interface BlockCounts {
  readonly heapHit: number;
  readonly heapRead: number;
  readonly indexHit: number;
  readonly indexRead: number;
}

const readBuffers: FigureReading<BufferFigures> = async (session) => {
  const counts = await readRow<BlockCounts>(
    session,
    `SELECT coalesce(sum(heap_blks_hit), 0) AS "heapHit", coalesce(sum(heap_blks_read), 0) AS "heapRead",
       coalesce(sum(idx_blks_hit), 0) AS "indexHit", coalesce(sum(idx_blks_read), 0) AS "indexRead"
     FROM pg_statio_user_tables`,
  );
  return {
    heap: blocksOf(counts.heapHit, counts.heapRead),
    index: blocksOf(counts.indexHit, counts.indexRead),
  };
};

function blocksOf(hit: number, read: number): BlockFigures {
  return { hit, read, hitRatio: ratioOf(hit, hit + read) };
}

/** `null` for nothing of nothing. */
export function ratioOf(part: number, whole: number): number | null {
  return whole > 0 ? part / whole : null;
}

const readTables: FigureReading<readonly TableFigures[]> = async (session) => {
  const tables = await readRows<Omit<TableFigures, 'indexScanRatio'>>(
    session,
    // The size of a table that is locked exclusively would have to wait. `relpages` chooses the largest ones without locks.
    `WITH largest AS (
       SELECT s.*, EXISTS (
         SELECT FROM pg_locks l WHERE l.relation = s.relid AND l.mode = 'AccessExclusiveLock'
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       ) AS is_locked
       FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
       WHERE c.relpersistence <> 't'
       ORDER BY c.relpages DESC, s.n_live_tup DESC, s.relid LIMIT ${MOST_TABLES}
     )
     SELECT schemaname AS schema, relname AS table,
       CASE WHEN NOT is_locked THEN pg_total_relation_size(relid) END AS "totalBytes",
       CASE WHEN NOT is_locked THEN pg_indexes_size(relid) END AS "indexBytes",
       coalesce(seq_scan, 0) AS "seqScans", coalesce(seq_tup_read, 0) AS "seqTuplesRead",
       idx_scan AS "indexScans", n_live_tup AS "liveTuples", n_dead_tup AS "deadTuples",
       n_mod_since_analyze AS "modifiedSinceAnalyze",
       ${millis('last_vacuum')} AS "lastVacuumAt", ${millis('last_autovacuum')} AS "lastAutovacuumAt",
       ${millis('last_analyze')} AS "lastAnalyzeAt", ${millis('last_autoanalyze')} AS "lastAutoanalyzeAt"
     FROM largest`,
  );
  return tables
    .map((table) => ({
      ...table,
      indexScanRatio: ratioOf(table.indexScans ?? 0, (table.indexScans ?? 0) + table.seqScans),
    }))
    .sort((a, b) => (b.totalBytes ?? 0) - (a.totalBytes ?? 0));
};

/** Columns of a session `a` of `pg_stat_activity`. */
const SESSION = `a.pid, left(a.application_name, 64) AS "applicationName", a.state,
  nullif(left(a.query, 10000), '<insufficient privilege>') AS query,
  extract(epoch FROM clock_timestamp() - a.xact_start) AS "transactionSeconds"`;

type SessionRow = Omit<SessionFigures, 'text'> & { readonly query: string | null };

function showSession({ query, ...session }: SessionRow): SessionFigures {
  const { pid, applicationName, state, transactionSeconds } = session;
  return {
    pid,
    applicationName,
    state,
    text: query === null ? null : fingerprintOf(query).text,
    transactionSeconds,
  };
}

const readLongTransactions: FigureReading<readonly SessionFigures[]> = async (session) => {
  const rows = await readRows<SessionRow>(
    session,
    `SELECT ${SESSION} FROM pg_stat_activity a
     WHERE a.datname = current_database() AND a.backend_type = 'client backend'
       AND a.xact_start < clock_timestamp() - interval '${LONG_TRANSACTION} seconds'
     ORDER BY a.xact_start LIMIT ${MOST_SESSIONS}`,
  );
  return rows.map(showSession);
};

type BlockedRow = SessionRow & {
  readonly seconds: number;
  readonly lock: string | null;
  readonly table: string | null;
  readonly blockers: readonly (SessionRow | { readonly pid: 0 })[];
};

const readBlockedSessions: FigureReading<readonly BlockedFigures[]> = async (session) => {
  const rows = await readRows<BlockedRow>(
    session,
    // `pg_blocking_pids` stops the lock manager for a moment, so it is called for the sessions that wait alone.
    `WITH blocked AS MATERIALIZED (
       SELECT a.* FROM pg_stat_activity a
       WHERE a.datname = current_database() AND a.wait_event_type = 'Lock'
       ORDER BY a.query_start LIMIT ${MOST_SESSIONS}
     )
     SELECT ${SESSION},
       greatest(0, extract(epoch FROM clock_timestamp() - coalesce(l.waitstart, a.query_start))) AS seconds,
       l.mode AS lock, nullif(concat_ws('.', n.nspname, c.relname), '') AS table,
       (SELECT coalesce(json_agg(CASE WHEN b.pid = 0 THEN json_build_object('pid', 0) ELSE (
            SELECT row_to_json(found) FROM (SELECT ${SESSION} FROM pg_stat_activity a WHERE a.pid = b.pid) AS found
          ) END), '[]')
        FROM (SELECT DISTINCT unnest(pg_blocking_pids(a.pid)) AS pid LIMIT ${MOST_SESSIONS}) AS b) AS blockers
     FROM blocked a
     LEFT JOIN LATERAL (SELECT * FROM pg_locks l WHERE l.pid = a.pid AND NOT l.granted LIMIT 1) AS l ON true
     LEFT JOIN pg_class c ON c.oid = l.relation
     LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
     ORDER BY seconds DESC`,
  );
  return rows.map(({ seconds, lock, table, blockers, ...row }) => ({
    ...showSession(row),
    seconds,
    lock,
    table,
    // One that ended meanwhile is `null`.
    blockers: blockers.filter((blocker) => blocker !== null).map(showBlocker),
  }));
};

function showBlocker(blocker: BlockedRow['blockers'][number]): SessionFigures {
  if ('state' in blocker) return showSession(blocker);
  return { pid: 0, applicationName: '', state: 'prepared transaction', text: null, transactionSeconds: null };
}

/** How the statistics are read. */
export function statisticsReadings(): FigureReadings<ServerReadings> {
  const statements = new StatementReader();
  return {
    server: readServer,
    connections: readConnections,
    blockedSessions: readBlockedSessions,
    longTransactions: readLongTransactions,
    activity: readActivity,
    buffers: readBuffers,
    tables: readTables,
    statements: (session) => statements.read(session),
  };
}
