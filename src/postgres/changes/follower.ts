import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { isHotpathError } from '../../options/errors.js';
import { guarded, unawaited } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import { messageOf, reportFault } from '../../runtime/report-fault.js';
import type { Session, Sessions } from '../sessions.js';
import { type ChangeCache, NotAcknowledged } from './change-cache.js';
import { Consumer, type ReadChanges, removeReadChanges, transaction } from './consumer.js';
import { type FollowedTable, FollowedTables } from './followed-tables.js';
import { installOutbox } from './install.js';
import type { MappedTable } from './mapping.js';
import type { ChangeSettings } from './options.js';
import { collectTargets, everythingOf, reduceSelectors } from './purge-targets.js';
import { ReplicaPurges } from './replica-purges.js';

/** The result of `flush`. */
export interface FlushResult {
  /**
   * Whether every change that was committed before the call has been purged on this instance. `false`: the database or
   * Redis did not reply within 5 seconds; then everything that depends on the tables was purged here.
   */
  readonly acknowledged: boolean;
}

/** Figures of the reader of changes. */
export interface ChangeFigures {
  /**
   * `starting`: not yet read. `incomplete`: one of the tables is missing or cannot be followed; the others are. `lost`: the
   * database cannot be polled, so entries are used for `maxStaleness` at most.
   */
  readonly state: 'starting' | 'following' | 'incomplete' | 'lost' | 'closed';
  /** Why the tables are not all followed; `null` if they are. No name of a host or a user is in it. */
  readonly reason: string | null;
  /** Whether one instance reads for all, because they share a Redis. */
  readonly isShared: boolean;
  /** The tables of the mapping. */
  readonly tables: readonly FollowedTable[];
  /** When all changes were last known to be purged. Milliseconds since 1970; `null` for never. */
  readonly lastPollAt: number | null;
  /** How far the cache may be behind the database: since the last complete poll. Seconds; `null` before the first. */
  readonly lagSeconds: number | null;
  /** Polls that this instance has completed. */
  readonly polls: number;
  /** Records of the outbox that this instance has read. A statement writes one, or one for each row of a single partition. */
  readonly records: number;
  /** Rows of these records, those before and after an update counted apart. */
  readonly rows: number;
  /** Selectors that this instance has purged for them. */
  readonly purges: number;
  /** How often everything that depends on the tables was purged: at a start, after a gap, or while the database was lost. */
  readonly fullPurges: number;
  /** Connections that failed or broke. */
  readonly failures: number;
  /** The SQLSTATE or the code of the last failure; `null` while the database is followed. */
  readonly error: string | null;
}

interface FollowerSetup {
  readonly sessions: Sessions;
  readonly cache: ChangeCache;
  readonly mapping: Readonly<Record<string, MappedTable>>;
  readonly settings: ChangeSettings;
  /** Opens sessions on a replica. */
  readonly replicas: readonly Sessions[];
}

/** Without a reply for this long, the database counts as lost. Milliseconds. */
const REPLY_WITHIN = 5000;
const LIMITS = { statementTimeout: 5000, lockTimeout: 2000, replyTimeout: REPLY_WITHIN };

/**
 * Independent of the defaults of the database and the role. The statistics of the outbox are never up to date, so its
 * plans use the index whatever they say. A process that hangs must not keep the lock. Nothing is set
 * through PgBouncer, because the connection may be the app's next, nor on PGlite, where all connections share a session.
 */
const SESSION_SETTINGS = `SELECT set_config('default_transaction_isolation', 'read committed', false),
  set_config('default_transaction_read_only', 'off', false),
  set_config('enable_seqscan', 'off', false),
  set_config('jit', 'off', false),
  set_config('idle_in_transaction_session_timeout', '${REPLY_WITHIN}', false)
WHERE pg_backend_pid() = $1 AND version() !~* 'pglite|emscripten|wasm'`;

/** How often the triggers are looked for, and read records removed. Milliseconds. */
const CHECK_EVERY = 2000;
const REMOVE_EVERY = 5000;

/** The longest pauses. Milliseconds. */
const LONGEST_BACKOFF = 2000;
const LONGEST_BEAT = 1000;
const START_WITHIN = 10_000;
const FLUSH_WITHIN = 5000;

interface Waiter {
  readonly resolve: () => void;
}

