import { formatRecord, type RecordBody } from '../../src/store/redis/log/log-records.js';
import type {
  AppendAnswer,
  LogStream,
  StreamEntry,
  StreamLink,
  StreamState,
} from '../../src/store/redis/log/redis-stream.js';
import type { VirtualTime } from './virtual-time.js';

interface Data {
  readonly exists: boolean;
  /** The last assigned id. */
  readonly last: number;
  readonly entries: readonly StreamEntry[];
  readonly values: ReadonlyMap<string, unknown>;
}

const NOTHING: Data = { exists: false, last: 0, entries: [], values: new Map() };

/** State shared by all processes that simulate the same Redis. */
export interface ServerKind {
  readonly maxRecords: number;
  readonly isNamed: boolean;
}

/** A simulated Redis process for the log and a store of values: the Lua scripts, in TypeScript. */
export class SimulatedServer {
  /** '' when its access rules forbid asking for the name. */
  readonly name: string;
  /** Immutable, so a snapshot is a reference. */
  data: Data;
  readonly #time: VirtualTime;
  readonly #maxRecords: number;
  /** The clock of the server is independent of the clocks of the instances. */
  #clockOffset: number;
  #waiters: (() => void)[] = [];
  #held: (() => void)[] | undefined;
  #isFenced = false;

  constructor(time: VirtualTime, { maxRecords, isNamed }: ServerKind, data: Data = NOTHING) {
    this.#time = time;
    this.#maxRecords = maxRecords;
    this.data = data;
    this.#clockOffset = Math.floor(time.random() * 1e12);
    const name = Math.floor(time.random() * 2 ** 50).toString(36);
    this.name = isNamed ? name : '';
  }

