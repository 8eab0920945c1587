import { HotpathError } from '../../options/errors.js';
import { messageOf } from '../../runtime/report-fault.js';
import { type QualifiedName, quoteIdentifier } from '../indexes/definition.js';
import type { Session } from '../sessions.js';
import { transaction } from './consumer.js';
import type { MappedTable } from './mapping.js';
import {
  disableRowTriggerSql,
  formSql,
  functionNameOf,
  functionSql,
  partitionsSql,
  qualifiedName,
  rowTrigger,
  SQL_VERSION,
  schemaSql,
  statementTriggers,
  type TableForm,
  type TriggerSql,
  triggersOf,
} from './sql.js';

/** A mapped table as the database has it. */
export interface FoundTable extends QualifiedName {
  readonly oid: string;
  readonly kind: string;
  readonly form: TableForm;
  readonly columns: readonly string[];
}

/** The triggers of hotpath on a table or a partition. */
interface Relation extends QualifiedName {
  readonly oid: string;
  readonly kind: string;
  /** 0: the table itself. */
  readonly depth: number;
  /** By name, with their state. */
  readonly triggers: Readonly<Record<string, string>>;
}

/** The parts that are installed for a table. */
interface Installed {
  /** The table, and its partitions, the nearest first. */
  readonly relations: readonly Relation[];
  /** Columns that the function records; `undefined` without one of this version. */
  readonly columns: readonly string[] | undefined;
}

/** There is no table of a name. */
export class MissingTable extends HotpathError {
  /** `instanceof` tells no classes of HotpathError apart. */
  readonly isMissing = true;

  constructor(key: string) {
    super('HOTPATH_CONFIG_INVALID', `purgeOnChange: ${key}: no such table, or no right to use its schema`);
  }
}

/** Serialises installations, so that instances that start together do not get in each other's way. */
const INSTALL_LOCK = 7_236_871_001;

/** Writers wait for the lock of an installation this long at most. Milliseconds. */
const LOCK_WITHIN = 1000;

/** Writers of a partition wait this long at most for triggers that only make its writes cheaper. Milliseconds. */
const PARTITION_LOCK_WITHIN = 200;

/** A virtual generated column, of PostgreSQL 18, has no value in a trigger. */
const FIND = `SELECT c.oid::text AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
  ${formSql('c.oid')} AS form,
  to_json(ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v'))::text AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)`;

const FUNCTION = `(SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'hotpath' WHERE p.proname = $2)`;

const FIND_RELATIONS = `SELECT c.oid::text AS oid, n.nspname::text AS schema, c.relname::text AS name, kind::text AS kind, depth,
  (SELECT coalesce(json_object_agg(tgname, tgenabled), '{}')::text FROM pg_trigger WHERE tgrelid = c.oid AND tgfoid = ${FUNCTION}) AS triggers
FROM (SELECT $1::oid AS relid, relkind AS kind, 0 AS depth FROM pg_class WHERE oid = $1::oid
  UNION ALL SELECT * FROM (${partitionsSql('$1::oid')}) AS partitions WHERE $3 = 'partitioned') AS tree
JOIN pg_class c ON c.oid = relid JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY depth, c.oid`;

const FIND_COMMENT = `SELECT obj_description(p.oid, 'pg_proc') AS comment FROM pg_proc p
WHERE pronamespace = to_regnamespace('hotpath') AND proname = $1`;

/**
 * Each table with its partitions, and their triggers, as two texts that change with them. Takes no lock, and looks by name,
 * because a role without rights may look there too.
 */
const READ_STATES = `SELECT source, structure, triggers
FROM (
  SELECT source, c.oid, c.relkind, p.oid AS called
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS named (source, schema, name, function)
  JOIN pg_namespace n ON n.nspname = named.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = named.name
  LEFT JOIN pg_proc p ON p.proname = named.function AND p.pronamespace = to_regnamespace('hotpath')
) AS found CROSS JOIN LATERAL (
  SELECT md5(string_agg(concat_ws(' ', relid, kind, depth, EXISTS (SELECT FROM pg_inherits WHERE inhrelid = relid)), ',' ORDER BY relid, depth)) AS structure,
    md5(string_agg((SELECT string_agg(tgname || tgenabled::text, ' ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = relid AND tgfoid = called), ',' ORDER BY relid)) AS triggers
  FROM (SELECT found.oid AS relid, found.relkind AS kind, 0 AS depth UNION ALL (${partitionsSql('found.oid')})) AS tree
) AS state`;

