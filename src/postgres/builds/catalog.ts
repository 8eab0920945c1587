import { type IndexDefinition, indexNameOf, nameHashOf, type QualifiedName } from '../indexes/definition.js';
import type { Session } from '../sessions.js';
import { type OwnName, readOwnName } from './names.js';
import type { BuildBlocker } from './types.js';

/** The table of an index. */
export interface TableFacts {
  readonly oid: string;
  /** `relkind`: `r` for a table, `p` for one with partitions, `m` for a materialized view. */
  readonly kind: string;
  readonly isOwner: boolean;
  readonly mayCreate: boolean;
  readonly isSystem: boolean;
  /** With all of its partitions. */
  readonly bytes: number;
  readonly hasForeignPartition: boolean;
}

/** An index that hotpath has built, by its name. */
export interface OwnIndex extends QualifiedName, OwnName {
  readonly oid: string;
  readonly tableOid: string;
  readonly table: QualifiedName;
  readonly isPartitioned: boolean;
  /** Whether its table is a partition. A detached one keeps the index. */
  readonly isOfPartition: boolean;
  /** Of its table; 0 for one without partitions. */
  readonly partitionCount: number;
  readonly isValid: boolean;
  readonly isReady: boolean;
  readonly isAttached: boolean;
  readonly isOwner: boolean;
  readonly comment: string | null;
  /** With those of all partitions. */
  readonly bytes: number;
}

/** @returns `undefined` without the table. */
export async function readTable(
  session: Session,
  { schema, table }: Pick<IndexDefinition, 'schema' | 'table'>,
): Promise<TableFacts | undefined> {
  const { rows } = await session.query(
    `SELECT c.oid::text AS oid, c.relkind AS kind, pg_has_role(c.relowner, 'USAGE') AS "isOwner",
            has_schema_privilege(n.oid, 'CREATE') AS "mayCreate",
            n.nspname ~ '^pg_' OR n.nspname = 'information_schema' AS "isSystem",
            coalesce((SELECT sum(pg_table_size(relid)) FROM pg_partition_tree(c.oid)), pg_table_size(c.oid))::float8 AS bytes,
            EXISTS (SELECT FROM pg_partition_tree(c.oid) p JOIN pg_class f ON f.oid = p.relid WHERE f.relkind = 'f')
              AS "hasForeignPartition"
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'm')`,
    [schema, table],
  );
  return rows[0] as TableFacts | undefined;
}

/**
 * The indexes that hotpath has built or begun, valid or not. Parts of a valid index come with one hash alone, because there
 * may be thousands.
 *
 * @param hash the end of their names. Default: any.
 */
export async function listOwnIndexes(session: Session, hash?: string): Promise<OwnIndex[]> {
  const { rows } = await session.query(
    `SELECT c.oid::text AS oid, n.nspname AS schema, c.relname AS name, t.oid::text AS "tableOid",
            tn.nspname AS "tableSchema", t.relname AS "tableName", c.relkind = 'I' AS "isPartitioned",
            t.relispartition AS "isOfPartition",
            (SELECT count(*) FROM pg_partition_tree(t.oid) p WHERE p.isleaf AND t.relkind = 'p')::int AS "partitionCount",
            i.indisvalid AS "isValid", i.indisready AS "isReady",
            EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid) AS "isAttached",
            pg_has_role(c.relowner, 'USAGE') AS "isOwner", obj_description(c.oid, 'pg_class') AS comment,
            coalesce((SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree(c.oid)), pg_relation_size(c.oid), 0)::float8
              AS bytes
       FROM pg_index i
       JOIN pg_class c ON c.oid = i.indexrelid
       JOIN pg_namespace n ON n.oid = c.relnamespace
       JOIN pg_class t ON t.oid = i.indrelid
       JOIN pg_namespace tn ON tn.oid = t.relnamespace
      WHERE c.relname ~ $1 AND NOT i.indisunique
        AND ($2 OR NOT EXISTS (SELECT FROM pg_index r WHERE r.indexrelid = pg_partition_root(c.oid)
          AND r.indexrelid <> c.oid AND r.indisvalid))
      ORDER BY n.nspname, c.relname`,
    [`^hotpath_.*_${hash ?? '[0-9a-f]{8}'}(_[0-9a-f]{8})?$`, hash !== undefined],
  );
  return rows.flatMap(({ tableSchema, tableName, ...row }) => {
    const table = { schema: tableSchema, name: tableName } as QualifiedName;
    const own = readOwnName(row.name as string, table);
    return own ? [{ ...row, ...own, table } as unknown as OwnIndex] : [];
  });
}

/** The index of a definition, by its name and its table. */
export async function readIndexOf(
  session: Session,
  definition: IndexDefinition,
): Promise<OwnIndex | undefined> {
  const { schema, table } = definition;
  const name = indexNameOf(definition);
  const found = await listOwnIndexes(session, nameHashOf(definition));
  return found.find(
    (index) => index.name === name && index.table.schema === schema && index.table.name === table,
  );
}

/** A transaction that a build would wait for. */
export interface OldTransaction extends BuildBlocker {
  readonly isPrepared: boolean;
}

/**
 * The oldest transaction that a build on a table would wait for, if it is older than the limit. It has a snapshot, or a
 * lock for writing on the table or a partition. No build waits for VACUUM of another table.
 */
