import { performance } from 'node:perf_hooks';
import { HotpathError, isHotpathError } from '../../options/errors.js';
import { reportFault } from '../../runtime/report-fault.js';
import type { Session } from '../sessions.js';
import {
  type FoundTable,
  installTable,
  type MissingTable,
  readTableStates,
  type TableState,
} from './install.js';
import type { MappedTable } from './mapping.js';
import type { MappedTables, TableTargets } from './purge-targets.js';
import { qualifiedName } from './sql.js';

/** Figures of a mapped table. */
export interface FollowedTable {
  /** The qualified name, or that of the mapping if there was no such table yet. */
  readonly table: string;
  /**
   * `missing`: there is no such table. `failed`: it cannot be followed, so its `all` is purged every
   * `maxStaleness`.
   */
  readonly state: 'starting' | 'following' | 'missing' | 'failed';
  /** Why it is missing or has failed; `null` otherwise. */
  readonly reason: string | null;
  /** Records of the outbox that this instance has read. A statement writes one. */
  readonly records: number;
  /** Rows of these records, those before and after an update counted apart. A change of a whole table has none. */
  readonly rows: number;
  /** Selectors that this instance has purged for them. */
  readonly purges: number;
}

interface Entry {
  readonly key: string;
  readonly mapped: MappedTable;
  /** Stays when the table is gone: its triggers may still be there. */
  found: FoundTable | undefined;
  /** When it was last seen to be complete. */
  seen: TableState | undefined;
  state: FollowedTable['state'];
  reason: string | null;
  records: number;
  rows: number;
  purges: number;
  /** Failed attempts in sequence. */
  attempts: number;
  nextAttemptAt: number;
}

/** The longest pause before another attempt. Milliseconds. */
const LONGEST_PAUSE = 30_000;
const FIRST_PAUSE = 1900;

/** SQLSTATEs of one table, such as a lock that is not free. The connection still works. */
const OF_TABLE = /^(?:55P03|40P01|42P01|3F000|42501)$/;

/** The tables of a mapping, as the database has them. One that is gone or cannot be followed leaves the others alone. */
export class FollowedTables {
  readonly #entries: readonly Entry[];
  readonly #installs: boolean;
  #isStarted = false;

  constructor(mapping: Readonly<Record<string, MappedTable>>, installs: boolean) {
    this.#installs = installs;
    this.#entries = Object.entries(mapping).map(([key, mapped]) => ({
      key,
      mapped,
      found: undefined,
      seen: undefined,
      state: 'starting',
      reason: null,
      records: 0,
      rows: 0,
      purges: 0,
      attempts: 0,
      nextAttemptAt: 0,
    }));
  }

  /** By the name in the outbox. */
  get mapped(): MappedTables {
    return new Map(
      this.#entries.flatMap(({ found, mapped }) => (found ? [[qualifiedName(found), mapped]] : [])),
    );
  }

  /** Tables that are not followed although they exist. */
  get failed(): readonly MappedTable[] {
    return this.#entries.filter(({ state }) => state === 'failed').map(({ mapped }) => mapped);
  }

  /** Why the tables are not all followed; `null` if they are. */
  get reason(): string | null {
    return this.#entries.find(({ reason }) => reason !== null)?.reason ?? null;
  }

  get figures(): readonly FollowedTable[] {
    return this.#entries.map(({ key, found, state, reason, records, rows, purges }) => ({
      table: found ? qualifiedName(found) : key,
      state,
      reason,
      records,
      rows,
      purges,
    }));
  }

  count(targets: readonly TableTargets[]): void {
    for (const { source, records, rows, selectors } of targets) {
      const entry = this.#entries.find(({ found }) => found && qualifiedName(found) === source);
      if (!entry) continue;
      entry.records += records;
      entry.rows += rows;
      entry.purges += selectors.length;
    }
  }

  /**
   * Looks at each table, and installs triggers that are missing.
   *
   * @param isNew the connection is new, so that nothing is known.
   * @returns the tables whose changes may have gone unseen.
   * @throws HotpathError `HOTPATH_CONFIG_INVALID` at the start, if the mapping does not fit the database.
   */
  async look(session: Session, isNew: boolean): Promise<readonly MappedTable[]> {
    const known = this.#entries.flatMap(({ found }) => (found ? [found] : []));
    const states = await readTableStates(session, known);
    const unseen: MappedTable[] = [];
    for (const entry of this.#entries) {
      const state = entry.found && states.get(qualifiedName(entry.found));
      if (!isNew && !this.#isDue(entry, state)) continue;
      if (await this.#follow(session, entry)) unseen.push(entry.mapped);
    }
    this.#isStarted = true;
    return unseen;
  }

  #isDue({ state, seen, attempts, nextAttemptAt }: Entry, now: TableState | undefined): boolean {
    if (state === 'following') {
      if (now?.structure !== seen?.structure || now?.triggers !== seen?.triggers) return true;
      if (attempts === 0) return false;
    }
    return performance.now() >= nextAttemptAt;
  }

  /** @returns whether changes may have gone unseen. */
  async #follow(session: Session, entry: Entry): Promise<boolean> {
    const { key, mapped } = entry;
    try {
      const { table, wereMissing, isIncomplete } = await installTable(session, key, mapped, this.#installs);
      if (this.#entries.some((other) => other !== entry && other.found?.oid === table.oid))
        throw new HotpathError('HOTPATH_CONFIG_INVALID', `purgeOnChange: ${key}: the table is named twice`);
      const wasFollowed = entry.state === 'following';
      const before = entry.seen?.structure;
      entry.seen = (await readTableStates(session, [table])).get(qualifiedName(table));
      entry.found = table;
      entry.attempts = isIncomplete ? entry.attempts + 1 : 0;
      this.#pause(entry);
      this.#set(entry, 'following', null);
      // The rows of a partition that was attached or detached came or went without a trigger.
      const hasOtherRows = before !== undefined && before !== entry.seen?.structure;
      return wereMissing || hasOtherRows || (this.#isStarted && !wasFollowed);
    } catch (error) {
      if (!isHotpathError(error) && !OF_TABLE.test(String((error as { code?: unknown }).code))) throw error;
      if (!this.#isStarted) throw error;
      return this.#fail(entry, error as Error);
    }
  }

  /** @returns whether the table is newly gone: responses that have read it are void. */
  #fail(entry: Entry, error: Error): boolean {
    const wasFollowed = entry.state === 'following';
    entry.attempts++;
    entry.seen = undefined;
    this.#pause(entry);
    const reason = isHotpathError(error)
      ? error.message.replace(/^purgeOnChange: /, '')
      : `${entry.key}: ${error.message}`;
    const isMissing = (error as Partial<MissingTable>).isMissing === true;
    if (reason !== entry.reason) {
      const then = isMissing
        ? 'It is followed again once it exists.'
        : 'Its responses are purged every maxStaleness until it can be followed.';
      reportFault('purgeOnChange', new Error(`${reason}. ${then} The other tables are followed.`));
    }
    this.#set(entry, isMissing ? 'missing' : 'failed', reason);
    return wasFollowed;
  }

  /** A table that is gone is looked for at each look, others ever more seldom: an attempt makes writers wait. */
  #pause(entry: Entry): void {
    const isWaiting = entry.attempts > 0 && entry.state !== 'missing';
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(entry.attempts - 1, 10));
    entry.nextAttemptAt = isWaiting ? performance.now() + pause : 0;
  }

  #set(entry: Entry, state: FollowedTable['state'], reason: string | null): void {
    entry.state = state;
    entry.reason = reason;
  }
}
