import type { AdviceLevel } from '../indexes/advice-level.js';
import { type IndexDefinition, idOf, indexNameOf } from '../indexes/definition.js';
import { isDirect, type Session } from '../sessions.js';
import {
  findOldTransaction,
  isOtherBuildOn,
  readIndexOf,
  readServerFacts,
  readTable,
  type ServerFacts,
  type TableFacts,
} from './catalog.js';
import { findEqualIndex } from './equal-index.js';
import type { BuildSettings } from './options.js';
import type { BuildReason, BuildRefusal } from './types.js';

/** The oldest version with every view and option that is used. */
const OLDEST_VERSION = 140_000;

/** An index that an advice proposes. */
export interface AdvisedIndex {
  /** The queries that it helps, by their text with placeholders. */
  readonly queries?: readonly string[];
  readonly definition: IndexDefinition;
  readonly level: AdviceLevel;
}

type ReasonAndDetail = readonly [reason: BuildReason, detail: string];

/** @returns why no index can be built on this connection; `undefined`: it can. */
export async function refuseServer(session: Session): Promise<ReasonAndDetail | undefined> {
  const server = await readServerFacts(session);
  if (server.version < OLDEST_VERSION)
    return ['unsupported-version', 'The server is older than PostgreSQL 14.'];
  if (!server.isEmbedded && !(await isDirect(session))) {
    return [
      'pooler',
      'The connection goes through a pooler in transaction mode; set `connection` of postgres() to the server itself.',
    ];
  }
  if (server.isStandby) return ['standby', 'The server is a standby; connect to the primary.'];
  if (server.isReadOnly)
    return ['read-only', '`default_transaction_read_only` is on for this role or database; set it off.'];
  return undefined;
}

/** @returns why an index may not be built now, or that it is built already. */
export async function refuseIndex(
  session: Session,
  { definition, level }: AdvisedIndex,
  settings: BuildSettings,
): Promise<{ readonly refusal: BuildRefusal | undefined; readonly isBuilt: boolean }> {
  const existing = await readIndexOf(session, definition);
  if (existing?.isValid) return { refusal: undefined, isBuilt: true };
  const refused =
    refuseLevel(level, settings, await readServerFacts(session)) ??
    (await refuseTable(session, definition, settings));
  const refusal = refused && { id: idOf(definition), reason: refused[0], detail: refused[1] };
  return { refusal, isBuilt: false };
}

/** The levels that may be built. */
export function levelsFor(settings: BuildSettings, { isEmbedded }: ServerFacts): readonly AdviceLevel[] {
  return settings.levels ?? (isEmbedded ? ['verified', 'trial'] : ['verified']);
}

function refuseLevel(
  level: AdviceLevel,
  settings: BuildSettings,
  server: ServerFacts,
): ReasonAndDetail | undefined {
  const levels = levelsFor(settings, server);
  if (levels.includes(level)) return undefined;
  const list = levels.join(', ');
  return ['level', `The advice is ${level}; \`indexes.levels\` permits: ${list}.`];
}

async function refuseTable(
  session: Session,
  definition: IndexDefinition,
  settings: BuildSettings,
): Promise<ReasonAndDetail | undefined> {
  const table = await readTable(session, definition);
  if (!table) return ['no-table', 'The table does not exist any more; run the dry run again.'];
  if (table.isSystem) return ['system-table', 'The table belongs to the system.'];
  if (!table.isOwner)
    return [
      'not-owner',
      'The role does not own the table; connect as its owner, or build the index yourself.',
    ];
  if (!table.mayCreate)
    return ['no-create-right', 'The role lacks CREATE on the schema; grant it, or build the index yourself.'];
  if (table.hasForeignPartition) return ['foreign-partition', 'A partition is a foreign table.'];
  if (table.bytes > settings.maxTableBytes)
    return [
      'too-large',
      `The table is larger than \`indexes.maxTableBytes\`: ${settings.maxTableBytes} bytes.`,
    ];
  return refuseNow(session, definition, table, settings);
}

/** Obstacles that may go away. */
async function refuseNow(
  session: Session,
  definition: IndexDefinition,
  table: TableFacts,
  settings: BuildSettings,
): Promise<ReasonAndDetail | undefined> {
  const equal = await findEqualIndex(session, definition);
  if (equal !== undefined) return ['equal-index', 'An index with the same keys exists already.'];
  if (await isNameTaken(session, definition, table))
    return ['name-taken', 'Another object has the name of the index; rename it.'];
  // Another instance may have begun to build this index a moment ago.
  if (await isOtherBuildOn(session, table.oid, { id: idOf(definition) }))
    return ['other-build', 'Another index is being built on the table; try again when it is done.'];
  const old = await findOldTransaction(session, table.oid, settings.maxTransactionAge);
  if (!old) return undefined;
  const seconds = Math.round(old.seconds ?? 0);
  return old.isPrepared
    ? [
        'prepared-transaction',
        `A prepared transaction holds the table for ${seconds} s; end it, then try again.`,
      ]
    : ['old-transaction', `A transaction is open for ${seconds} s (pid ${old.pid}); end it, then try again.`];
}

async function isNameTaken(
  session: Session,
  definition: IndexDefinition,
  table: TableFacts,
): Promise<boolean> {
  const { rows } = await session.query(
    `SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_index i ON i.indexrelid = c.oid
      WHERE n.nspname = $1 AND c.relname = $2
        AND (i.indrelid IS NULL OR i.indrelid <> $3::oid OR i.indisunique)`,
    [definition.schema, indexNameOf(definition), table.oid],
  );
  return rows.length > 0;
}