const HAS_OUTBOX = `SELECT count(*)::int AS count FROM pg_class
WHERE relnamespace = to_regnamespace('hotpath') AND relname IN ('changes', 'consumers', 'heartbeat', 'changes_transaction')`;

const OUTBOX_RELATIONS = 4;

/** A schema of this name that belongs to another role could hold anything. */
const SCHEMA_OWNER = `SELECT pg_has_role(nspowner, 'MEMBER') AS is_ours FROM pg_namespace WHERE nspname = 'hotpath'`;

/**
 * Finds a table of the mapping.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for a table or a column that does not exist.
 */
async function findMappedTable(session: Session, key: string, { columns }: MappedTable): Promise<FoundTable> {
  const table = await findTable(session, key);
  if (table.kind !== 'r' && table.kind !== 'p')
    throw invalid(`${key}: only tables and partitioned tables have changes to follow`);
  const missing = columns.filter((column) => !table.columns.includes(column));
  if (missing.length > 0)
    throw invalid(
      `${key}: no column ${missing.join(', ')}; its triggers can read ${table.columns.join(', ')}`,
    );
  return table;
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
  if (!table) throw new MissingTable(key);
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

/** A table that is followed. */
export interface InstalledTable {
  readonly table: FoundTable;
  /** Whether triggers were missing: before, changes may have gone unseen. */
  readonly wereMissing: boolean;
  /** A partition was busy. Its writes are seen by row, at a higher cost. */
  readonly isIncomplete: boolean;
}

/** Two texts that change with a table, its partitions and their triggers. */
export interface TableState {
  readonly structure: string;
  readonly triggers: string;
}

/**
 * Installs the outbox if it is missing.
 *
 * @param installs `false`: only looks.
 * @returns whether it was missing.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` without the rights, and for one that is missing without `installs`.
 */
export async function installOutbox(session: Session, installs: boolean): Promise<boolean> {
  if (await hasOutbox(session)) return false;
  if (!installs) throw invalid('the outbox is missing; run the SQL of npx hotpath postgres:migration');
  await explained(() =>
    installing(session, LOCK_WITHIN, async () => {
      if (await hasOutbox(session)) return;
      await checkSchema(session);
      await session.query(schemaSql);
    }),
  );
  return true;
}

/**
 * Installs what a table misses: function, triggers, and those of its partitions. Changes nothing where all is there.
 *
 * @param installs `false`: only looks.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for a wrong mapping, and without `installs` for missing triggers.
 */
export async function installTable(
  session: Session,
  key: string,
  mapped: MappedTable,
  installs: boolean,
): Promise<InstalledTable> {
  const table = await findMappedTable(session, key, mapped);
  const { columns } = mapped;
  const installed = await readInstalled(session, table);
  const isComplete = isInstalled(installed, table, columns);
  const wereMissing = !isComplete || !arePartitionsCovered(installed, table);
  if (wereMissing && !installs)
    throw invalid(
      `${qualifiedName(table)}: triggers are missing or disabled; run the SQL of npx hotpath postgres:migration`,
    );
  if (!isComplete)
    await explained(() => installing(session, LOCK_WITHIN, () => installTriggers(session, table, columns)));
  const isIncomplete = table.form === 'partitioned' && installs && !(await installPartitions(session, table));
  return { table, wereMissing, isIncomplete };
}

async function explained(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if ((error as { code?: unknown }).code !== '42501') throw error;
    throw invalid(
      `${messageOf(error)}; let a role that owns the tables run the SQL of npx hotpath postgres:migration --grant`,
    );
  }
}

/** The state of each table, by its qualified name. A table that is gone has none. */
export async function readTableStates(
  session: Session,
  tables: readonly QualifiedName[],
): Promise<ReadonlyMap<string, TableState>> {
  if (tables.length === 0) return new Map();
  const sources = tables.map(qualifiedName);
  const { rows } = await session.query(READ_STATES, [
    sources,
    tables.map(({ schema }) => schema),
    tables.map(({ name }) => name),
    sources.map(functionNameOf),
  ]);
  return new Map(
    rows.map(({ source, structure, triggers }) => [
      String(source),
      { structure: String(structure), triggers: String(triggers) },
    ]),
  );
}

