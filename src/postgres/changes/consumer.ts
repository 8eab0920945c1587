import type { Session } from '../sessions.js';
import { MOST_ROWS, UNREAD_SECONDS } from './sql.js';

/** A record of the outbox. */
export interface ChangeRecord {
  /** The qualified name of the table. */
  readonly source: string;
  /** The rows as JSON; `null` for a change of the whole table. */
  readonly rows: string | null;
}

/** The changes since the mark of a consumer, as one snapshot sees them. */
export interface ReadChanges {
  readonly records: readonly ChangeRecord[];
  /** There are more records than are read, so everything has to be purged. */
  readonly isOverflow: boolean;
  /** A transaction that may have written without a record has ended. */
  readonly hasEndedStrays: boolean;
  /** Since the mark was moved. Seconds. */
  readonly age: number;
  /** The snapshot in which the records are read: the next mark. */
  readonly snapshot: string;
  /** When it was taken, by the clock of the server. */
  readonly at: string;
  /** The position of the WAL behind every commit in the snapshot. */
  readonly lsn: string;
}

/** Further records are not read. */
const MOST_RECORDS = 5000;

/** A record with more is one of the whole table, because a mapped column may hold long texts. Bytes. */
const LARGEST_RECORD = 500_000;

/** Of all records that are read at once. Bytes. */
const LARGEST_READ = 8_000_000;

/** Records that are removed by a statement, which has to end before its time-out. */
const REMOVED_AT_ONCE = 50_000;

const IS_WANTED =
  'source = ANY($2::text[]) AND ($3::pg_snapshot IS NULL OR pg_visible_in_snapshot(transaction, $3::pg_snapshot))';

/** A mark that has not moved for this long is lost: later, triggers may have recorded nothing. */
const LOST_SECONDS = UNREAD_SECONDS - 60;

/** Serialises registrations with the removal of records, so that none is removed that a new consumer needs. */
const REMOVAL_LOCK = 7_236_871_002;

/**
 * Finds the mark of a consumer, unless it is lost, and the records of transactions that its snapshot does not see. So a
 * transaction that commits late is read, and a long one holds nothing back.
 *
 * The subqueries are lateral, so that each is a search of the index. A scan of the outbox would cost more with each record
 * that is not removed yet.
 *
 * A mark is lost if it is old, or of another server: after a restart or a failover the outbox is empty. Records of
 * transactions that have not begun come from a dump of another server.
 *
 * Sizes are checked as the records are stored, so that few are decompressed. Then they are checked without compression: a
 * long text of one character is stored in a few bytes. A concatenation is never compressed.
 */
const READ = `WITH consumer AS MATERIALIZED (
  SELECT snapshot, strays, seen_at FROM hotpath.consumers
  WHERE id = $1 AND server = pg_postmaster_start_time()::text
    AND pg_snapshot_xmax(snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
    AND seen_at > clock_timestamp() - interval '${LOST_SECONDS} s'
)
SELECT NULL::text AS source, json_build_object(
    'age', extract(epoch FROM clock_timestamp() - consumer.seen_at),
    'snapshot', pg_current_snapshot()::text,
    'at', statement_timestamp()::text,
    'lsn', pg_current_wal_insert_lsn()::text,
    'ended', EXISTS (SELECT FROM unnest(consumer.strays) AS stray WHERE pg_visible_in_snapshot(stray, pg_current_snapshot()))
  )::text AS rows
FROM (VALUES (1)) AS one LEFT JOIN consumer ON true
UNION ALL
SELECT source, CASE WHEN size <= ${LARGEST_RECORD} AND sum(size) OVER (ROWS UNBOUNDED PRECEDING) <= ${LARGEST_READ}
  THEN to_json(rows)::text END
FROM (
  SELECT source, rows, CASE WHEN pg_column_size(rows) <= ${LARGEST_RECORD}
      AND sum(pg_column_size(rows)) OVER (ROWS UNBOUNDED PRECEDING) <= ${LARGEST_READ}
      AND cardinality(rows) <= ${MOST_ROWS}
    THEN pg_column_size(rows || '{}'::jsonb[]) END AS size
  FROM (
    SELECT after.* FROM consumer CROSS JOIN LATERAL (
      SELECT source, rows FROM hotpath.changes WHERE transaction >= pg_snapshot_xmax(consumer.snapshot)
        AND transaction < pg_snapshot_xmax(pg_current_snapshot()) AND ${IS_WANTED}
      ORDER BY transaction LIMIT ${MOST_RECORDS + 1}
    ) AS after
    UNION ALL
    SELECT late.* FROM consumer, pg_snapshot_xip(consumer.snapshot) AS unfinished CROSS JOIN LATERAL (
      SELECT source, rows FROM hotpath.changes WHERE transaction = unfinished AND ${IS_WANTED} LIMIT ${MOST_RECORDS + 1}
    ) AS late
    LIMIT ${MOST_RECORDS + 1}
  ) AS found
) AS measured`;

const HEARTBEAT = `SELECT setval('hotpath.heartbeat', extract(epoch FROM clock_timestamp())::bigint)`;

const ADVANCE = `WITH heartbeat AS (${HEARTBEAT})
UPDATE hotpath.consumers SET snapshot = $2::pg_snapshot, seen_at = $3::timestamptz,
  strays = ARRAY(SELECT stray FROM unnest(strays) AS stray WHERE NOT pg_visible_in_snapshot(stray, $2::pg_snapshot))
FROM heartbeat WHERE id = $1`;

