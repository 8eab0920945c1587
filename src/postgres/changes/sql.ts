import { createHash } from 'node:crypto';
import { type QualifiedName, quoteIdentifier } from '../indexes/definition.js';

/** Grows with every change of the SQL below, so that an older installation is replaced. */
export const SQL_VERSION = 1;

/** The triggers record nothing once no consumer has polled for this long, so that the outbox cannot grow for ever. */
export const UNREAD_SECONDS = 300;

/** A session reads the heartbeat again after this time. */
const HEARTBEAT_SECONDS = 200;

/** Rows of one record, those before and after an update counted apart. A record with more stands for the whole table. */
export const MOST_ROWS = 2000;

/** Quotes a text, whatever `standard_conforming_strings` is. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`;
  return text.includes('\\') ? ` E${quoted}` : quoted;
}

/** The name of a table in SQL, which is also its name in the outbox. */
export function qualifiedName({ schema, name }: QualifiedName): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`;
}

/**
 * The name of the function that records changes of a table. Long names are shortened, so a hash tells them apart.
 *
 * @param source the qualified name of the table.
 */
export function functionNameOf(source: string): string {
  const hash = createHash('sha256').update(source).digest('hex').slice(0, 12);
  const readable = source.replace(/[^A-Za-z0-9]+/g, '_').replace(/^_|_$/g, '');
  return `${readable.slice(0, 48)}_${hash}`;
}

/**
 * Creates the outbox and the table of its consumers. Both are unlogged: a crash or a failover empties them, and then
 * every consumer purges everything. So they cost writers no WAL.
 */
export const schemaSql = `CREATE SCHEMA IF NOT EXISTS hotpath;
CREATE UNLOGGED TABLE IF NOT EXISTS hotpath.changes (
  transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
  source text NOT NULL,
  rows jsonb[]
);
CREATE INDEX IF NOT EXISTS changes_transaction ON hotpath.changes (transaction);
CREATE UNLOGGED TABLE IF NOT EXISTS hotpath.consumers (
  id text PRIMARY KEY,
  snapshot pg_snapshot NOT NULL,
  strays xid8[] NOT NULL,
  server text NOT NULL,
  seen_at timestamptz NOT NULL
);
CREATE SEQUENCE IF NOT EXISTS hotpath.heartbeat MINVALUE 0 START WITH 0;`;

/** Rights of a role that reads the outbox and has not created it. */
export function grantSql(role: string): string {
  const name = quoteIdentifier(role);
  return `GRANT USAGE ON SCHEMA hotpath TO ${name};