export async function findOldTransaction(
  session: Session,
  tableOid: string,
  olderThanSeconds: number,
): Promise<OldTransaction | undefined> {
  const { rows } = await session.query(
    `WITH locks AS (
       SELECT l.pid, l.virtualtransaction
         FROM pg_locks l
        WHERE l.locktype = 'relation' AND l.granted AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'ShareLock')
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (l.relation = $1::oid OR l.relation IN (SELECT relid FROM pg_partition_tree($1::oid)))
     )
     SELECT a.pid, a.state, extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds, false AS "isPrepared"
       FROM pg_stat_activity a
      WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
        AND a.xact_start < clock_timestamp() - make_interval(secs => $2)
        AND (a.backend_xmin IS NOT NULL AND a.pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)
          OR a.pid IN (SELECT pid FROM locks))
     UNION ALL
     SELECT NULL, 'prepared', extract(epoch FROM clock_timestamp() - p.prepared)::float8, true
       FROM pg_prepared_xacts p
      WHERE p.database = current_database() AND p.prepared < clock_timestamp() - make_interval(secs => $2)
        AND EXISTS (SELECT FROM pg_locks x JOIN locks USING (virtualtransaction)
                     WHERE x.locktype = 'transactionid' AND x.transactionid = p.transaction AND locks.pid IS NULL)
      ORDER BY seconds DESC LIMIT 1`,
    [tableOid, olderThanSeconds],
  );
  return rows[0] as OldTransaction | undefined;
}

/** The purpose of a session that builds, as `application_name` has it. */
export const BUILD_PURPOSE = 'build';

/** The `application_name` of such a session, before the id of the build. */
const BUILD_SESSION = `hotpath ${BUILD_PURPOSE} `;

/**
 * Whether anything else builds an index on a table, or may do so. The server hides the tables of builds by other roles, so
 * any of those counts.
 *
 * @param own the build that does not count: its process, or its id, whichever instance runs it.
 */
export async function isOtherBuildOn(
  session: Session,
  tableOid: string,
  own: { readonly pid: number } | { readonly id: string },
): Promise<boolean> {
  const [pid, name] = 'pid' in own ? [own.pid, null] : [null, BUILD_SESSION + own.id];
  const { rows } = await session.query(
    `SELECT 1 FROM pg_stat_progress_create_index p
      WHERE p.datname = current_database() AND (p.relid IS NULL OR p.relid = $1::oid
         OR p.relid IN (SELECT relid FROM pg_partition_tree($1::oid)))
        AND NOT EXISTS (SELECT FROM pg_stat_activity a
                         WHERE a.pid = p.pid AND (a.pid = $2 OR a.application_name = $3))`,
    [tableOid, pid, name],
  );
  return rows.length > 0;
}

/** A build as the server shows it. */
export interface RunningBuild {
  readonly id: string;
  readonly phase: string | null;
  readonly progress: number | null;
  readonly blocker: BuildBlocker | null;
}

/** The builds of all instances that run now, or that wait for their turn. */
export async function listRunningBuilds(session: Session, id?: string): Promise<RunningBuild[]> {
  const { rows } = await session.query(
    `SELECT substr(a.application_name, length($1) + 1) AS id, p.phase, b.pid IS NOT NULL AS "isBlocked",
            nullif(b.pid, 0) AS "blockerPid", CASE b.pid WHEN 0 THEN 'prepared' ELSE o.state END AS "blockerState",
            extract(epoch FROM clock_timestamp() - o.xact_start)::float8 AS "blockerSeconds",
            CASE WHEN p.blocks_total > 0 THEN p.blocks_done::float8 / p.blocks_total
                 WHEN p.tuples_total > 0 THEN p.tuples_done::float8 / p.tuples_total END AS progress
       FROM pg_stat_activity a
       LEFT JOIN pg_stat_progress_create_index p ON p.pid = a.pid
       LEFT JOIN LATERAL (SELECT (pg_blocking_pids(a.pid))[1] AS pid) b ON true
       LEFT JOIN pg_stat_activity o ON o.pid = b.pid
      WHERE a.datname = current_database() AND a.application_name ~ ('^' || $1 || '[0-9a-f]{16}$')
        AND ($2::text IS NULL OR a.application_name = $1 || $2)
      ORDER BY p.phase IS NULL LIMIT 200`,
    [BUILD_SESSION, id ?? null],
  );
  return rows.map(({ isBlocked, blockerPid, blockerState, blockerSeconds, ...row }) => ({
    ...(row as unknown as Omit<RunningBuild, 'blocker'>),
    blocker: isBlocked
      ? ({ pid: blockerPid, state: blockerState, seconds: blockerSeconds } as BuildBlocker)
      : null,
  }));
}

/** Facts about the server, and about the rights of the role. */
export interface ServerFacts {
  readonly version: number;
  /** The process of the session. */
  readonly pid: number;
  readonly isStandby: boolean;
  readonly isReadOnly: boolean;
  /** PGlite: all connections share one session. */
  readonly isEmbedded: boolean;
}

export async function readServerFacts(session: Session): Promise<ServerFacts> {
  const { rows } = await session.query(
    `SELECT current_setting('server_version_num')::int AS version, pg_backend_pid() AS pid, pg_is_in_recovery() AS "isStandby",
            current_setting('default_transaction_read_only') = 'on' AS "isReadOnly",
            version() ~* 'pglite|emscripten|wasm' AS "isEmbedded"`,
  );
  return rows[0] as unknown as ServerFacts;
}