/**
 * Reads the outbox and purges what has changed. Each change is purged after its commit, so a fill that read old rows
 * has an older log position and loses.
 *
 * While the database cannot be polled, everything that depends on the tables is purged every `maxStaleness`.
 */
export class ChangeFollower {
  readonly #setup: FollowerSetup;
  readonly #maxStaleness: number;
  readonly #sweeper: NodeJS.Timeout;
  #loop: Promise<void> | undefined;
  #consumer: Consumer | undefined;
  #replicas: ReplicaPurges | undefined;
  readonly #tables: FollowedTables;
  #sources = '';
  #flushes: Waiter[] = [];
  #wake: (() => void) | undefined;
  #isClosed = false;
  /** Every change that was committed before this time is purged. Of our monotonic clock; entries are older than a sweep. */
  #coveredAt = performance.now();
  #sweptAt = Number.NEGATIVE_INFINITY;
  #hasCovered = false;
  #checkedAt = 0;
  #removedAt = 0;
  #attempts = 0;
  #error: string | null = null;
  #reason: string | null = null;
  #sweptFailedAt = 0;
  #started: { resolve(): void; reject(error: unknown): void } | undefined;
  readonly #counts = { polls: 0, records: 0, rows: 0, purges: 0, fullPurges: 0, failures: 0 };

  constructor(setup: FollowerSetup) {
    this.#setup = setup;
    this.#tables = new FollowedTables(setup.mapping, setup.settings.install);
    this.#maxStaleness = (setup.settings.maxStaleness ?? setup.cache.maxStaleness) * 1000;
    const period = Math.min(250, this.#maxStaleness / 4);
    this.#sweeper = runInOwnContext(() =>
      setInterval(
        guarded('purgeOnChange', () => void unawaited(this.#sweepIfLost(period), 'purgeOnChange')),
        period,
      ).unref(),
    );
  }

  /**
   * Resolves when the tables are followed, or after 10 seconds without a database; then it keeps trying.
   *
   * @throws HotpathError `HOTPATH_CONFIG_INVALID` if the mapping does not fit the database.
   */
  start(): Promise<void> {
    const started = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(resolve, START_WITHIN);
      const end = (settle: () => void) => {
        clearTimeout(timer);
        this.#started = undefined;
        settle();
      };
      this.#started = { resolve: () => end(resolve), reject: (error) => end(() => reject(error)) };
    });
    this.#loop = runInOwnContext(() => unawaited(this.#follow(), 'purgeOnChange'));
    return started;
  }

