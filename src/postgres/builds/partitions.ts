import { qualifiedName } from '../changes/sql.js';
import {
  ddlOf,
  type IndexDefinition,
  indexNameOf,
  nameHashOf,
  type QualifiedName,
} from '../indexes/definition.js';
import { type Attempt, buildConcurrently } from './build-concurrently.js';
import { readFailure } from './build-error.js';
import { listOwnIndexes, type OwnIndex } from './catalog.js';
import { SHORT_LOCK_TIMEOUT } from './leftovers.js';
import { partNameOf } from './names.js';
import { pauseFor } from './pause.js';
import type { TurnSession } from './turn.js';

/** A table of a tree of partitions. */
interface Branch extends QualifiedName {
  readonly oid: string;
  readonly parentOid: string | null;
  readonly isLeaf: boolean;
  readonly level: number;
}

/** Attempts at a step that makes writers queue, before the whole attempt fails. */
const MOST_SHORT_ATTEMPTS = 10;

/**
 * Builds the index of a partitioned table, which the server cannot build concurrently at once. First it is made on the parent
 * alone, where it stays invalid, then concurrently on each partition; then each is attached. Parts of an earlier attempt
 * are kept.
 */
export async function buildPartitions(
  session: TurnSession,
  attempt: Attempt,
  tableOid: string,
): Promise<void> {
  const branches = await readTree(session, tableOid);
  const { definition } = attempt;
  const indexes = new Map(
    (await listOwnIndexes(session, nameHashOf(definition))).map((own) => [own.tableOid, own]),
  );
  for (const branch of branches) {
    if (indexes.has(branch.oid)) continue;
    const { name } = indexNameOn(definition, branch);
    const part = { ...definition, schema: branch.schema, table: branch.name };
    if (branch.isLeaf) await buildConcurrently(session, attempt, part, name);
    else await runShort(session, attempt, ddlOf(part, { only: true, name }));
  }
  await attachAll(session, attempt, branches, indexes);
}

/** From the leaves up, so that each is complete when it is attached. */
async function attachAll(
  session: TurnSession,
  attempt: Attempt,
  branches: readonly Branch[],
  before: ReadonlyMap<string, OwnIndex>,
): Promise<void> {
  const { definition } = attempt;
  const byOid = new Map(branches.map((branch) => [branch.oid, branch]));
  for (const branch of branches.toReversed()) {
    const parent = byOid.get(branch.parentOid ?? '');
    if (!parent || branch.level === 0 || before.get(branch.oid)?.isAttached) continue;
    const child = qualifiedName(indexNameOn(definition, branch));
    await runShort(
      session,
      attempt,
      `ALTER INDEX ${qualifiedName(indexNameOn(definition, parent))} ATTACH PARTITION ${child}`,
    );
  }
}

async function readTree(session: TurnSession, tableOid: string): Promise<Branch[]> {
  const { rows } = await session.query(
    `SELECT c.oid::text AS oid, n.nspname AS schema, c.relname AS name, p.parentrelid::oid::text AS "parentOid",
            p.isleaf AS "isLeaf", p.level
       FROM pg_partition_tree($1::oid) p
       JOIN pg_class c ON c.oid = p.relid
       JOIN pg_namespace n ON n.oid = c.relnamespace
      ORDER BY p.level, c.oid`,
    [tableOid],
  );
  return rows as unknown as Branch[];
}

function indexNameOn(definition: IndexDefinition, branch: Branch): QualifiedName {
  const name = branch.level === 0 ? indexNameOf(definition) : partNameOf(definition, branch);
  return { schema: branch.schema, name };
}

/** Writers queue behind a step while it waits for its lock. So it waits briefly, and gives them time in between. */
async function runShort(session: TurnSession, { signal }: Attempt, ddl: string): Promise<void> {
  await session.query(`SET lock_timeout = ${SHORT_LOCK_TIMEOUT}`);
  for (let attempts = 1; ; attempts++) {
    try {
      await session.query(ddl);
      return;
    } catch (error) {
      const isLock = readFailure(error).reason === 'lock-timeout';
      if (!isLock || attempts >= MOST_SHORT_ATTEMPTS) throw error;
      if (!(await pauseFor(SHORT_LOCK_TIMEOUT * Math.min(attempts, 4), signal))) throw error;
    }
  }
}
