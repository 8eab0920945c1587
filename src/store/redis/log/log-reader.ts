import { unawaited } from '../../../runtime/guard.js';
import { type Timers, withTimeout } from '../timers.js';
import type { LogReplica, SharedClock } from './log-replica.js';
import type { LogStream, StreamEntry, StreamLink, StreamState } from './redis-stream.js';

/** Times of the reader, in milliseconds. */
export interface LogReaderTimes {
  /**
   * Longest interval between replies of the server: the time that a read waits for a record. Default: 1,000.
   */
  readonly heartbeat?: number;
  /** Additional time that a reply may take. Default: 2,000. */
  readonly slack?: number;
}

export interface LogReaderSetup extends LogReaderTimes {
  /** A connection for this reader only, because a blocking read delays all other commands. */
  readonly link: StreamLink;
  readonly view: LogReplica;
  readonly clock: SharedClock;
  readonly timers: Timers;
  readonly fault: (error: unknown) => void;
  /** Called when another epoch is followed, or the server replies again after a silence. */
  readonly onChange: () => void;
}

/** Records per read; they are applied within a few milliseconds. */
const CHUNK = 500;

/** Attempts to begin an epoch before the connection is dropped. Other instances may be doing the same. */
const MAX_ATTEMPTS = 5;

/**
 * Reads the stream, record by record, and reconnects when necessary. On each connection, and at every
 * heartbeat, it checks that the stream continues the known history. If it does not, a new epoch begins, which
 * invalidates everything computed before.
 */
export class LogReader {
  readonly #setup: Required<LogReaderSetup>;
  readonly #remove: (() => void)[];
  /** Counts connections, so that replies of an earlier one are ignored. */
  #session = 0;
  #cursor = '0-0';
  #caughtUp = false;
  /** All records that were acknowledged before this time have been read here. */
  #heardAt = Number.NEGATIVE_INFINITY;
  #lag = 0;
  /** The connection whose server has reported its name. */
  #checked = 0;
  /** Name of the last server; '' if the access rules forbid asking; `undefined` before the first reply. */
  #server: string | undefined;
  /** Whether the writer has a connection that may be newer. */
  #isOlder = false;

