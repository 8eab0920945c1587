import { type FigureReading, type FigureReadings, PartialReading } from '../statistics/collector.js';
import { millis, readRows } from '../statistics/rows.js';
import type { BloatedIndex, InvalidIndex, MaintenanceReadings, StaleTable, VacuumTable } from './figures.js';

const MOST_LISTED = 50;

/** An index with fewer bytes to free is no matter. */
const LEAST_BLOAT = 10 * 1024 ** 2;

/** From this share of bytes to free on. A B-tree that was filled in random order has about 0.25. */
const LEAST_BLOAT_RATIO = 0.5;

/** From this share of `autovacuum_freeze_max_age` on autovacuum freezes soon. */
const FREEZE_SHARE = 0.9;

/** The id of ANALYZE of a table `c` in a schema `n`, and the statement that it is the hash of. */
export const ANALYZE_STATEMENT = `'ANALYZE "' || replace(n.nspname, '"', '""') || '"."' || replace(c.relname, '"', '""') || '"'`;
export const ANALYZE_ID = `left(encode(sha256(convert_to(${ANALYZE_STATEMENT}, 'UTF8')), 'hex'), 16)`;

/** An option of the table `c`, else the setting of the server. */
function optionOf(name: string): string {
  return `coalesce(
    (SELECT option_value FROM pg_options_to_table(c.reloptions) WHERE option_name = '${name}'),
    current_setting('${name}'))::float8`;
}

/** Tables with the thresholds of autovacuum. `autovacuum_vacuum_max_threshold` exists since PostgreSQL 18. */
const TABLES = `
  SELECT c.oid, c.relkind, n.nspname AS schema, c.relname AS table, c.reltuples,
    ${ANALYZE_STATEMENT} AS statement, ${ANALYZE_ID} AS id,
    s.n_live_tup AS "liveTuples", s.n_dead_tup AS "deadTuples", s.n_mod_since_analyze AS "modifiedSinceAnalyze",
    s.n_ins_since_vacuum AS inserted, age(c.relfrozenxid) AS "xidAge",
    greatest(s.last_analyze, s.last_autoanalyze) AS last_analyzed,
    greatest(s.last_vacuum, s.last_autovacuum) AS last_vacuumed,
    ${optionOf('autovacuum_analyze_threshold')}
      + ${optionOf('autovacuum_analyze_scale_factor')} * greatest(c.reltuples, 0) AS analyze_threshold,
    least(
      ${optionOf('autovacuum_vacuum_threshold')}
        + ${optionOf('autovacuum_vacuum_scale_factor')} * greatest(c.reltuples, 0),
      nullif(current_setting('autovacuum_vacuum_max_threshold', true)::float8, -1)) AS vacuum_threshold,
    ${optionOf('autovacuum_vacuum_insert_threshold')} AS insert_threshold,
    ${optionOf('autovacuum_vacuum_insert_scale_factor')} * greatest(c.reltuples, 0) AS insert_share,
    current_setting('autovacuum') = 'off' OR EXISTS (
      SELECT FROM pg_options_to_table(c.reloptions)
      WHERE option_name = 'autovacuum_enabled' AND NOT option_value::boolean
    ) AS "isAutovacuumOff",
    CASE WHEN pg_is_in_recovery() THEN 'standby'
      WHEN NOT (pg_has_role(c.relowner, 'USAGE')
        OR (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database())
        -- Evaluated by servers that know the right alone.
        OR CASE WHEN current_setting('server_version_num')::int >= 170000
          THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END) THEN 'not-owner' END AS refusal
  FROM pg_stat_user_tables s
  JOIN pg_class c ON c.oid = s.relid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relpersistence <> 't'`;

/**
 * A table is stale where autovacuum would analyze it, or was never analyzed. Autovacuum leaves parents of partitions out.
 *
 * @param condition further SQL on these tables; without values of requests.
 */
export function staleTables(condition = 'true'): string {
  return `SELECT id, schema, "table", statement,
      CASE WHEN last_analyzed IS NULL THEN 'never-analyzed' ELSE 'changed' END AS cause,
      "liveTuples", "modifiedSinceAnalyze", analyze_threshold AS threshold,
      ${millis('last_analyzed')} AS "lastAnalyzeAt", "isAutovacuumOff", refusal
    FROM (${TABLES}) AS t
    WHERE (last_analyzed IS NULL AND ("liveTuples" > 0 OR (relkind = 'p' AND reltuples < 0))
        OR "modifiedSinceAnalyze" > analyze_threshold)
      AND ${condition}
    ORDER BY "liveTuples" DESC, schema, "table" LIMIT ${MOST_LISTED}`;
}

const readStaleTables: FigureReading<readonly StaleTable[]> = (session) => readRows(session, staleTables());