/**
 * The transactions in progress are strays: their triggers may have run before the heartbeat. All that they changed is
 * purged when they end. Those with the highest ids are not in the list of the snapshot, but below the id of this one.
 */
const REGISTER = `INSERT INTO hotpath.consumers (id, snapshot, strays, server, seen_at)
SELECT $1, now.snapshot,
  ARRAY(SELECT pg_snapshot_xip(now.snapshot)) || ARRAY(
    SELECT id::text::xid8 FROM generate_series(
      pg_snapshot_xmax(now.snapshot)::text::bigint, pg_current_xact_id()::text::bigint - 1) AS id
  ),
  pg_postmaster_start_time()::text, statement_timestamp()
FROM (SELECT pg_current_snapshot() AS snapshot) AS now
ON CONFLICT (id) DO UPDATE SET snapshot = excluded.snapshot, strays = excluded.strays,
  server = excluded.server, seen_at = excluded.seen_at`;

const LOSE_CONSUMERS = `DELETE FROM hotpath.consumers
WHERE seen_at < clock_timestamp() - interval '${UNREAD_SECONDS} s' OR server <> pg_postmaster_start_time()::text`;

const REMOVE_READ = `DELETE FROM hotpath.changes WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM hotpath.changes WHERE NOT EXISTS (
    SELECT FROM hotpath.consumers WHERE changes.transaction < pg_snapshot_xmax(pg_current_snapshot())
      AND NOT pg_visible_in_snapshot(changes.transaction, consumers.snapshot)
  ) LIMIT ${REMOVED_AT_ONCE}
))`;

interface ReadState {
  readonly age: number | null;
  readonly snapshot: string;
  readonly at: string;
  readonly lsn: string;
  readonly ended: boolean;
}

/** A reader of the outbox with a mark in the database. Instances that share a cache share one. */
export class Consumer {
  readonly id: string;
  readonly #sources: readonly string[];

  /** @param sources the tables whose records are read, by qualified name. */
  constructor(id: string, sources: readonly string[]) {
    this.id = id;
    this.#sources = sources;
  }

  /**
   * @param until reads no transaction that this snapshot does not see.
   * @returns `undefined` if the mark is lost.
   */
  async read(session: Session, until: string | null = null): Promise<ReadChanges | undefined> {
    const { rows } = await session.query(READ, [this.id, this.#sources, until]);
    // The state is the row without a source.
    const records = rows as readonly unknown[] as { source: string | null; rows: string | null }[];
    const found = records.filter(({ source }) => source !== null) as ChangeRecord[];
    const state = JSON.parse(records.find(({ source }) => source === null)?.rows ?? '{}') as ReadState;
    if (typeof state.age !== 'number') return undefined;
    const { age, ended: hasEndedStrays, snapshot, at, lsn } = state;
    return {
      records: found,
      isOverflow: found.length > MOST_RECORDS,
      hasEndedStrays,
      age,
      snapshot,
      at,
      lsn,
    };
  }

  /** Moves the mark, and tells the triggers that changes are read. @returns false if the mark is gone. */
  async advance(session: Session, snapshot: string, at: string): Promise<boolean> {
    const { rowCount } = await session.query(ADVANCE, [this.id, snapshot, at]);
    return rowCount === 1;
  }

  /** Takes the lock on the mark until the transaction ends. @returns false if another instance has it. */
  async lock(session: Session, waits: boolean): Promise<boolean> {
    const text = `SELECT FROM hotpath.consumers WHERE id = $1 FOR UPDATE${waits ? '' : ' SKIP LOCKED'}`;
    return (await session.query(text, [this.id])).rowCount === 1;
  }

  /**
   * Sets the mark to now. Changes before it are not read, so the caller purges everything in `purge`, which must reject
   * if it has failed.
   */
  async register(session: Session, purge: () => Promise<void>): Promise<void> {
    await transaction(session, async () => {
      await session.query('SELECT pg_advisory_xact_lock($1)', [REMOVAL_LOCK]);
      // Another instance may have been faster.
      if (await this.read(session)) return;
      // In this order: every trigger that runs after the snapshot sees the heartbeat.
      await session.query(HEARTBEAT);
      await session.query(REGISTER, [this.id]);
      await purge();
    });
  }

  /** Removes the mark. */
  async leave(session: Session): Promise<void> {
    await session.query('DELETE FROM hotpath.consumers WHERE id = $1', [this.id]);
  }
}

/**
 * Removes records that every consumer has read, and consumers that are gone. Does nothing while another one does.
 *
 * @returns whether more may be left.
 */
export async function removeReadChanges(session: Session): Promise<boolean> {
  return transaction(session, async () => {
    const { rows } = await session.query('SELECT pg_try_advisory_xact_lock($1) AS taken', [REMOVAL_LOCK]);
    if (rows[0]?.taken !== true) return false;
    await session.query(LOSE_CONSUMERS);
    return (await session.query(REMOVE_READ)).rowCount === REMOVED_AT_ONCE;
  });
}

/** Runs work in a transaction. */
export async function transaction<T>(session: Session, work: () => Promise<T>): Promise<T> {
  await session.query('BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE');
  try {
    const result = await work();
    await session.query('COMMIT');
    return result;
  } catch (error) {
    // The first error tells more; a connection that is broken rolls back by itself.
    await session.query('ROLLBACK').catch(() => {});
    throw error;
  }
}
