import { HotpathError } from '../../options/errors.js';
import { messageOf } from '../../runtime/report-fault.js';
import { type QualifiedName, quoteIdentifier } from '../indexes/definition.js';
import type { Session } from '../sessions.js';
import { transaction } from './consumer.js';
import type { MappedTable } from './mapping.js';
import type { MappedTables } from './purge-targets.js';
import {
  functionNameOf,
  functionSql,
  isByRowSql,
  qualifiedName,
  SQL_VERSION,
  schemaSql,
  type TriggerSql,
  triggersOf,
} from './sql.js';

/** A mapped table as the database has it. */
interface FoundTable extends QualifiedName {
  readonly oid: string;
  readonly kind: string;
  readonly isByRow: boolean;
  readonly columns: readonly string[];
}

/** The triggers of hotpath on a table, and their function. */
interface Installed {
  /** Triggers that call the function of this table, with their state. */
  readonly triggers: ReadonlyMap<string, string>;
  /** Columns that the function records; `undefined` without one of this version. */
  readonly columns: readonly string[] | undefined;
}

/** The result of an installation. */
interface InstalledChanges {
  /** By their name in the outbox. */
  readonly tables: MappedTables;
  /** Whether something was installed: before, changes may have gone unseen. */
  readonly hasChanged: boolean;
}

/** Serialises installations, so that instances that start together do not get in each other's way. */
const INSTALL_LOCK = 7_236_871_001;

/** Writers wait for the lock of an installation this long at most. Milliseconds. */
const LOCK_WITHIN = 1000;

/** A virtual generated column, of PostgreSQL 18, has no value in a trigger. */
const FIND = `SELECT c.oid::text AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
  ${isByRowSql('c.oid')} AS "isByRow",
  to_json(ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v'))::text AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)`;

const FIND_INSTALLED = `SELECT t.tgname::text AS trigger, t.tgenabled::text AS enabled,
  obj_description(p.oid, 'pg_proc') AS comment
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'hotpath'
LEFT JOIN pg_trigger t ON t.tgfoid = p.oid AND t.tgrelid = $1::oid
WHERE p.proname = $2`;

/** Of `tgtype`. */
const IS_FOR_EACH_ROW = 't.tgtype::int & 1 = 1';
const IS_FOR_TRUNCATE = 't.tgtype::int & 32 = 32';

/** A table may become a partition, or be one no longer. By row there are two triggers, otherwise four. */
const FIND_UNWATCHED = `SELECT source FROM (
  SELECT source, function, to_regclass(source)::oid AS oid FROM unnest($1::text[], $2::text[]) AS named (source, function)
) AS wanted CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE ${IS_FOR_EACH_ROW} OR ${IS_FOR_TRUNCATE}) AS by_row, count(*) FILTER (WHERE NOT ${IS_FOR_EACH_ROW}) AS by_statement
  FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
  WHERE t.tgrelid = wanted.oid AND p.proname = wanted.function AND t.tgenabled IN ('O', 'A')
) AS found
WHERE CASE WHEN ${isByRowSql('wanted.oid')} THEN by_row < 2 ELSE by_statement < 4 END`;

const HAS_OUTBOX = `SELECT count(*)::int AS count FROM pg_class
WHERE relnamespace = to_regnamespace('hotpath') AND relname IN ('changes', 'consumers', 'heartbeat', 'changes_transaction')`;

const OUTBOX_RELATIONS = 4;

/** A schema of this name that belongs to another role could hold anything. */
const SCHEMA_OWNER = `SELECT pg_has_role(nspowner, 'MEMBER') AS is_ours FROM pg_namespace WHERE nspname = 'hotpath'`;

/**
 * Finds the tables of a mapping.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for a table or a column that does not exist.
 */
export async function findTables(
  session: Session,
  mapping: Readonly<Record<string, MappedTable>>,
): Promise<ReadonlyMap<FoundTable, MappedTable>> {
  const found = new Map<FoundTable, MappedTable>();
  for (const [key, mapped] of Object.entries(mapping)) {
    const table = await findTable(session, key);
    if (table.kind !== 'r' && table.kind !== 'p')
      throw invalid(`${key}: only tables and partitioned tables have changes to follow`);
    const missing = mapped.columns.filter((column) => !table.columns.includes(column));
    if (missing.length > 0)
      throw invalid(
        `${key}: no column ${missing.join(', ')}; its triggers can read ${table.columns.join(', ')}`,
      );
    if ([...found.keys()].some(({ oid }) => oid === table.oid))
      throw invalid(`${key}: the table is named twice`);
    found.set(table, mapped);
  }
  return found;
}

async function findTable(session: Session, key: string): Promise<FoundTable> {
  const dot = key.indexOf('.');
  const exact = dot < 0 ? [key] : [key.slice(0, dot), key.slice(dot + 1)];
  const names = [key, quoteIdentifier(key), exact.map(quoteIdentifier).join('.')];
  const found = new Map<string, FoundTable>();
  for (const name of names) {
    const table = await findByName(session, name);
    if (table) found.set(table.oid, table);
  }
  const [table, another] = [...found.values()];
  if (!table) throw invalid(`${key}: no such table, or no right to use its schema`);
  if (another)
    throw invalid(
      `${key}: both ${qualifiedName(table)} and ${qualifiedName(another)} exist; quote the name as in SQL`,
    );
  return table;
}

async function findByName(session: Session, name: string): Promise<FoundTable | undefined> {
  try {
    const { rows } = await session.query(FIND, [name]);
    const [row] = rows as readonly unknown[] as (FoundTable & { columns: string })[];
    return row && { ...row, columns: JSON.parse(row.columns) as string[] };
  } catch (error) {
    // `to_regclass` rejects what is no name in SQL.
    if (/^42(?:601|602)$|^0A000$/.test(String((error as { code?: unknown }).code))) return undefined;
    throw error;
  }
}