const readVacuumTables: FigureReading<readonly VacuumTable[]> = (session) =>
  readRows(
    session,
    `SELECT schema, "table", cause, "liveTuples", "deadTuples", vacuum_threshold AS threshold, "xidAge",
       ${millis('last_vacuumed')} AS "lastVacuumAt", "isAutovacuumOff"
     FROM (SELECT *, CASE
         WHEN "xidAge" > ${FREEZE_SHARE} * current_setting('autovacuum_freeze_max_age')::float8 THEN 'freeze'
         WHEN "deadTuples" > vacuum_threshold THEN 'dead-tuples'
         WHEN insert_threshold >= 0 AND inserted > insert_threshold + insert_share THEN 'inserts'
       END AS cause FROM (${TABLES}) AS t WHERE relkind <> 'p') AS t
     WHERE cause IS NOT NULL
     ORDER BY cause = 'freeze' DESC, "deadTuples" DESC, schema, "table" LIMIT ${MOST_LISTED}`,
  );

const INDEXES = `
  FROM pg_index x
  JOIN pg_class i ON i.oid = x.indexrelid
  JOIN pg_class c ON c.oid = x.indrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema') AND c.relpersistence <> 't'`;

const BLOCK = `current_setting('block_size')::int`;

const readInvalidIndexes: FigureReading<readonly InvalidIndex[]> = (session) =>
  readRows(
    session,
    // A build that still runs is none. The reading of another role may hide its progress, but not its lock.
    `SELECT n.nspname AS schema, c.relname AS table, i.relname AS index,
       i.relpages::bigint * ${BLOCK} AS bytes, x.indisready AS "isReady"
     ${INDEXES} AND NOT x.indisvalid
       AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = x.indexrelid)
       AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.relation = x.indexrelid AND l.granted
         AND l.mode = 'RowExclusiveLock' AND l.pid IN (SELECT pid FROM pg_stat_progress_create_index))
     ORDER BY 1, 2, 3 LIMIT ${MOST_LISTED}`,
  );

interface MeasuredIndex extends BloatedIndex {
  /** The role may read the statistics of the columns. */
  readonly isVisible: boolean;
}

/** Without pages of a meta block and inner nodes, which are some 1 %. Deduplication makes an index smaller than expected. */
const readBloatedIndexes: FigureReading<readonly BloatedIndex[]> = async (session) => {
  const rows = await readRows<MeasuredIndex>(
    session,
    `SELECT *, 1 - "expectedBytes" / bytes::float8 AS "bloatRatio" FROM (
       SELECT n.nspname AS schema, c.relname AS table, i.relname AS index,
         i.relpages::bigint * ${BLOCK} AS bytes, w.width IS NOT NULL AS "isVisible",
         -- A line pointer of 4 bytes and a header of 8 for each entry; 40 bytes for each page.
         ceil(greatest(i.reltuples, 0) * (12 + 8 * ceil(coalesce(w.width, 0) / 8.0)) / ((${BLOCK} - 40) * coalesce(
           (SELECT option_value FROM pg_options_to_table(i.reloptions) WHERE option_name = 'fillfactor')::float8, 90
         ) / 100)) * ${BLOCK} AS "expectedBytes"
       FROM pg_index x
       JOIN pg_class i ON i.oid = x.indexrelid
       JOIN pg_am am ON am.oid = i.relam AND am.amname = 'btree'
       JOIN pg_class c ON c.oid = x.indrelid
       JOIN pg_namespace n ON n.oid = c.relnamespace
       LEFT JOIN LATERAL (
         SELECT sum((1 - s.null_frac) * s.avg_width) AS width, count(*) AS columns
         FROM unnest(x.indkey) AS k (attnum)
         JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
         JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
           AND NOT s.inherited
       ) AS w ON w.columns = x.indnatts
       WHERE n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema') AND x.indisvalid
         AND x.indexprs IS NULL AND i.relpages::bigint * ${BLOCK} >= ${LEAST_BLOAT}
     ) AS measured
     WHERE NOT "isVisible"
       OR (bytes - "expectedBytes" >= ${LEAST_BLOAT} AND 1 - "expectedBytes" / bytes::float8 >= ${LEAST_BLOAT_RATIO})
     ORDER BY "isVisible" DESC, bytes - "expectedBytes" DESC LIMIT ${MOST_LISTED}`,
  );
  const visible = rows.filter(({ isVisible }) => isVisible).map(({ isVisible: _, ...index }) => index);
  return visible.length < rows.length ? new PartialReading(visible) : visible;
};

/** How the lists of the maintenance are read. */
export const maintenanceReadings: FigureReadings<MaintenanceReadings> = {
  staleTables: readStaleTables,
  vacuumTables: readVacuumTables,
  invalidIndexes: readInvalidIndexes,
  bloatedIndexes: readBloatedIndexes,
};
