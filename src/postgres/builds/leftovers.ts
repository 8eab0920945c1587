import { qualifiedName } from '../changes/sql.js';
import type { Session } from '../sessions.js';
import { isOtherBuildOn, listOwnIndexes, type OwnIndex } from './catalog.js';
import type { TurnSession } from './turn.js';
import { runWatched } from './watch.js';

/** How long a step may wait for a lock that makes writers queue behind it. Milliseconds. */
export const SHORT_LOCK_TIMEOUT = 500;

/**
 * Indexes that a failed build has left: those of hotpath that are invalid, and those of partitions whose parent was never
 * completed. Only for a session that has the turn: no build of hotpath runs then, not even that of a process that has
 * crashed.
 *
 * @param hash of one advice. Default: all.
 * @param isResumed a build of partitions goes on where it was: its complete parts stay.
 */
export async function findLeftovers(
  session: Session,
  { hash, isResumed = false }: { hash?: string; isResumed?: boolean } = {},
): Promise<OwnIndex[]> {
  const own = await listOwnIndexes(session, hash);
  return own.filter((index) => isLeftover(index) && !(isResumed && (index.isValid || index.isPartitioned)));
}

/** Whether an index is invalid, or of a partition whose parent was never completed. An attached one goes with its parent. */
export function isLeftover({ isAttached, isValid, isPart, isOfPartition }: OwnIndex): boolean {
  return !isAttached && (!isValid || (isPart && isOfPartition));
}

/**
 * Drops leftovers, and ignores those that another program builds at the moment.
 *
 * @param lockTimeout how long a drop waits for each transaction, for which no other session waits. Milliseconds.
 * @returns those that are left, and the first error.
 */
export async function dropLeftovers(
  session: TurnSession,
  leftovers: readonly OwnIndex[],
  lockTimeout = SHORT_LOCK_TIMEOUT,
): Promise<{ left: readonly OwnIndex[]; error: unknown }> {
  const left: OwnIndex[] = [];
  let error: unknown;
  // A parent first, which takes the attached ones along.
  for (const index of leftovers.toSorted((a, b) => Number(a.isPart) - Number(b.isPart))) {
    try {
      if (!(await dropOne(session, index, lockTimeout))) left.push(index);
    } catch (failure) {
      error ??= failure;
      left.push(index);
    }
  }
  return { left, error };
}

/** @returns whether it is gone. */
async function dropOne(session: TurnSession, index: OwnIndex, lockTimeout: number): Promise<boolean> {
  if (!index.isOwner || (await isOtherBuildOn(session, index.tableOid, { pid: session.pid }))) return false;
  // Read again after the builds: one that has just ended may have completed it.
  const now = (await listOwnIndexes(session, index.hash)).find(({ oid }) => oid === index.oid);
  if (!now) return true;
  if (!isLeftover(now)) return true;
  const name = qualifiedName(now);
  if (now.isPartitioned || session.isEmbedded) {
    // It locks the partitions one after the other, and waits for each, while writers wait for it.
    await session.query(
      `SET lock_timeout = ${SHORT_LOCK_TIMEOUT}; SET statement_timeout = ${SHORT_LOCK_TIMEOUT}`,
    );
    try {
      await session.query(`DROP INDEX IF EXISTS ${name}`);
    } finally {
      await session.query('SET statement_timeout = 0');
    }
    return true;
  }
  await session.query(`SET lock_timeout = ${lockTimeout}`);
  await runWatched(session.sessions, session.pid, () =>
    session.query(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`),
  );
  return true;
}
