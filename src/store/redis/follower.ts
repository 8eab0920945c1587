import { unawaited } from '../../runtime/guard.js';
import type { LogView, SharedClock } from './log-view.js';
import type { LogStream, StreamLink, StreamState } from './stream.js';
import { type Timers, within } from './timers.js';

/** Times of the follower. Milliseconds. */
export interface FollowerTimes {
  /** How often the server is heard at least: a read waits this long for a record. Default 1,000. */
  readonly heartbeat?: number;
  /** How much longer an answer may take. Default 2,000. */
  readonly slack?: number;
}

export interface FollowerSetup extends FollowerTimes {
  /** A connection of its own: a blocking read holds everything else up. */
  readonly link: StreamLink;
  readonly view: LogView;
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
export class Follower {
  readonly #setup: Required<FollowerSetup>;
  readonly #remove: (() => void)[];
  /** Counts connections: what an earlier one still answers is of no interest. */
  #session = 0;
  #cursor = '0-0';
  #caughtUp = false;
  /** Everything that was acknowledged until then has been read here. */
  #heardAt = Number.NEGATIVE_INFINITY;
  #lag = 0;
  #isNameless = false;
  /** The writer has a connection that may be newer than ours. */
  #isOlder = false;

  constructor(setup: FollowerSetup) {
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
    return this.#isNameless;
  }

  /**
   * The writer has a new connection. Of a server without a name nobody knows whether it is the one followed here,
   * so it is followed anew.
   */
  renew(): void {
    this.#isOlder = true;
    if (this.#isNameless) this.#restart();
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
      const { applied } = view.positions;
      const state = await within(timers, slack, stream.state(applied));
      if (isOver()) return;
      clock.sample(sent, timers.now(), state.time);
      if (state.role !== '' && state.role !== 'master')
        throw new Error('READONLY the log was asked of a replica');
      this.#isNameless = state.server === '';
      if (this.#isNameless && this.#isOlder) return this.#restart();
      // Where the server may not be asked its name, every connection may be to another.
      const isForeign = this.#isNameless ? unknownServer : !state.epoch.endsWith(`.${state.server}`);
      if (state.epoch === '' || isForeign || this.#isOtherHistory(state)) {
        await within(timers, slack, stream.begin(state.epoch, applied));
        unknownServer = false;
        continue;
      }
      this.#lag = Math.max(0, state.last - applied);
      if (state.epoch !== view.positions.epoch && !this.#isContinued(state)) {
        this.#cursor = '0-0';
        this.#caughtUp = false;
      } else if (state.last === applied) {
        this.#hear(sent);
      }
      return;
    }
    if (!isOver()) throw new Error('the log finds no epoch to agree on');
  }

  /** The epoch that we follow, but not with the records that we have read. */
  #isOtherHistory(state: StreamState): boolean {
    const { positions } = this.#setup.view;
    if (state.epoch !== positions.epoch) return false;
    return state.last < positions.applied || (state.first <= positions.applied && !this.#isContinued(state));
  }

  /** What we have read last is there, so what follows it is what we lack. */
  #isContinued({ record, last }: StreamState): boolean {
    const { positions, lastText } = this.#setup.view;
    if (positions.epoch === undefined || last < positions.applied) return false;
    return lastText === undefined || record === lastText;
  }

  /** Reads until it is time to check again. */
  async #read(stream: LogStream, isOver: () => boolean): Promise<void> {
    const { view, timers, heartbeat, slack, onChange } = this.#setup;
    const until = timers.now() + heartbeat;
    for (;;) {
      const sent = timers.now();
      const block = this.#caughtUp ? heartbeat : 0;
      const entries = await within(timers, block + slack, stream.read(this.#cursor, CHUNK, block));
      if (isOver()) return;
      const { epoch } = view.positions;
      for (const entry of entries) {
        view.take(entry);
        this.#cursor = entry.id;
      }
      if (view.positions.epoch !== epoch) onChange();
      const isAll = entries.length < CHUNK;
      // What an empty answer means, the next check says: an emptied stream answers nothing either.
      if (isAll && entries.length > 0) this.#hear(sent);
      this.#caughtUp ||= isAll;
      if (entries.length === 0 || timers.now() >= until) return;
    }
  }

  #hear(at: number): void {
    const wasSilent = !this.isInContact;
    this.#heardAt = Math.max(this.#heardAt, at);
    if (wasSilent) this.#setup.onChange();
  }
}
