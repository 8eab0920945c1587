import { unawaited } from '../../../runtime/guard.js';
import { type Timers, withTimeout } from '../timers.js';
import type { LogReplica, SharedClock } from './log-replica.js';
import type { LogStream, StreamEntry, StreamLink, StreamState } from './redis-stream.js';

/** Times of the follower. Milliseconds. */
export interface LogReaderTimes {
  /** How often the server is heard at least: a read waits this long for a record. Default 1,000. */
  readonly heartbeat?: number;
  /** How much longer an answer may take. Default 2,000. */
  readonly slack?: number;
}

export interface LogReaderSetup extends LogReaderTimes {
  /** A connection of its own: a blocking read holds everything else up. */
  readonly link: StreamLink;
  readonly view: LogReplica;
  readonly clock: SharedClock;
  readonly timers: Timers;
  readonly fault: (error: unknown) => void;
  /** Another epoch is followed, or the server is heard again after a silence. */
  readonly onChange: () => void;
}

/** Records that are read at once; they are taken in within a few milliseconds. */
const CHUNK = 500;

/** Epochs begun in one go before the connection is given up: others are doing the same, or nothing helps. */
const MAX_ATTEMPTS = 5;

/**
 * Reads the stream, record by record, on one connection after the other. On each, and at every heartbeat, it makes
 * sure that what it reads is the history that it knows; where it is not, a new epoch begins, and voids what was
 * computed before.
 */
export class LogReader {
  readonly #setup: Required<LogReaderSetup>;
  readonly #remove: (() => void)[];
  /** Counts connections: what an earlier one still answers is of no interest. */
  #session = 0;
  #cursor = '0-0';
  #caughtUp = false;
  /** Everything that was acknowledged until then has been read here. */
  #heardAt = Number.NEGATIVE_INFINITY;
  #lag = 0;
  /** The connection of which the server was asked for its name. */
  #checked = 0;
  /** Name of the server that was asked last; '' for one that may not be asked; `undefined` before. */
  #server: string | undefined;
  /** The writer has a connection that may be newer than ours. */
  #isOlder = false;

  constructor(setup: LogReaderSetup) {
    this.#setup = { heartbeat: 1000, slack: 2000, ...setup };
    const { link } = this.#setup;
    this.#remove = [
      link.onLost(() => this.#lose()),
      link.onReady((stream) => void unawaited(this.#follow(stream, ++this.#session), 'redis log')),
    ];
  }

  /** Our clock when the log was last known to be read to its end; `-Infinity` for never. */
  get heardAt(): number {
    return this.#heardAt;
  }

  /** Nothing suggests that records are missing here: the server was heard lately. */
  get isInContact(): boolean {
    const { timers, heartbeat, slack } = this.#setup;
    return timers.now() - this.#heardAt <= heartbeat + slack;
  }

  /** The connection stands, and every record that it found was read. */
  get isCaughtUp(): boolean {
    return this.#caughtUp;
  }

  /** Records that were still to be read when the server was last asked. */
  get lag(): number {
    return this.#lag;
  }

  /** The server may not be asked its name, so every connection may be to another. */
  get isNameless(): boolean {
    return this.#server === '';
  }

  /**
   * The writer has a new connection, perhaps to another server than the one followed here: then that one is followed.
   * Of a server without a name nobody knows, so it counts as another.
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
      // The writer's connection is lost as well; the next one is looked at.
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
      // Whatever it was, a connection that is made anew begins with all the checks.
      link.restart();
    }
  }

  /** Compares the stream with what is known of it, and begins a new epoch where they don't fit. */
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
        throw new Error('READONLY the log was asked of a replica');
      this.#server = state.server;
      this.#checked = this.#session;
      if (this.isNameless && this.#isOlder) return this.#restart();
      // Where the server may not be asked its name, every connection may be to another.
      const isForeign = this.isNameless ? unknownServer : !state.epoch.endsWith(`.${state.server}`);
      const isOther = this.#isOtherHistory(state, known);
      if (state.epoch === '' || isForeign || isOther) {
        // An epoch that another instance begins meanwhile is no better, where records are missing.
        const expected = isOther ? undefined : state.epoch;
        const begun = await withTimeout(timers, slack, stream.begin(expected, applied));
        if (isOver()) return;
        unknownServer = false;
        // Followed from its first record, it is what the next check looks for.
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
    if (!isOver()) throw new Error('the log finds no epoch to agree on');
  }

  /**
   * Whether records that were applied here are missing from the stream: a purge that they stand for may not be known to
   * others. An epoch proves nothing by its name: the address of a server may move to another and back, and a server may
   * load an older file. So only the record that was applied last, in its place, makes the stream one to go on with.
   *
   * In the epoch that is followed, a record may also have been dropped for its age: that shows as a hole.
   *
   * @param known position up to which records had been acknowledged when the stream was asked.
   */
  #isOtherHistory(state: StreamState, known: number): boolean {
    const { positions, isOwnMissing } = this.#setup.view;
    const { epoch, applied } = positions;
    if (epoch === undefined) return false;
    if (isOwnMissing || state.last < known) return true;
    if (this.#isContinued(state)) return false;
    return state.epoch !== epoch || state.first <= applied;
  }

  /** Whether the record that was applied last is in its place, so that the records behind it are those still to be read. */
  #isContinued({ record }: StreamState): boolean {
    const { lastText } = this.#setup.view;
    return lastText !== undefined && record === lastText;
  }

  /** Reads until it is time to check again. */
  async #read(stream: LogStream, isOver: () => boolean): Promise<void> {
    const { view, timers, heartbeat, slack } = this.#setup;
    const until = timers.now() + heartbeat;
    for (;;) {
      const sent = timers.now();
      const block = this.#caughtUp ? heartbeat : 0;
      const { epoch, applied, known } = view.positions;
      // One behind the other on the same connection: the state is that of the moment of the read.
      const reading = stream.read(this.#cursor, CHUNK, block);
      const checking = stream.state(applied);
      void unawaited(checking); // the read fails as well, and reports it
      const entries = await withTimeout(timers, block + slack, reading);
      if (isOver()) return;
      if (entries.length > 0) {
        const state = await withTimeout(timers, slack, checking);
        if (isOver()) return;
        // The records stand behind others than those that were applied here: the next check begins a new epoch.
        if (this.#isOtherHistory(state, known)) return;
        this.#take(entries, epoch === undefined || this.#isContinued(state));
      }
      const isAll = entries.length < CHUNK;
      // What an empty answer means, the next check says: an emptied stream answers nothing either.
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

  /** @param isContinued whether they are known to stand behind the record that was applied last. */
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
