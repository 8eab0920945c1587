import { unawaited } from '../../runtime/guard.js';
import type { Session, Sessions } from '../sessions.js';
import { BuildError } from './build-error.js';
import { pauseFor } from './pause.js';

/** Between two looks. Milliseconds. */
const LOOK_MS = 150;

/** A session that waits longer than this for the build gets its lock. Milliseconds. */
const PATIENCE_MS = 200;

const LIMITS = { statementTimeout: 2_000, lockTimeout: 500, replyTimeout: 3_000 } as const;

/**
 * Runs a statement that holds a lock which writers do not wait for, but `ALTER TABLE` does; all writers would queue behind
 * that. So the statement is cancelled as soon as such a session waits for it. This also prevents that the other session is
 * the victim of a deadlock, which the server looks for after a second.
 *
 * @param pid the process of the statement.
 * @param look called again and again on a connection of its own while the statement runs. Its errors are ignored.
 * @throws BuildError `yielded`, or the error of the statement.
 */
export async function runWatched<T>(
  sessions: Sessions,
  pid: number,
  work: () => Promise<T>,
  look?: (session: Session) => Promise<void>,
): Promise<T> {
  const ended = new AbortController();
  const watch = new Watch(sessions, pid, ended.signal, look);
  const watching = watch.run();
  try {
    // Without a second connection nothing would be cancelled.
    await watch.opened;
    return await work();
  } catch (error) {
    throw watch.hasYielded ? new BuildError('yielded', true) : error;
  } finally {
    ended.abort();
    await unawaited(watching, 'index builds');
  }
}

class Watch {
  hasYielded = false;
  /** Rejects if the first connection fails. */
  readonly opened: Promise<void>;
  #settle!: { resolve: () => void; reject: (error: unknown) => void };
  readonly #sessions: Sessions;
  readonly #pid: number;
  readonly #signal: AbortSignal;
  readonly #look: ((session: Session) => Promise<void>) | undefined;

  constructor(
    sessions: Sessions,
    pid: number,
    signal: AbortSignal,
    look: ((session: Session) => Promise<void>) | undefined,
  ) {
    this.#sessions = sessions;
    this.#pid = pid;
    this.#signal = signal;
    this.#look = look;
    this.opened = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
  }

  async run(): Promise<void> {
    do {
      try {
        await this.#sessions.use('watch', LIMITS, async (session) => {
          this.#settle.resolve();
          do {
            await this.#yield(session);
            await this.#look?.(session).catch(() => {});
          } while (await pauseFor(LOOK_MS, this.#signal));
        });
      } catch (error) {
        // Without effect once the first connection was open.
        this.#settle.reject(error);
      }
    } while (await pauseFor(2 * LOOK_MS, this.#signal));
  }

  async #yield(session: Session): Promise<void> {
    const { rows } = await session.query(
      `SELECT 1 FROM pg_locks
        WHERE NOT granted AND locktype = 'relation'
          AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
          AND waitstart < clock_timestamp() - make_interval(secs => $2)
          AND $1 = ANY (pg_blocking_pids(pid))`,
      [this.#pid, PATIENCE_MS / 1000],
    );
    if (rows.length === 0) return;
    this.hasYielded = true;
    await session.query('SELECT pg_cancel_backend($1)', [this.#pid]);
  }
}