  /** Reads changes now. Never rejects. */
  async flush(): Promise<FlushResult> {
    if (this.#isClosed) return { acknowledged: false };
    const acknowledged = await new Promise<boolean>((resolve) => {
      const end = (isDone: boolean) => {
        clearTimeout(timer);
        this.#flushes = this.#flushes.filter((each) => each !== waiter);
        resolve(isDone);
      };
      const timer = setTimeout(
        guarded('purgeOnChange', () => end(false)),
        FLUSH_WITHIN,
      );
      const waiter = { resolve: () => end(true) };
      this.#flushes.push(waiter);
      this.#wake?.();
    });
    // A purge that Redis does not acknowledge applies here.
    if (!acknowledged) await this.#purgeEverything().catch(() => {});
    return { acknowledged };
  }

  figures(): ChangeFigures {
    const lag = performance.now() - this.#coveredAt;
    return {
      state: this.#state(),
      reason: this.#error === null ? this.#tables.reason : this.#reason,
      isShared: this.#setup.cache.isShared,
      tables: this.#tables.figures,
      lastPollAt: this.#hasCovered ? Math.round(Date.now() - lag) : null,
      lagSeconds: this.#hasCovered ? lag / 1000 : null,
      ...this.#counts,
      error: this.#error,
    };
  }

  /** Idempotent. Entries stay as they are. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#sweeper);
    this.#wake?.();
    this.#replicas?.close();
    this.#started?.resolve();
    await this.#loop;
  }

  #state(): ChangeFigures['state'] {
    if (this.#isClosed) return 'closed';
    if (this.#error !== null) return 'lost';
    if (!this.#hasCovered) return 'starting';
    return this.#tables.reason === null ? 'following' : 'incomplete';
  }

  async #follow(): Promise<void> {
    while (!this.#isClosed) {
      try {
        await this.#setup.sessions.use('changes', LIMITS, (session) => this.#followOn(session));
      } catch (error) {
        this.#fail(error);
      }
      if (this.#isClosed) return;
      const delay = Math.min(LONGEST_BACKOFF, 50 * 2 ** Math.min(this.#attempts++, 10));
      await this.#pause(delay * (0.5 + Math.random() / 2));
    }
  }

  async #followOn(session: Session): Promise<void> {
    const { settings, cache } = this.#setup;
    // A process that has nothing else to do ends.
    session.hold(this.#started !== undefined);
    await session.query(SESSION_SETTINGS, [session.processId ?? 0]);
    await this.#prepare(session);
    while (!this.#isClosed) {
      await this.#poll(session);
      await this.#replicas?.step(session);
      this.#attempts = 0;
      this.#error = null;
      this.#started?.resolve();
      session.hold(false);
      await this.#lookAfter(session);
      if (this.#flushes.length === 0 && !this.#isClosed) await this.#pause(settings.poll * 1000);
    }
    if (!cache.isShared) await this.#consumer?.leave(session);
  }

  async #prepare(session: Session): Promise<void> {
    const { settings } = this.#setup;
    const wasMissing = await installOutbox(session, settings.install);
    const unseen = await this.#tables.look(session, true);
    await this.#openConsumer();
    this.#checkedAt = performance.now();
    // Writers may have changed rows while there was no trigger.
    if (wasMissing) await this.#purgeEverything();
    else await this.#purgeTables(unseen);
  }

  /** Reads from the place of before, also after a table has got another name. */
  async #openConsumer(): Promise<void> {
    const { settings, cache, replicas } = this.#setup;
    const id = cache.isShared ? await cache.readName() : (this.#consumer?.id ?? randomUUID());
    const sources = [...this.#tables.mapped.keys()];
    if (this.#consumer?.id === id && this.#sources === sources.join()) return;
    this.#sources = sources.join();
    this.#consumer = new Consumer(id, sources);
    this.#replicas?.close();
    this.#replicas =
      replicas.length === 0
        ? undefined
        : new ReplicaPurges(new Consumer(`${id}:replicas`, sources), replicas, settings, cache, {
            purge: (found) => this.#apply(found),
            purgeEverything: () => this.#purgeEverything(),
          });
  }

  async #poll(session: Session): Promise<void> {
    const flushes = this.#flushes.slice();
    if (flushes.length > 0) session.hold(true);
    const sentAt = performance.now();
    const consumer = this.#consumer!;
    const found = await consumer.read(session);
    if (!found) {
      await consumer.register(session, () => this.#purgeEverything());
      this.#cover(sentAt);
    } else if (found.records.length > 0 || found.hasEndedStrays || found.age * 1000 > this.#beat) {
      await this.#consume(session, found, sentAt, flushes.length > 0);
    } else {
      this.#cover(sentAt);
    }
    this.#counts.polls++;
    if (flushes.length === 0) return;
    // Another instance may have purged the changes, and its records may not have arrived here.
    await this.#setup.cache.settle();
    for (const { resolve } of flushes) resolve();
    session.hold(false);
  }

  async #consume(session: Session, found: ReadChanges, sentAt: number, waits: boolean): Promise<void> {
    const { cache } = this.#setup;
    const consumer = this.#consumer!;
    if (!cache.isShared) {
      await this.#apply(found);
      await consumer.advance(session, found.snapshot, found.at);
      this.#cover(sentAt);
      return;
    }
    const readAt = await transaction(session, async () => {
      if (!(await consumer.lock(session, waits))) return undefined;
      const at = performance.now();
      const latest = await consumer.read(session);
      if (!latest) return undefined;
      await this.#apply(latest);
      await consumer.advance(session, latest.snapshot, latest.at);
      return at;
    });
    if (readAt !== undefined) {
      this.#cover(readAt);
      void unawaited(cache.markPolled(this.#maxStaleness), 'purgeOnChange');
    } else {
      // The instance with the lock purges what it has found until then.
      this.#cover(
        found.records.length === 0 && !found.hasEndedStrays ? sentAt : sentAt - Math.max(0, found.age) * 1000,
      );
    }
  }

  /** @throws NotAcknowledged if Redis does not have the purge: then the mark stays. */
  async #apply({ records, isOverflow, hasEndedStrays }: ReadChanges): Promise<void> {
    this.#counts.records += records.length;
    if (isOverflow || hasEndedStrays) return this.#purgeEverything();
    const targets = collectTargets(records, this.#tables.mapped);
    this.#tables.count(targets);
    for (const { rows } of targets) this.#counts.rows += rows;
    const selectors = reduceSelectors(targets.flatMap((each) => each.selectors));
    if (selectors.length === 0) return;
    this.#counts.purges += selectors.length;
    await this.#setup.cache.purge(selectors);
  }

  /** Purges `all` of tables whose changes may have gone unseen. */
  async #purgeTables(tables: readonly MappedTable[]): Promise<void> {
    const selectors = everythingOf(tables);
    if (selectors.length === 0) return;
    this.#counts.purges += selectors.length;
    await this.#setup.cache.purge(selectors);
  }

  async #purgeEverything(): Promise<void> {
    this.#counts.fullPurges++;
    this.#sweptAt = performance.now();
    await this.#setup.cache.purge(everythingOf(Object.values(this.#setup.mapping)));
  }

  /** The mark moves at least this often, so that others see that changes are read. Milliseconds. */
  get #beat(): number {
    return Math.min(LONGEST_BEAT, this.#maxStaleness / 4);
  }

  #cover(at: number): void {
    this.#coveredAt = Math.max(this.#coveredAt, at);
    this.#hasCovered = true;
  }