GRANT SELECT, DELETE ON hotpath.changes TO ${name};
GRANT SELECT, INSERT, UPDATE, DELETE ON hotpath.consumers TO ${name};
GRANT SELECT, UPDATE ON SEQUENCE hotpath.heartbeat TO ${name};`;
}

/**
 * How the writes of a table are seen.
 *
 * - `plain`: by triggers of statements.
 * - `partitioned`: by triggers of statements on the table and on each partition, because those of the table do not see
 *   statements that name a partition. A trigger by row, which each new partition inherits, sees its writes until it has
 *   triggers of its own.
 * - `member` of a hierarchy that is not mapped as a whole: by row, because only that sees statements that name another table
 *   of it. PostgreSQL collects no rows of foreign partitions, so a table that has them is one too.
 */
export type TableForm = 'plain' | 'partitioned' | 'member';

/** @param oid an expression in SQL. */
export function formSql(oid: string): string {
  return `CASE WHEN EXISTS (SELECT FROM pg_inherits WHERE inhrelid = ${oid}) THEN 'member'
  WHEN (SELECT relkind <> 'p' FROM pg_class WHERE oid = ${oid}) THEN 'plain'
  WHEN EXISTS (SELECT FROM (${partitionsSql(oid)}) AS partitions WHERE kind = 'f') THEN 'member'
  ELSE 'partitioned' END`;
}

/**
 * The partitions below a table, without locks: `relid`, `kind`, and `depth`, from 1.
 *
 * @param oid an expression in SQL.
 */
export function partitionsSql(oid: string): string {
  return `WITH RECURSIVE below AS (
    SELECT (${oid})::oid AS relid, 'p'::"char" AS kind, 0 AS depth
    UNION ALL
    SELECT pg_class.oid, relkind, depth + 1 FROM below JOIN pg_inherits ON inhparent = below.relid
      JOIN pg_class ON pg_class.oid = inhrelid WHERE below.kind = 'p'
  ) SELECT relid, kind, depth FROM below WHERE depth > 0`;
}

/** Types whose text depends on no setting of the session. */
const CONSTANT_TYPES = 'bool,int2,int4,int8,numeric,text,varchar,bpchar,uuid,date,timestamp,json,jsonb';

/** Makes the texts of other types independent of the writer's session. The settings cost a third of a record. */
function settingsSql(name: string, table: QualifiedName, columns: readonly string[]): string {
  const body = `BEGIN
  IF EXISTS (SELECT FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
      WHERE attrelid = ${quoteLiteral(qualifiedName(table))}::regclass
        AND attname IN (${columns.map(quoteLiteral).join(', ')})
        AND typtype <> 'e' AND atttypid <> ALL ('{${CONSTANT_TYPES}}'::regtype[])) THEN
    ALTER FUNCTION ${name}() SET TimeZone = 'UTC';
    ALTER FUNCTION ${name}() SET DateStyle = 'ISO';
    ALTER FUNCTION ${name}() SET IntervalStyle = 'postgres';
    ALTER FUNCTION ${name}() SET bytea_output = 'hex';
    ALTER FUNCTION ${name}() SET extra_float_digits = 1;
  END IF;
END`;
  const tag = dollarTag(body);
  return columns.length === 0 ? '' : `DO ${tag}\n${body}\n${tag};\n`;
}

/** The comment of the function, by which a later start knows what is installed. */
export function installedComment(columns: readonly string[]): string {
  return `hotpath ${SQL_VERSION} ${JSON.stringify(columns)}`;
}

/**
 * The function that writes changes of a table to the outbox, in the transaction of the writer.
 *
 * - It runs with the rights of its owner, because writers need none on the outbox.
 * - It never fails: an error, such as a mapped column that is gone, records a change of the whole table.
 * - It reads the heartbeat once in a while, because that costs as much as the record. A sequence has no snapshot, so a
 *   long transaction sees its current value too.
 */
export function functionSql(table: QualifiedName, columns: readonly string[]): string {
  const name = `hotpath.${quoteIdentifier(functionNameOf(qualifiedName(table)))}`;
  const source = quoteLiteral(qualifiedName(table));
  const rowOf = (alias: string) =>
    `jsonb_build_object(${columns.map((column) => `${quoteLiteral(column)}, ${alias}.${quoteIdentifier(column)}`).join(', ')})`;
  const record = (rows: string) => `INSERT INTO hotpath.changes (source, rows) VALUES (${source}, ${rows});`;
  const recordAll = (rows: string) => `INSERT INTO hotpath.changes (source, rows)
    SELECT ${source}, changed FROM (SELECT ARRAY(${rows} LIMIT ${MOST_ROWS + 1}) AS changed OFFSET 0) AS statement
    WHERE changed <> '{}';`;
  const fromOld = `SELECT ${rowOf('o')} FROM old_rows AS o`;
  const fromNew = `SELECT ${rowOf('n')} FROM new_rows AS n`;
  const body = `BEGIN
  IF coalesce(nullif(current_setting('hotpath.seen', true), '')::float8, 0)
      < extract(epoch FROM clock_timestamp())::float8 - ${HEARTBEAT_SECONDS} THEN
    IF set_config('hotpath.seen', (SELECT last_value FROM hotpath.heartbeat)::text, false)::float8
        < extract(epoch FROM clock_timestamp())::float8 - ${UNREAD_SECONDS} THEN
      RETURN NULL;
    END IF;
  END IF;
  IF TG_OP = 'TRUNCATE' THEN
    ${record('NULL')}
  ELSIF TG_LEVEL = 'STATEMENT' AND TG_OP = 'INSERT' THEN
    ${recordAll(fromNew)}
  ELSIF TG_LEVEL = 'STATEMENT' AND TG_OP = 'DELETE' THEN
    ${recordAll(fromOld)}
  ELSIF TG_LEVEL = 'STATEMENT' THEN
    ${recordAll(`${fromOld} UNION ALL ${fromNew}`)}
  ELSIF TG_OP = 'INSERT' THEN
    ${record(`ARRAY[${rowOf('NEW')}]`)}
  ELSIF TG_OP = 'DELETE' THEN
    ${record(`ARRAY[${rowOf('OLD')}]`)}
  ELSE
    ${record(`ARRAY[${rowOf('OLD')}, ${rowOf('NEW')}]`)}
  END IF;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  BEGIN
    ${record('NULL')}
  EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'hotpath did not record a change of %', ${source};
  END;
  RETURN NULL;