  /** Runs a command unless the process is paused; otherwise after the pause. */
  execute(command: () => void): void {
    if (this.#held) this.#held.push(command);
    else command();
  }

  pause(): void {
    this.#held ??= [];
  }

  /** Never replies again: no log can be correct with two processes of the same Redis at once. */
  fence(): void {
    this.#isFenced = true;
    this.pause();
  }

  resume(): void {
    if (this.#isFenced) return;
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const command of held) command();
  }

  empty(): void {
    this.data = NOTHING;
  }

  /** Shifts the clock of the server, in milliseconds. */
  setClock(by: number): void {
    this.#clockOffset += by;
  }

  state(applied: number): StreamState {
    const { last, entries } = this.data;
    return {
      last,
      epoch: this.#epoch,
      first: entries[0]?.position ?? 0,
      record: entries.find(({ position }) => position === applied)?.text ?? '',
      server: this.name,
      role: 'master',
      time: this.#clock,
    };
  }

  begin(expected: string | undefined, known: number): StreamEntry | undefined {
    if (expected !== undefined && this.#epoch !== expected) return undefined;
    this.#begin(Math.max(this.data.last, known) + 1);
    return this.data.entries.at(-1);
  }

  append(epoch: string, known: number, records: readonly RecordBody[]): AppendAnswer {
    if (this.name !== '' && !epoch.endsWith(`.${this.name}`)) return { result: 'epoch' };
    const isNew = !this.data.exists;
    if (isNew) this.#begin(known + 1);
    else if (this.#epoch === '' || this.#epoch !== epoch) return { result: 'epoch' };
    else if (this.data.last < known) return { result: 'behind' };
    const position = this.data.last + 1;
    const inForce = this.#epoch;
    for (const body of records) this.#add(this.data.last + 1, formatRecord(inForce, body, this.#clock));
    return { result: isNew ? 'new' : 'ok', position, epoch: inForce };
  }

  /** @param done receives the entries, later when there are none yet. */
  read(after: number, count: number, block: number, done: (entries: StreamEntry[]) => void): void {
    const found = () => this.data.entries.filter(({ position }) => position > after).slice(0, count);
    const entries = found();
    if (entries.length > 0 || block === 0) return done(entries);
    const finish = () => {
      cancel();
      this.#waiters = this.#waiters.filter((waiter) => waiter !== look);
      done(found());
    };
    const look = () => {
      if (found().length > 0) finish();
    };
    const cancel = this.#time.after(block, () => this.execute(finish));
    this.#waiters.push(look);
  }

  set(key: string, value: unknown): void {
    this.data = { ...this.data, values: new Map(this.data.values).set(key, value) };
  }

  get #epoch(): string {
    const { entries, last } = this.data;
    const end = entries.at(-1);
    return end?.position === last ? (/^\d+ (\S+) /.exec(end.text)?.[1] ?? '') : '';
  }

  get #clock(): number {
    return Math.floor(this.#clockOffset + this.#time.now());
  }

  #begin(position: number): void {
    const random = Math.floor(this.#time.random() * 2 ** 50).toString(36);
    this.#add(
      position,
      formatRecord(`${random}.${this.name}`, { code: 'e', cause: 'app', value: '' }, this.#clock),
    );
  }

  #add(position: number, text: string): void {
    const entries = [...this.data.entries, { id: `${position}-0`, position, text }].slice(-this.#maxRecords);
    this.data = { ...this.data, exists: true, last: position, entries };
    for (const look of [...this.#waiters]) look();
  }
}

/** Current faults of one connection. */
export interface LinkFaults {
  /** Commands are executed, and their replies are lost. */
  isDeaf: boolean;
  /** Commands never arrive. */
  isMute: boolean;
  /** Maximum time for a message. Milliseconds. */
  latency: number;
}

/** A connection to the server that is current when the connection is made. */
export class SimulatedLink implements StreamLink {
  readonly faults: LinkFaults;
  readonly #time: VirtualTime;
  readonly #serverNow: () => SimulatedServer | undefined;
  readonly #isFlattering: boolean;
  /** Records that were read over all connections. */
  readonly #read = new Map<number, string>();
  readonly #ready = new Set<(stream: LogStream) => void>();
  readonly #lost = new Set<() => void>();
  #connection: Connection | undefined;
  #isClosed = false;
  #attempts = 0;

  /**
   * @param serverNow the server for a new connection; `undefined` while there is none.
   * @param isFlattering pretends that the records the reader has read are in the stream.
   */
  constructor(
    time: VirtualTime,
    serverNow: () => SimulatedServer | undefined,
    latency: number,
    isFlattering = false,
  ) {
    this.#isFlattering = isFlattering;
    this.faults = { isDeaf: false, isMute: false, latency };
    this.#time = time;
    this.#serverNow = serverNow;
    this.#connect();
  }

  get stream(): Connection | undefined {
    return this.#connection;
  }

  onReady(listener: (stream: LogStream) => void): () => void {
    this.#ready.add(listener);
    if (this.#connection) listener(this.#connection);
    return () => this.#ready.delete(listener);
  }

  onLost(listener: () => void): () => void {
    this.#lost.add(listener);
    return () => this.#lost.delete(listener);
  }

  /** Breaks the connection, and makes another a little later. */
  restart(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    if (!connection) return;
    connection.end();
    for (const listener of this.#lost) listener();
    this.#connect();
  }

  close(): void {
    this.#isClosed = true;
    this.#connection?.end();
    this.#connection = undefined;
  }

  #connect(): void {
    const delay = Math.min(1000, 50 * 2 ** this.#attempts++) * (0.5 + this.#time.random() / 2);
    this.#time.after(delay, () => {
      if (this.#isClosed) return;
      const server = this.#serverNow();
      if (!server || this.faults.isMute || this.faults.isDeaf) return this.#connect();
      this.#attempts = 0;
      this.#connection = new Connection(
        this.#time,
        server,
        this.faults,
        this.#isFlattering ? this.#read : undefined,
      );
      for (const listener of this.#ready) listener(this.#connection);
    });
  }
}

/** One connection to one process. Messages keep their order. */
export class Connection implements LogStream {
  readonly server: SimulatedServer;
  readonly #time: VirtualTime;
  readonly #faults: LinkFaults;
  readonly #flattery: Map<number, string> | undefined;
  readonly #waiting: ((next: () => void) => void)[] = [];
  readonly #pending = new Set<(error: Error) => void>();
  #isOver = false;
  #lastThere = 0;
  #lastBack = 0;

  /** @param flattery records that the stream claims to contain, true or not. */
  constructor(
    time: VirtualTime,
    server: SimulatedServer,
    faults: LinkFaults,
    flattery?: Map<number, string>,
  ) {
    this.#time = time;
    this.server = server;
    this.#faults = faults;
    this.#flattery = flattery;
  }

  async state(applied: number): Promise<StreamState> {
    const state = await this.#call<StreamState>((done) => done(this.server.state(applied)));
    const record = this.#flattery?.get(applied);
    return record === undefined ? state : { ...state, record, last: Math.max(state.last, applied) };
  }

  async begin(expected: string | undefined, known: number): Promise<StreamEntry | undefined> {
    const begun = await this.#call<StreamEntry | undefined>((done) =>
      done(this.server.begin(expected, known)),
    );
    if (begun) this.#flattery?.set(begun.position, begun.text);
    return begun;
  }

  append(epoch: string, known: number, records: readonly RecordBody[]): Promise<AppendAnswer> {
    return this.#call((done) => done(this.server.append(epoch, known, records)));
  }

  async read(after: string, count: number, block: number): Promise<StreamEntry[]> {
    const entries = await this.#call<StreamEntry[]>((done) =>
      this.server.read(Number.parseInt(after, 10), count, block, done),
    );
    for (const { position, text } of entries) this.#flattery?.set(position, text);
    return entries;
  }

  get(key: string): Promise<unknown> {
    return this.#call((done) => done(this.server.data.values.get(key)));
  }

  set(key: string, value: unknown): Promise<void> {
    return this.#call((done) => done(this.server.set(key, value)));
  }

  end(): void {
    this.#isOver = true;
    for (const reject of this.#pending) reject(new Error('the connection was lost'));
    this.#pending.clear();
  }

  #call<T>(command: (done: (answer: T) => void) => void): Promise<T> {
    if (this.#isOver) return Promise.reject(new Error('the connection was lost'));
    return new Promise((resolve, reject) => {
      this.#pending.add(reject);
      const { isDeaf, isMute } = this.#faults;
      this.#lastThere = Math.max(this.#lastThere, this.#time.now() + this.#latency());
      if (isMute) return;
      // Messages in flight still arrive, even if the connection has ended by then.
      this.#time.after(this.#lastThere - this.#time.now(), () =>
        this.#execute((next) =>
          command((answer) => {
            next();
            this.#lastBack = Math.max(this.#lastBack, this.#time.now() + this.#latency());
            if (isDeaf || this.#faults.isDeaf) return;
            this.#time.after(this.#lastBack - this.#time.now(), () => {
              if (!this.#isOver && this.#pending.delete(reject)) resolve(answer);
            });
          }),
        ),
      );
    });
  }

  /** A blocking read delays later commands of the same connection. */
  #execute(command: (next: () => void) => void): void {
    this.#waiting.push(command);
    if (this.#waiting.length === 1) this.#executeFirst();
  }

  #executeFirst(): void {
    const [command] = this.#waiting;
    if (!command) return;
    this.server.execute(() =>
      command(() => {
        this.#waiting.shift();
        this.#executeFirst();
      }),
    );
  }

  #latency(): number {
    return this.#time.random() * this.#faults.latency;
  }
}
