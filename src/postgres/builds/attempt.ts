import { performance } from 'node:perf_hooks';
import { type IndexDefinition, indexNameOf, nameHashOf } from '../indexes/definition.js';
import { type Attempt, buildConcurrently } from './build-concurrently.js';
import { BuildError } from './build-error.js';
import { findOldTransaction, isOtherBuildOn, readIndexOf, readTable } from './catalog.js';
import { dropLeftovers, findLeftovers } from './leftovers.js';
import { buildPartitions } from './partitions.js';
import type { TurnSession } from './turn.js';

/**
 * Builds an index on a session that has the turn.
 *
 * @returns whether it was built now; `false`: it was there.
 * @throws BuildError or the error of the server. There may be a leftover then.
 */
export async function attemptBuild(session: TurnSession, attempt: Attempt): Promise<boolean> {
  const { definition } = attempt;
  const table = await readTable(session, definition);
  if (!table) throw new BuildError('no-table', false);
  if ((await readIndexOf(session, definition))?.isValid) return false;
  if (await isOtherBuildOn(session, table.oid, { pid: session.pid }))
    throw new BuildError('other-build', true);
  await dropBefore(session, definition);
  // The whole work would be lost again.
  const { blockedSince } = attempt;
  if (blockedSince !== undefined) {
    const seconds = (performance.now() - blockedSince) / 1000;
    if (await findOldTransaction(session, table.oid, seconds)) throw new BuildError('lock-timeout', true);
  }
  if (table.kind === 'p') await buildPartitions(session, attempt, table.oid);
  else await buildConcurrently(session, attempt, definition, indexNameOf(definition));
  const built = await readIndexOf(session, definition);
  if (!built?.isValid || !built.isReady) throw new BuildError('invalid', true);
  return true;
}

async function dropBefore(session: TurnSession, definition: IndexDefinition): Promise<void> {
  const leftovers = await findLeftovers(session, { hash: nameHashOf(definition), isResumed: true });
  const { left, error } = await dropLeftovers(session, leftovers);
  if (error !== undefined) throw error;
  if (left.length > 0) throw new BuildError('other-build', true);
}