END`;
  const tag = dollarTag(body);
  return `CREATE OR REPLACE FUNCTION ${name}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS ${tag}
${body}
${tag};
REVOKE ALL ON FUNCTION ${name}() FROM PUBLIC;
${settingsSql(name, table, columns)}COMMENT ON FUNCTION ${name}() IS ${quoteLiteral(installedComment(columns))};`;
}

/** A trigger by its name. */
export interface TriggerSql {
  readonly name: string;
  readonly sql: string;
}

function triggerSql(name: string, when: string, on: string, source: string, level: string): TriggerSql {
  return {
    name,
    sql: `CREATE OR REPLACE TRIGGER ${name} AFTER ${when} ON ${on}
${level} EXECUTE FUNCTION hotpath.${quoteIdentifier(functionNameOf(source))}();`,
  };
}

/**
 * The triggers that run once for a statement.
 *
 * @param on the table or partition, in SQL.
 * @param source the mapped table, by qualified name.
 */
export function statementTriggers(on: string, source: string): readonly TriggerSql[] {
  // A partition may be mapped itself, too.
  const suffix = on === source ? '' : `_${hashOf(source)}`;
  const oldRows = 'OLD TABLE AS old_rows';
  const newRows = 'NEW TABLE AS new_rows';
  const level = 'FOR EACH STATEMENT';
  const trigger = (event: string, how: string) =>
    triggerSql(`hotpath_${event}${suffix}`, event.toUpperCase(), on, source, how);
  return [
    trigger('insert', `REFERENCING ${newRows} ${level}`),
    trigger('update', `REFERENCING ${oldRows} ${newRows} ${level}`),
    trigger('delete', `REFERENCING ${oldRows} ${level}`),
    trigger('truncate', level),
  ];
}

/** The trigger that runs for each row. Partitions inherit it: two of one name would make ATTACH PARTITION fail. */
export function rowTrigger(source: string): TriggerSql {
  const name = `hotpath_change_${hashOf(source)}`;
  return triggerSql(name, 'INSERT OR UPDATE OR DELETE', source, source, 'FOR EACH ROW');
}

/** The triggers of the mapped table itself. */
export function triggersOf(source: string, form: TableForm): readonly TriggerSql[] {
  const byStatement = statementTriggers(source, source);
  if (form === 'plain') return byStatement;
  if (form === 'partitioned') return [...byStatement, rowTrigger(source)];
  return [rowTrigger(source), ...byStatement.filter(({ name }) => name === 'hotpath_truncate')];
}

/** Turns the inherited trigger of a partition off: triggers of statements see its writes. */
export function disableRowTriggerSql(partition: string, source: string): string {
  return `ALTER TABLE ${partition} DISABLE TRIGGER ${rowTrigger(source).name};`;
}

function hashOf(source: string): string {
  return functionNameOf(source).slice(-12);
}

/** A delimiter that does not occur in the text: names may contain anything. */
export function dollarTag(text: string): string {
  let tag = '$hotpath$';
  for (let at = 0; text.includes(tag); at++) tag = `$hotpath${at}$`;
  return tag;
}
