import { performance } from 'node:perf_hooks';
import { guarded, unawaited } from '../../runtime/guard.js';
import type { Session, Sessions } from '../sessions.js';
import type { ChangeCache } from './change-cache.js';
import { type Consumer, type ReadChanges, transaction } from './consumer.js';
import type { ChangeSettings } from './options.js';

const LIMITS = { statementTimeout: 5000, lockTimeout: 2000, replyTimeout: 5000 };

/** Between two looks at a replica that has not caught up. Milliseconds. */
const LOOK_EVERY = 20;

/** After a connection to a replica has failed. Milliseconds. */
const RETRY_EVERY = 1000;

/** The mark of an idle consumer moves this often. Seconds. */
const BEAT = 10;

/** A server that was promoted has all there is. */
const REPLAYED = 'SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= $1::pg_lsn AS has_replayed';

/** How the changes are purged. */
interface Purges {
  purge(found: ReadChanges): Promise<void>;
  purgeEverything(): Promise<void>;
}

/**
 * The second purge of each change: when every replica has replayed it, or after a time. It has a mark of its own, so it
 * survives the end of this process.
 */
export class ReplicaPurges {
  readonly #consumer: Consumer;
  readonly #watches: readonly ReplicaWatch[];
  readonly #settings: ChangeSettings;
  readonly #cache: ChangeCache;
  readonly #purges: Purges;
  #pending: { readonly changes: ReadChanges; readonly since: number } | undefined;

  constructor(
    consumer: Consumer,
    replicas: readonly Sessions[],
    settings: ChangeSettings,
    cache: ChangeCache,
    purges: Purges,
  ) {
    this.#consumer = consumer;
    this.#watches = replicas.map((sessions) => new ReplicaWatch(sessions));
    this.#settings = settings;
    this.#cache = cache;
    this.#purges = purges;
  }

  /** Looks whether a purge is due. */
  async step(session: Session): Promise<void> {
    this.#pending ??= await this.#next(session);
    if (!this.#pending) return;
    const { changes, since } = this.#pending;
    const isLate = performance.now() - since > this.#settings.replicaTimeout * 1000;
    const haveReplayed = this.#watches.map((watch) => watch.hasReplayed(changes.lsn));
    if (!isLate && haveReplayed.includes(false)) return;
    this.#pending = undefined;
    if (this.#cache.isShared) await transaction(session, () => this.#purge(session, changes));
    else await this.#purge(session, changes);
  }

  close(): void {
    for (const watch of this.#watches) watch.close();
  }

  async #next(session: Session) {
    const changes = await this.#consumer.read(session);
    if (!changes) await this.#consumer.register(session, () => this.#purges.purgeEverything());
    else if (changes.records.length > 0 || changes.hasEndedStrays)
      return { changes, since: performance.now() };
    else if (changes.age > BEAT) await this.#consumer.advance(session, changes.snapshot, changes.at);
    return undefined;
  }

  /** Another instance may have been faster; then there is nothing left. */
  async #purge(session: Session, { snapshot, at }: ReadChanges): Promise<void> {
    if (this.#cache.isShared && !(await this.#consumer.lock(session, false))) return;
    const changes = await this.#consumer.read(session, snapshot);
    if (!changes || (changes.records.length === 0 && !changes.hasEndedStrays)) return;
    await this.#purges.purge(changes);
    await this.#consumer.advance(session, snapshot, at);
  }
}

/** Looks how far a replica is. */
class ReplicaWatch {
  readonly #sessions: Sessions;
  #wanted: string | undefined;
  #reached: string | undefined;
  #isRunning = false;
  #isClosed = false;
  #wake: (() => void) | undefined;

  constructor(sessions: Sessions) {
    this.#sessions = sessions;
  }

  /** Whether the replica is known to have replayed the WAL up to this position. */
  hasReplayed(lsn: string): boolean {
    if (this.#reached === lsn) return true;
    this.#wanted = lsn;
    if (!this.#isRunning && !this.#isClosed) void unawaited(this.#run(), 'purgeOnChange');
    return false;
  }

  close(): void {
    this.#isClosed = true;
    this.#wake?.();
    void unawaited(this.#sessions.close(), 'purgeOnChange');
  }

  /** A replica that cannot be reached has not replayed; the purge waits for its time. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    while (!this.#isClosed) {
      await this.#sessions.use('replica', LIMITS, (session) => this.#watch(session)).catch(() => {});
      if (!this.#isClosed) await this.#pause(RETRY_EVERY);
    }
    this.#isRunning = false;
  }

  async #watch(session: Session): Promise<void> {
    session.hold(false);
    while (!this.#isClosed) {
      const wanted = this.#wanted;
      if (wanted !== undefined && wanted !== this.#reached) {
        const { rows } = await session.query(REPLAYED, [wanted]);
        if (rows[0]?.has_replayed === true) this.#reached = wanted;
      }
      await this.#pause(LOOK_EVERY);
    }
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const end = guarded('purgeOnChange', () => {
        clearTimeout(timer);
        resolve();
      });
      const timer = setTimeout(end, milliseconds).unref();
      this.#wake = end;
    });
  }
}
