import type { Session } from '../sessions.js';

/** A table, with the figures of the server. */
export interface CatalogueTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** The table that it is a partition of, at the top; itself for others. */
  readonly root: number;
  readonly isPartitioned: boolean;
  /** -1: never analyzed. */
  readonly rows: number;
  readonly pages: number;
  readonly bytes: number;
  readonly inserted: number;
  readonly deleted: number;
  readonly updated: number;
  readonly hotUpdated: number;
  readonly modifiedSinceAnalyze: number;
  /** Milliseconds since 1970; `null`: never. */
  readonly analyzedAt: number | null;
}

/** A column, with the statistics of the planner where they are readable. */
export interface CatalogueColumn {
  readonly name: string;
  readonly number: number;
  /** As the server prints it, such as `timestamp with time zone`; of a domain: its base. */
  readonly type: string;
  readonly isNotNull: boolean;
  /** `C` or `POSIX`: text is compared by bytes. */
  readonly comparesBytes: boolean;
  readonly isSortable: boolean;
  /** A range, or several of one type. */
  readonly isRange: boolean;
  /** Bytes. */
  readonly width: number;
  /** `null`: not known. */
  readonly distinct: number | null;
  readonly correlation: number | null;
}

/** An index that exists. */
export interface ExistingIndex {
  readonly oid: number;
  readonly table: number;
  readonly schema: string;
  readonly name: string;
  readonly method: string;
  /** Column numbers of keys, then of stored columns; 0: an expression. */
  readonly numbers: readonly number[];
  readonly keyCount: number;
  /** Bit 1: DESC, bit 2: NULLS FIRST; of each key. */
  readonly options: readonly number[];
  /** Operator classes and collations, of each key. */
  readonly classes: string;
  readonly expressions: string | null;
  readonly predicate: string | null;
  readonly isUnique: boolean;
  readonly isPrimary: boolean;
  readonly isValid: boolean;
  readonly isReplicaIdentity: boolean;
  readonly hasConstraint: boolean;
  /** Belongs to an index of a partitioned table. */
  readonly isAttached: boolean;
  readonly bytes: number;
  readonly scans: number;
  readonly definition: string;
}

/** A foreign key. */
export interface ForeignKey {
  readonly name: string;
  readonly table: number;
  readonly columns: readonly number[];
  readonly target: number;
}

/** The largest tables that are read, and their indexes. */
const MOST_TABLES = 5000;

/** Only the tables of a database, with their figures. */
export async function readCatalogueTables(session: Session): Promise<CatalogueTable[]> {
  return (await session.query(TABLES, [MOST_TABLES])).rows.map(tableOf);
}

/** The tables, indexes and extensions of a database. */
export class Catalogue {
  readonly tables: ReadonlyMap<number, CatalogueTable>;
  readonly indexes: readonly ExistingIndex[];
  readonly foreignKeys: readonly ForeignKey[];
  /** The schema of each extension that this role may use. */
  readonly extensions: ReadonlyMap<string, string>;
  readonly version: number;
  readonly isStandby: boolean;
  /** PGlite: one process, no time-outs, no other clients. */
  readonly isEmbedded: boolean;
  /** Since when the server counts scans; milliseconds since 1970, `null`: not known. */
  readonly countedSince: number | null;
  readonly #byName: ReadonlyMap<string, CatalogueTable>;
  readonly #columns = new Map<number, readonly CatalogueColumn[]>();

  private constructor(read: {
    server: Record<string, unknown>;
    tables: readonly CatalogueTable[];
    indexes: readonly ExistingIndex[];
    foreignKeys: readonly ForeignKey[];
    extensions: ReadonlyMap<string, string>;
  }) {
    const { server } = read;
    this.tables = new Map(read.tables.map((table) => [table.oid, table]));
    this.indexes = read.indexes;
    this.foreignKeys = read.foreignKeys;
    this.extensions = read.extensions;
    this.version = Number(server.version);
    this.isStandby = server.is_standby === true;
    this.isEmbedded = /wasm|emscripten|PGlite/i.test(String(server.text));
    this.countedSince = server.counted_since === null ? null : Number(server.counted_since);
    this.#byName = new Map(read.tables.map((table) => [`${table.schema}.${table.name}`, table]));
  }

  static async read(session: Session): Promise<Catalogue> {
    const [server] = (await session.query(SERVER)).rows;
    const tables = await readCatalogueTables(session);
    const oids = tables.map(({ oid }) => oid);
    const indexes = (await session.query(INDEXES, [oids])).rows.map(indexOf);
    const foreignKeys = (await session.query(FOREIGN_KEYS, [oids])).rows.map((row) => ({
      name: String(row.name),
      table: Number(row.table),
      columns: row.columns as number[],
      target: Number(row.target),
    }));
    const extensions = (await session.query(EXTENSIONS)).rows;
    return new Catalogue({
      server: server!,
      tables,
      indexes,
      foreignKeys,
      extensions: new Map(extensions.map(({ name, schema }) => [String(name), String(schema)])),
    });
  }

