import { ddlOf, type IndexDefinition } from '../indexes/definition.js';
import type { Session } from '../sessions.js';
import type { TurnSession } from './turn.js';
import { runWatched } from './watch.js';

/** One attempt to build an index. */
export interface Attempt {
  readonly definition: IndexDefinition;
  /** Milliseconds. */
  readonly lockTimeout: number;
  readonly signal: AbortSignal;
  /** When an earlier attempt began that a transaction has stopped; `undefined`: none did. `performance.now()`. */
  readonly blockedSince: number | undefined;
  /** Called on another connection while the server builds. */
  look(session: Session): Promise<void>;
}

/** Builds an index without blocking writers. On PGlite, where nothing else runs meanwhile, it is a plain build. */
export async function buildConcurrently(
  session: TurnSession,
  attempt: Attempt,
  definition: IndexDefinition,
  name: string,
): Promise<void> {
  await session.query(`SET lock_timeout = ${attempt.lockTimeout}`);
  // Alone in its query, or the server would run it in a transaction.
  const build = () => session.query(ddlOf(definition, { concurrently: !session.isEmbedded, name }));
  if (session.isEmbedded) await build();
  else await runWatched(session.sessions, session.pid, build, (watch) => attempt.look(watch));
}