  constructor(setup: LogReaderSetup) {
    this.#setup = { heartbeat: 1000, slack: 2000, ...setup };
    const { link } = this.#setup;
    this.#remove = [
      link.onLost(() => this.#lose()),
      link.onReady((stream) => void unawaited(this.#follow(stream, ++this.#session), 'redis log')),
    ];
  }

  /** The time at which the log was last read to its end, on our clock; `-Infinity` for never. */
  get heardAt(): number {
    return this.#heardAt;
  }

  /** Whether the server replied recently, so that no records should be missing. */
  get isInContact(): boolean {
    const { timers, heartbeat, slack } = this.#setup;
    return timers.now() - this.#heardAt <= heartbeat + slack;
  }

  /** Whether the connection is ready and every record that it found was read. */
  get isCaughtUp(): boolean {
    return this.#caughtUp;
  }

  /** Records that were unread when the server last replied. */
  get lag(): number {
    return this.#lag;
  }

  /**
   * Whether the access rules forbid asking for the server's name, so that any connection may lead to another
   * server.
   */
  get isNameless(): boolean {
    return this.#server === '';
  }

  /**
   * Handles a new connection of the writer, which may lead to another server than the one followed. The
   * reader then follows that server. A server without a name counts as another.
   */
  async renew(stream: LogStream): Promise<void> {
    const { timers, slack } = this.#setup;
    this.#isOlder = true;
    if (this.isNameless) return this.#restart();
    const session = this.#session;
    try {
      const { server } = await withTimeout(timers, slack, stream.state(0));
      if (this.#session === session && this.#checked === session && server !== this.#server) this.#restart();
    } catch {
      // The writer's connection is lost too; its next connection is checked again.
    }
  }

  close(): void {
    this.#lose();
    for (const remove of this.#remove) remove();
    this.#setup.link.close();
  }

  #restart(): void {
    this.#isOlder = false;
    this.#lose();
    this.#setup.link.restart();
  }

  #lose(): void {
    this.#session++;
    this.#caughtUp = false;
  }

  async #follow(stream: LogStream, session: number): Promise<void> {
    const { link, fault } = this.#setup;
    const isOver = () => session !== this.#session;
    try {
      this.#caughtUp = false;
      await this.#check(stream, isOver, true);
      while (!isOver()) {
        await this.#read(stream, isOver);
        if (!isOver()) await this.#check(stream, isOver, false);
      }
    } catch (error) {
      if (isOver()) return;
      fault(error);
      // Whatever the error was, a new connection begins with all checks.
      link.restart();
    }
  }

  /** Compares the stream with the known history, and begins a new epoch if they differ. */
  async #check(stream: LogStream, isOver: () => boolean, isNew: boolean): Promise<void> {
    const { view, timers, clock, slack } = this.#setup;
    let unknownServer = isNew;
    for (let attempt = 0; attempt < MAX_ATTEMPTS && !isOver(); attempt++) {
      const sent = timers.now();
      const { applied, known } = view.positions;
      const state = await withTimeout(timers, slack, stream.state(applied));
      if (isOver()) return;
      clock.sample(sent, timers.now(), state.time);
      if (state.role !== '' && state.role !== 'master')
        throw new Error('READONLY the server of the invalidation log is a replica');
      this.#server = state.server;
      this.#checked = this.#session;
      if (this.isNameless && this.#isOlder) return this.#restart();
      // Without a name, any connection may lead to another server.
      const isForeign = this.isNameless ? unknownServer : !state.epoch.endsWith(`.${state.server}`);
      const isOther = this.#isOtherHistory(state, known);
      if (state.epoch === '' || isForeign || isOther) {
        // If records are missing, an epoch that another instance begins in the meantime is no better.
        const expected = isOther ? undefined : state.epoch;
        const begun = await withTimeout(timers, slack, stream.begin(expected, applied));
        if (isOver()) return;
        unknownServer = false;
        // The reader follows the new epoch from its first record, which the next check expects.
        if (begun) this.#begin(begun);
        continue;
      }
      this.#lag = Math.max(0, state.last - applied);
      if (view.positions.epoch === undefined) {
        this.#cursor = '0-0';
        this.#caughtUp = false;
      } else if (state.last === applied) {
        this.#hear(sent);
      }
      return;
    }
    if (!isOver()) throw new Error('the instances did not agree on an epoch of the invalidation log');
  }

  /**
   * Whether records that were applied here are missing from the stream, so that other instances may not know
   * a purge. The name of the epoch is no proof: an address may move to another server and back, or a server may load an
   * older file. The history continues only if the record that was applied last is in its
   * place.
   *
   * Within the followed epoch, a record may also have been trimmed for its age. That appears as a hole.
   *
   * @param known position of the last acknowledged record when the stream was read.
   */
  #isOtherHistory(state: StreamState, known: number): boolean {
    const { positions, isOwnMissing } = this.#setup.view;
    const { epoch, applied } = positions;
    if (epoch === undefined) return false;
    if (isOwnMissing || state.last < known) return true;
    if (this.#isContinued(state)) return false;
    return state.epoch !== epoch || state.first <= applied;
  }

  /**
   * Whether the record that was applied last is in its place, so that the records after it are the unread
   * ones.
   */
  #isContinued({ record }: StreamState): boolean {
    const { lastText } = this.#setup.view;
    return lastText !== undefined && record === lastText;
  }

  /** Reads until the next check is due. */
  async #read(stream: LogStream, isOver: () => boolean): Promise<void> {
    const { view, timers, heartbeat, slack } = this.#setup;
    const until = timers.now() + heartbeat;
    for (;;) {
      const sent = timers.now();
      const block = this.#caughtUp ? heartbeat : 0;
      const { epoch, applied, known } = view.positions;
      // Both commands run on one connection in order, so the state is that of the moment of the read.
      const reading = stream.read(this.#cursor, CHUNK, block);
      const checking = stream.state(applied);
      void unawaited(checking); // the read fails too, and reports the error
      const entries = await withTimeout(timers, block + slack, reading);
      if (isOver()) return;
      if (entries.length > 0) {
        const state = await withTimeout(timers, slack, checking);
        if (isOver()) return;
        // If the records follow another history, the next check begins a new epoch.
        if (this.#isOtherHistory(state, known)) return;
        this.#take(entries, epoch === undefined || this.#isContinued(state));
      }
      const isAll = entries.length < CHUNK;
      // The next check interprets an empty reply, because an emptied stream also returns nothing.
      if (isAll && entries.length > 0) this.#hear(sent);
      this.#caughtUp ||= isAll;
      if (entries.length === 0 || view.isOwnMissing || timers.now() >= until) return;
    }
  }

  #begin(begun: StreamEntry): void {
    const { view, onChange } = this.#setup;
    view.begin(begun);
    this.#cursor = begun.id;
    onChange();
  }

  /** @param isContinued whether the entries are known to follow the record that was applied last. */
  #take(entries: readonly StreamEntry[], isContinued: boolean): void {
    const { view, onChange } = this.#setup;
    const { epoch } = view.positions;
    for (const entry of entries) {
      view.take(entry, isContinued);
      this.#cursor = entry.id;
    }
    if (view.positions.epoch !== epoch) onChange();
  }

  #hear(at: number): void {
    const wasSilent = !this.isInContact;
    this.#heardAt = Math.max(this.#heardAt, at);
    if (wasSilent) this.#setup.onChange();
  }
}