/** Another instance may have installed it meanwhile. Columns that it wants, such as an older version, stay. */
async function installTriggers(
  session: Session,
  table: FoundTable,
  columns: readonly string[],
): Promise<void> {
  const installed = await readInstalled(session, table);
  if (isInstalled(installed, table, columns)) return;
  const others = (installed.columns ?? []).filter((column) => table.columns.includes(column));
  // Replacing the function takes no lock on the table.
  await session.query(functionSql(table, [...new Set([...others, ...columns])]));
  await createMissing(session, installed.relations[0], triggersOf(qualifiedName(table), table.form));
}

/**
 * Gives each partition triggers of its own, and turns the inherited one off, in a transaction for each. Those of the table
 * are there already, so no write goes unseen meanwhile.
 *
 * @returns false if a partition was busy.
 */
async function installPartitions(session: Session, table: FoundTable): Promise<boolean> {
  const source = qualifiedName(table);
  let isComplete = true;
  for (const partition of (await readInstalled(session, table)).relations.slice(1)) {
    const triggers = statementTriggers(qualifiedName(partition), source);
    const isDone = hasTriggers(partition, triggers);
    const isRowTriggerOn = partition.kind === 'r' && isEnabled(partition, rowTrigger(source).name);
    if (isDone && !isRowTriggerOn) continue;
    // Where a partition in between has no triggers yet, writes that name it need those by row.
    if (!isComplete && partition.kind === 'r') continue;
    try {
      await installing(session, PARTITION_LOCK_WITHIN, async () => {
        await createMissing(session, partition, triggers);
        if (isRowTriggerOn) await session.query(disableRowTriggerSql(qualifiedName(partition), source));
      });
    } catch (error) {
      // Busy, dropped, or of another owner.
      if (!/^(?:55P03|40P01|42P01|3F000|42501)$/.test(String((error as { code?: unknown }).code)))
        throw error;
      isComplete = false;
    }
  }
  return isComplete;
}

/** Whether writes that name a partition are seen: by its own triggers, or by the inherited one. */
function arePartitionsCovered({ relations }: Installed, table: FoundTable): boolean {
  const source = qualifiedName(table);
  return relations
    .slice(1)
    .every(
      (partition) =>
        hasTriggers(partition, statementTriggers(qualifiedName(partition), source)) ||
        partition.kind !== 'r' ||
        isEnabled(partition, rowTrigger(source).name),
    );
}

async function createMissing(
  session: Session,
  relation: Relation | undefined,
  triggers: readonly TriggerSql[],
): Promise<void> {
  for (const { name, sql } of triggers) {
    if (!relation || !isEnabled(relation, name)) await session.query(sql);
  }
}

function isInstalled(
  { relations, columns: recorded }: Installed,
  table: FoundTable,
  columns: readonly string[],
): boolean {
  return (
    hasTriggers(relations[0], triggersOf(qualifiedName(table), table.form)) &&
    recorded !== undefined &&
    columns.every((column) => recorded.includes(column)) &&
    // A recorded column that is gone would make each record one of the whole table.
    recorded.every((column) => table.columns.includes(column))
  );
}

function hasTriggers(relation: Relation | undefined, triggers: readonly TriggerSql[]): boolean {
  return relation !== undefined && triggers.every(({ name }) => isEnabled(relation, name));
}

/** `O` and `A` are enabled; `D` is disabled, and `R` runs in replicas alone. */
function isEnabled({ triggers }: Relation, name: string): boolean {
  return /^[OA]$/.test(triggers[name] ?? '');
}

async function readInstalled(session: Session, table: FoundTable): Promise<Installed> {
  const called = functionNameOf(qualifiedName(table));
  const relations = await session.query(FIND_RELATIONS, [table.oid, called, table.form]);
  const comments = await session.query(FIND_COMMENT, [called]);
  return {
    relations: (relations.rows as readonly unknown[] as (Relation & { triggers: string })[]).map((row) => ({
      ...row,
      triggers: JSON.parse(row.triggers) as Relation['triggers'],
    })),
    columns: readComment(String(comments.rows[0]?.comment ?? '')),
  };
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

/** Each table and partition has a transaction of its own, so that no two locks of writers are held together. */
async function installing(session: Session, lockWithin: number, work: () => Promise<void>): Promise<void> {
  await transaction(session, async () => {
    await session.query('SET LOCAL lock_timeout = 10000');
    await session.query('SELECT pg_advisory_xact_lock($1)', [INSTALL_LOCK]);
    await session.query(`SET LOCAL lock_timeout = ${lockWithin}`);
    await work();
  });
}

function invalid(message: string): HotpathError {
  return new HotpathError('HOTPATH_CONFIG_INVALID', `purgeOnChange: ${message}`);
}