/**
 * Installs what is missing: the outbox, and function and triggers of each table. Changes nothing where all is there.
 *
 * @param installs `false`: only looks.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for a wrong mapping, and without `installs` for missing triggers.
 */
export async function installChanges(
  session: Session,
  mapping: Readonly<Record<string, MappedTable>>,
  installs: boolean,
): Promise<InstalledChanges> {
  try {
    return await installMissing(session, mapping, installs);
  } catch (error) {
    if ((error as { code?: unknown }).code !== '42501') throw error;
    throw invalid(
      `${messageOf(error)}; let a role that owns the tables run the SQL of npx hotpath postgres:migration --grant`,
    );
  }
}

async function installMissing(
  session: Session,
  mapping: Readonly<Record<string, MappedTable>>,
  installs: boolean,
): Promise<InstalledChanges> {
  const found = await findTables(session, mapping);
  let hasChanged = false;
  if (!(await hasOutbox(session))) {
    if (!installs) throw invalid('the outbox is missing; run the SQL of npx hotpath postgres:migration');
    await installing(session, async () => {
      if (await hasOutbox(session)) return;
      await checkSchema(session);
      await session.query(schemaSql);
      hasChanged = true;
    });
  }
  for (const [table, { columns }] of found) {
    if (isInstalled(await readInstalled(session, table), table, columns)) continue;
    if (!installs)
      throw invalid(
        `${qualifiedName(table)}: triggers are missing or disabled; run the SQL of npx hotpath postgres:migration`,
      );
    await installing(session, () => installTable(session, table, columns));
    hasChanged = true;
  }
  const tables = new Map([...found].map(([table, mapped]) => [qualifiedName(table), mapped]));
  return { tables, hasChanged };
}

/** The tables whose triggers are missing or disabled, by qualified name. */
export async function findUnwatched(session: Session, tables: MappedTables): Promise<readonly string[]> {
  const sources = [...tables.keys()];
  const { rows } = await session.query(FIND_UNWATCHED, [sources, sources.map(functionNameOf)]);
  return rows.map(({ source }) => String(source));
}

/** Another instance may have installed it meanwhile. Columns that it wants, such as an older version, stay. */
async function installTable(session: Session, table: FoundTable, columns: readonly string[]): Promise<void> {
  const installed = await readInstalled(session, table);
  if (isInstalled(installed, table, columns)) return;
  const others = (installed.columns ?? []).filter((column) => table.columns.includes(column));
  // Replacing the function takes no lock on the table.
  await session.query(functionSql(table, [...new Set([...others, ...columns])]));
  for (const { name, sql } of expectedTriggers(table)) {
    if (!installed.triggers.has(name)) await session.query(sql);
  }
}

function expectedTriggers(table: FoundTable): readonly TriggerSql[] {
  return triggersOf(table, table.isByRow);
}

function isInstalled(installed: Installed, table: FoundTable, columns: readonly string[]): boolean {
  return (
    hasTriggers(installed, table) &&
    installed.columns !== undefined &&
    columns.every((column) => installed.columns?.includes(column)) &&
    // A recorded column that is gone would make each record one of the whole table.
    installed.columns.every((column) => table.columns.includes(column))
  );
}

/** `O` and `A` are enabled; `D` is disabled, and `R` runs in replicas alone. */
function hasTriggers({ triggers }: Installed, table: FoundTable): boolean {
  return expectedTriggers(table).every(({ name }) => /^[OA]$/.test(triggers.get(name) ?? ''));
}

async function readInstalled(session: Session, table: FoundTable): Promise<Installed> {
  const { rows } = await session.query(FIND_INSTALLED, [table.oid, functionNameOf(qualifiedName(table))]);
  const found = rows as readonly unknown[] as {
    trigger: string | null;
    enabled: string;
    comment: string | null;
  }[];
  const triggers = new Map(
    found.flatMap(({ trigger, enabled }) => (trigger === null ? [] : [[trigger, enabled]])),
  );
  return { triggers, columns: readComment(found[0]?.comment ?? '') };
}

/** A newer version may have replaced the function; it records the same columns. */
function readComment(comment: string): readonly string[] | undefined {
  const [, version, columns] = /^hotpath (\d+) (\[.*\])$/.exec(comment) ?? [];
  if (columns === undefined || Number(version) < SQL_VERSION) return undefined;
  try {
    return JSON.parse(columns) as string[];
  } catch {
    return undefined;
  }
}

async function hasOutbox(session: Session): Promise<boolean> {
  const { rows } = await session.query(HAS_OUTBOX);
  return rows[0]?.count === OUTBOX_RELATIONS;
}

async function checkSchema(session: Session): Promise<void> {
  const { rows } = await session.query(SCHEMA_OWNER);
  if (rows[0]?.is_ours === false)
    throw invalid('the schema hotpath belongs to another role; let that role run the migration');
}

/** Each table has a transaction of its own, so that no two locks of writers are held together. */
async function installing(session: Session, work: () => Promise<void>): Promise<void> {
  await transaction(session, async () => {
    await session.query('SET LOCAL lock_timeout = 10000');
    await session.query('SELECT pg_advisory_xact_lock($1)', [INSTALL_LOCK]);
    await session.query(`SET LOCAL lock_timeout = ${LOCK_WITHIN}`);
    await work();
  });
}

function invalid(message: string): HotpathError {
  return new HotpathError('HOTPATH_CONFIG_INVALID', `purgeOnChange: ${message}`);
}