  /** @param period until the next call. */
  async #sweepIfLost(period: number): Promise<void> {
    const isDue = () =>
      performance.now() + period >= Math.max(this.#coveredAt, this.#sweptAt) + this.#maxStaleness;
    if (this.#isClosed) return;
    const { cache } = this.#setup;
    if (performance.now() + period >= this.#sweptFailedAt + this.#maxStaleness) {
      this.#sweptFailedAt = performance.now();
      await this.#purgeTables(this.#tables.failed).catch(() => {});
    }
    if (!isDue()) return;
    // Another instance may read the changes.
    const left = await cache.polledFor();
    if (left > 0) this.#cover(performance.now() - this.#maxStaleness + left);
    if (isDue()) await this.#purgeEverything().catch(() => {});
  }

  async #lookAfter(session: Session): Promise<void> {
    const now = performance.now();
    if (now - this.#removedAt > REMOVE_EVERY) {
      this.#removedAt = now;
      // A backlog is removed in steps, between polls.
      if (await removeReadChanges(session)) this.#removedAt = Number.NEGATIVE_INFINITY;
    }
    if (now - this.#checkedAt < CHECK_EVERY) return;
    this.#checkedAt = now;
    const unseen = await this.#tables.look(session, false);
    await this.#openConsumer();
    await this.#purgeTables(unseen);
  }

  #fail(error: unknown): void {
    if (this.#isClosed) return;
    this.#counts.failures++;
    this.#error = failureCode(error);
    this.#reason = messageOf(describeFailure(error));
    if (isHotpathError(error) && this.#started) {
      this.#isClosed = true;
      clearInterval(this.#sweeper);
      this.#started.reject(error);
      return;
    }
    // A connection that breaks once is no fault.
    if (this.#attempts > 1 || isHotpathError(error)) reportFault('purgeOnChange', describeFailure(error));
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const end = guarded('purgeOnChange', () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      });
      const timer = setTimeout(end, milliseconds);
      // A call that waits keeps the process alive.
      if (!this.#started && this.#flushes.length === 0) timer.unref();
      this.#wake = end;
    });
  }
}

/** SQLSTATE, or the code of Node. */
function failureCode(error: unknown): string {
  if (error instanceof NotAcknowledged) return 'REDIS';
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : 'ERROR';
}

/** Messages of connections name hosts and users; those of statements name relations. */
function describeFailure(error: unknown): unknown {
  if (isHotpathError(error) || error instanceof NotAcknowledged) return error;
  const code = failureCode(error);
  const isOfStatement = code === 'ERROR' || /^(?!28|08|57|3D)[0-9A-Z]{5}$/.test(code);
  return new Error(`the database cannot be polled: ${isOfStatement ? messageOf(error) : code}`);
}