  /** The table of a scan; of a partition: the partitioned one. */
  tableNamed(schema: string | undefined, name: string | undefined): CatalogueTable | undefined {
    const found = this.#byName.get(`${schema}.${name}`);
    return found && this.tables.get(found.root);
  }

  /** Reads the columns of tables, once. */
  async readColumns(session: Session, tables: Iterable<number>): Promise<void> {
    const missing = [...new Set(tables)].filter((oid) => !this.#columns.has(oid));
    if (missing.length === 0) return;
    const { rows } = await session.query(COLUMNS, [missing]);
    for (const oid of missing) {
      const { rows: count = -1 } = this.tables.get(oid) ?? {};
      const own = rows.filter((row) => Number(row.table) === oid).map((row) => columnOf(row, count));
      this.#columns.set(oid, own);
    }
  }

  /** Empty unless they were read. */
  columnsOfTable(table: number): readonly CatalogueColumn[] {
    return this.#columns.get(table) ?? [];
  }

  columnNamed(table: number, name: string): CatalogueColumn | undefined {
    return this.columnsOfTable(table).find((column) => column.name === name);
  }

  indexesOf(table: number): ExistingIndex[] {
    return this.indexes.filter((index) => index.table === table);
  }
}

function tableOf(row: Record<string, unknown>): CatalogueTable {
  return {
    oid: Number(row.oid),
    schema: String(row.schema),
    name: String(row.name),
    root: Number(row.root),
    isPartitioned: row.kind === 'p',
    rows: Number(row.rows),
    pages: Number(row.pages),
    bytes: Number(row.bytes),
    inserted: Number(row.inserted),
    deleted: Number(row.deleted),
    updated: Number(row.updated),
    hotUpdated: Number(row.hot_updated),
    modifiedSinceAnalyze: Number(row.modified),
    analyzedAt: row.analyzed_at === null ? null : Number(row.analyzed_at),
  };
}

function indexOf(row: Record<string, unknown>): ExistingIndex {
  return {
    oid: Number(row.oid),
    table: Number(row.table),
    schema: String(row.schema),
    name: String(row.name),
    method: String(row.method),
    numbers: row.numbers as number[],
    keyCount: Number(row.key_count),
    options: row.options as number[],
    classes: String(row.classes),
    expressions: row.expressions as string | null,
    predicate: row.predicate as string | null,
    isUnique: row.is_unique === true,
    isPrimary: row.is_primary === true,
    isValid: row.is_valid === true,
    isReplicaIdentity: row.is_replica_identity === true,
    hasConstraint: row.has_constraint === true,
    isAttached: row.is_attached === true,
    bytes: Number(row.bytes),
    scans: Number(row.scans),
    definition: String(row.definition),
  };
}

function columnOf(row: Record<string, unknown>, rows: number): CatalogueColumn {
  const distinct = row.distinct === null ? null : Number(row.distinct);
  return {
    name: String(row.name),
    number: Number(row.number),
    type: String(row.type),
    isNotNull: row.is_not_null === true,
    comparesBytes: row.compares_bytes === true,
    isSortable: row.is_sortable === true,
    isRange: row.is_range === true,
    width: Number(row.width),
    // A negative one is a share of the rows.
    distinct: distinct !== null && distinct < 0 ? -distinct * Math.max(rows, 1) : distinct,
    correlation: row.correlation === null ? null : Number(row.correlation),
  };
}

const SERVER = `
SELECT current_setting('server_version_num')::int AS version, version() AS text, pg_is_in_recovery() AS is_standby,
  extract(epoch FROM coalesce((SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()),
    pg_postmaster_start_time())) * 1000 AS counted_since`;

const EXTENSIONS = `
SELECT extname AS name, nspname AS schema FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace
WHERE has_schema_privilege(n.oid, 'USAGE')`;

// Partitions lie at most as deep as their tree.
const TABLES = `
WITH RECURSIVE tree AS (
  SELECT c.oid, c.oid AS root FROM pg_class c WHERE relkind IN ('r', 'p') AND NOT relispartition
  UNION ALL SELECT i.inhrelid, tree.root FROM tree
    JOIN pg_inherits i ON i.inhparent = tree.oid JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
), own AS (
  SELECT c.oid, n.nspname AS schema, c.relname AS name, tree.root, c.relkind AS kind, c.reltuples, c.relpages,
    pg_stat_get_tuples_inserted(c.oid) AS inserted, pg_stat_get_tuples_deleted(c.oid) AS deleted,
    pg_stat_get_tuples_updated(c.oid) AS updated, pg_stat_get_tuples_hot_updated(c.oid) AS hot_updated,
    pg_stat_get_mod_since_analyze(c.oid) AS modified, extract(epoch FROM greatest(
      pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid))) * 1000 AS analyzed_at
  FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_temp' AND c.relpersistence <> 't'
)
SELECT o.oid::int8, o.schema, o.name, o.root::int8, o.kind,
  CASE WHEN o.kind = 'p' THEN p.rows ELSE o.reltuples END AS rows, CASE WHEN o.kind = 'p' THEN p.pages ELSE o.relpages END AS pages,
  (CASE WHEN o.kind = 'p' THEN p.pages ELSE o.relpages END)::int8 * current_setting('block_size')::int AS bytes,
  CASE WHEN o.kind = 'p' THEN p.inserted ELSE o.inserted END AS inserted, CASE WHEN o.kind = 'p' THEN p.deleted ELSE o.deleted END AS deleted,
  CASE WHEN o.kind = 'p' THEN p.updated ELSE o.updated END AS updated,
  CASE WHEN o.kind = 'p' THEN p.hot_updated ELSE o.hot_updated END AS hot_updated, o.modified, o.analyzed_at
FROM own o LEFT JOIN (
  SELECT root, sum(greatest(reltuples, 0)) AS rows, sum(relpages) AS pages, sum(inserted) AS inserted, sum(deleted) AS deleted,
    sum(updated) AS updated, sum(hot_updated) AS hot_updated
  FROM own WHERE kind = 'r' GROUP BY root) p ON o.kind = 'p' AND p.root = o.root
ORDER BY o.relpages DESC, o.oid LIMIT $1`;

const INDEXES = `
SELECT i.indexrelid::int8 AS oid, i.indrelid::int8 AS table, n.nspname AS schema, c.relname AS name, am.amname AS method,
  i.indkey::int2[] AS numbers, i.indnkeyatts AS key_count, i.indoption::int2[] AS options,
  i.indclass::text || ' / ' || i.indcollation::text AS classes,
  pg_get_expr(i.indexprs, i.indrelid) AS expressions, pg_get_expr(i.indpred, i.indrelid) AS predicate,
  i.indisunique AS is_unique, i.indisprimary AS is_primary, i.indisvalid AS is_valid, i.indisreplident AS is_replica_identity,
  EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid) AS has_constraint, c.relispartition AS is_attached,
  pg_relation_size(i.indexrelid) AS bytes, pg_stat_get_numscans(i.indexrelid) AS scans,
  pg_get_indexdef(i.indexrelid) AS definition
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_am am ON am.oid = c.relam
WHERE i.indrelid = ANY ($1::oid[]) ORDER BY i.indexrelid`;

const FOREIGN_KEYS = `
SELECT conname AS name, conrelid::int8 AS table, conkey AS columns, confrelid::int8 AS target
FROM pg_constraint WHERE contype = 'f' AND conrelid = ANY ($1::oid[]) AND conparentid = 0 ORDER BY oid`;

// The view checks the rights on every column of a table, so it is read once for each table.
const COLUMNS = `
WITH statistics AS MATERIALIZED (
  SELECT DISTINCT ON (c.oid, s.attname) c.oid, s.attname, s.avg_width, s.n_distinct, s.correlation
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL (
    SELECT * FROM pg_stats s WHERE s.schemaname = n.nspname AND s.tablename = c.relname OFFSET 0) s
  WHERE c.oid = ANY ($1::oid[]) ORDER BY c.oid, s.attname, s.inherited DESC
)
SELECT a.attrelid::int8 AS table, a.attname AS name, a.attnum AS number,
  format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) AS type, a.attnotnull AS is_not_null,
  coalesce(k.collname IN ('C', 'POSIX') OR (k.collname = 'default' AND d.compares_bytes), true) AS compares_bytes,
  EXISTS (SELECT FROM pg_opclass o JOIN pg_am am ON am.oid = o.opcmethod AND am.amname = 'btree'
    WHERE o.opcdefault AND (o.opcintype = coalesce(nullif(t.typbasetype, 0), t.oid)
      OR (o.opcintype = 'text'::regtype AND t.typcategory = 'S') OR (o.opcintype = 'anyenum'::regtype AND t.typtype = 'e')
      OR (o.opcintype = 'anyrange'::regtype AND t.typtype = 'r') OR (o.opcintype = 'anyarray'::regtype AND t.typcategory = 'A'))) AS is_sortable,
  t.typtype IN ('r', 'm') AS is_range,
  coalesce(s.avg_width, CASE WHEN a.attlen > 0 THEN a.attlen ELSE 32 END) AS width, s.n_distinct AS distinct, s.correlation
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation k ON k.oid = a.attcollation
CROSS JOIN (SELECT datcollate IN ('C', 'POSIX') AND to_jsonb(d) ->> 'datlocprovider' IS DISTINCT FROM 'i' AS compares_bytes
  FROM pg_database d WHERE datname = current_database() OFFSET 0) d
LEFT JOIN statistics s ON s.oid = a.attrelid AND s.attname = a.attname
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum`;
