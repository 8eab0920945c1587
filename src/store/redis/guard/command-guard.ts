import { performance } from 'node:perf_hooks';
import { breakerEvents } from '../../../events/channels.js';
import { type BreakerState, CircuitBreaker, type Start } from '../../../runtime/circuit-breaker.js';
import { guarded, unawaited } from '../../../runtime/guard.js';
import type { RedisClient } from '../connection/ioredis-client.js';
import type { RedisLink } from '../connection/reconnecting-link.js';
import { classifyRedisError, DeadlineError, type FaultReporter } from '../redis-errors.js';

/** The outcome of a command. Commands never throw, because the cache works without Redis. */
export type GuardedReply<T> = { readonly value: T } | { readonly unavailable: string };

/** Limits of what Redis may cost. Times in milliseconds. */
export interface GuardBounds {
  /** Deadline of a read, which a client waits for. Default: 50. */
  readonly readTimeout?: number;
  /** Deadline of a write, which no client waits for. Default: 250. */
  readonly writeTimeout?: number;
  /**
   * Maximum number of reads, and of writes, without a reply, including those past their deadline. Default:
   * 1,000.
   */
  readonly maxOutstanding?: number;
  /** Maximum bytes of writes without a reply. Default: 16 MB. */
  readonly maxOutstandingBytes?: number;
  /** First wait of an open breaker; it doubles. Default: 500. */
  readonly firstBackoff?: number;
  /** Longest wait of an open breaker. Default: 10,000. */
  readonly maxBackoff?: number;
  /**
   * A connection of ours with pending commands is replaced after this time without a reply. Default: 5,000.
   */
  readonly hungAfter?: number;
}

/** The counters of one operation. They only grow. */
export interface OperationCounts {
  /** Commands that were sent. */
  sent: number;
  /** Commands with a reply in time, and their total time in milliseconds. */
  answered: number;
  latency: number;
  /**
   * Commands without a reply, by reason: `timeout`, `connection`, `oom`, …; not sent: `down`, `open`, `busy`.
   */
  readonly unavailable: Map<string, number>;
}

export interface GuardStats {
  /** Whether a connection accepts commands. */
  readonly isReady: boolean;
  /** State of the breakers. */
  readonly reads: BreakerState;
  readonly writes: BreakerState;
  /** Commands without a reply. */
  readonly outstanding: number;
  /** Replies after their deadline, which were dropped. */
  readonly late: number;
  readonly operations: ReadonlyMap<string, Readonly<OperationCounts>>;
}

/** Error replies about the command or the value, not about the server's health. */
const aboutTheCommand = new Set(['wrongtype', 'noscript', 'crossslot', 'err']);

interface CommandLane {
  readonly where: string;
  /** Milliseconds. */
  readonly timeout: number;
  readonly breaker: CircuitBreaker;
  outstanding: number;
}

type Command<T> = (client: RedisClient) => Promise<T>;

/** A command, with the rules that judge it. */
interface Wanted<T> {
  readonly lane: CommandLane;
  readonly operation: string;
  readonly command: Command<T>;
  readonly bytes: number;
  /** Milliseconds. */
  readonly timeout: number;
}

/** A command in flight. */
interface Sending<T> {
  readonly client: RedisClient;
  readonly counts: OperationCounts;
  /** Judges an error. @returns a reply if the error is not about the server's health. */
  failed(error: unknown): GuardedReply<T> | undefined;
}

/**
 * Protects requests from a Redis that is down, hung, slow or full. A command is sent only on a ready
 * connection. It has a deadline, and it counts against a limit until its reply arrives, so a hung server
 * collects no queue. Reads and writes have separate breakers: a full server rejects writes and serves reads.
 */
export class CommandGuard {
  readonly #link: RedisLink;
  readonly #faults: FaultReporter;
  readonly #bounds: Required<GuardBounds>;
  readonly #reads: CommandLane;
  readonly #writes: CommandLane;
  readonly #operations = new Map<string, OperationCounts>();
  #outstandingBytes = 0;
  #late = 0;
  /** When the connection last replied, or when its oldest pending command was sent. */
  #heardAt = 0;
  #lookedForMasterAt = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(link: RedisLink, faults: FaultReporter, bounds: GuardBounds = {}) {
    this.#link = link;
    this.#faults = faults;
    this.#bounds = {
      readTimeout: 50,
      writeTimeout: 250,
      maxOutstanding: 1000,
      maxOutstandingBytes: 16 * 1024 ** 2,
      firstBackoff: 500,
      maxBackoff: 10_000,
      hungAfter: 5000,
      ...bounds,
    };
    const { firstBackoff, maxBackoff, readTimeout, writeTimeout } = this.#bounds;
    const lane = (name: 'reads' | 'writes', where: string, timeout: number): CommandLane => ({
      where,
      timeout,
      breaker: new CircuitBreaker(firstBackoff, maxBackoff, undefined, (state) => {
        if (breakerEvents.hasSubscribers) breakerEvents.publish({ lane: name, state });
      }),
      outstanding: 0,
    });
    this.#reads = lane('reads', 'redis read', readTimeout);
    this.#writes = lane('writes', 'redis write', writeTimeout);
  }

  /** @param operation the name for its counters. */
  read<T>(operation: string, command: Command<T>): Promise<GuardedReply<T>> {
    return this.#run(this.#reads, operation, command, 0);
  }

  /**
   * Callback form of `read`, without promises. @param done called once, later, with the reply; must not
   * throw.
   */
  ask<T>(operation: string, command: Command<T>, done: (answer: GuardedReply<T>) => void): void {
    this.#begin({ lane: this.#reads, operation, command, bytes: 0, timeout: this.#reads.timeout }, done);
  }

  /** @param bytes size of the command's data. */
  write<T>(operation: string, command: Command<T>, bytes = 0): Promise<GuardedReply<T>> {
    return this.#run(this.#writes, operation, command, bytes);
  }

  /** A write that a client waits for: counted as a write, with the deadline of a read. */
  awaitedWrite<T>(operation: string, command: Command<T>): Promise<GuardedReply<T>> {
    return this.#run(this.#writes, operation, command, 0, this.#reads.timeout);
  }

  stats(): GuardStats {
    return {
      isReady: this.#link.client !== undefined,
      reads: this.#reads.breaker.state,
      writes: this.#writes.breaker.state,
      outstanding: this.#reads.outstanding + this.#writes.outstanding,
      late: this.#late,
      operations: this.#operations,
    };
  }

  /** Stops sending commands. */
  close(): void {
    this.#isClosed = true;
  }

  #run<T>(
    lane: CommandLane,
    operation: string,
    command: Command<T>,
    bytes: number,
    timeout = lane.timeout,
  ): Promise<GuardedReply<T>> {
    return new Promise((resolve) => this.#begin({ lane, operation, command, bytes, timeout }, resolve));
  }

  #begin<T>(wanted: Wanted<T>, done: (answer: GuardedReply<T>) => void): void {
    const { lane, bytes } = wanted;
    const counts = this.#countsOf(wanted.operation);
    this.#endIfHung();
    const client = this.#isClosed ? undefined : this.#link.client;
    if (!client) return callOnNextTick(done, unavailable(counts, 'down'));
    const isTooMuch = bytes > 0 && this.#outstandingBytes + bytes > this.#bounds.maxOutstandingBytes;
    if (isTooMuch || lane.outstanding >= this.#bounds.maxOutstanding)
      return callOnNextTick(done, unavailable(counts, 'busy'));
    if (!lane.breaker.lets()) return callOnNextTick(done, unavailable(counts, 'open'));
    let word: string | undefined;
    const failed = (error: unknown): GuardedReply<T> | undefined => {
      word = classifyRedisError(error);
      this.#faults.tell(error, lane.where);
      return aboutTheCommand.has(word) ? unavailable(counts, word) : undefined;
    };
    const nothing = () => {
      if (word === 'readonly' && lane.breaker.state !== 'closed') this.#lookForMaster();
      done(unavailable(counts, word ?? 'open'));
    };
    const start: Start<GuardedReply<T>> = (resolve, reject) =>
      this.#send(wanted, { client, counts, failed }, resolve, reject);
    lane.breaker.run(start, done, nothing);
  }

  /** Rejects at the deadline. The server may still run the command, so callers must tolerate that. */
  #send<T>(
    { lane, command, bytes, timeout }: Wanted<T>,
    { client, counts, failed }: Sending<T>,
    resolve: (answer: GuardedReply<T>) => void,
    reject: (error: unknown) => void,
  ): void {
    let isLate = false;
    let isSettled = false;
    const fail = (error: unknown) => {
      let answer: GuardedReply<T> | undefined;
      try {
        answer = failed(error);
      } catch {
        // An error that cannot be judged counts as a failure.
      }
      if (answer) resolve(answer);
      else reject(error);
    };
    const miss = guarded('redis', () => {
      if (isSettled) return;
      isLate = true;
      fail(new DeadlineError(timeout));
    });
    // If this process was slow, the reply may have arrived already: it is read before `miss` runs.
    const deadline = setTimeout(
      guarded('redis', () => setImmediate(miss)),
      timeout,
    );
    deadline.unref(); // the socket keeps the process alive
    const sentAt = performance.now();
    const settled = () => {
      isSettled = true;
      clearTimeout(deadline);
      lane.outstanding--;
      this.#outstandingBytes -= bytes;
      this.#heardAt = performance.now();
      if (isLate) this.#late++;
    };
    if (this.#reads.outstanding + this.#writes.outstanding === 0) this.#heardAt = sentAt;
    counts.sent++;
    lane.outstanding++;
    this.#outstandingBytes += bytes;
    const answered = call(this.#link, client, command).then(
      (value) => {
        settled();
        if (isLate) return;
        counts.answered++;
        counts.latency += this.#heardAt - sentAt;
        resolve({ value });
      },
      (error: unknown) => {
        settled();
        if (!isLate) fail(error);
      },
    );
    void unawaited(answered, 'redis');
  }

  /** Without a deadline of ours, a connection to a dead host stays open for a quarter of an hour. */
  #endIfHung(): void {
    if (this.#reads.outstanding + this.#writes.outstanding === 0) return;
    if (performance.now() - this.#heardAt < this.#bounds.hungAfter) return;
    this.#heardAt = performance.now();
    this.#restart();
  }

  /**
   * A demoted primary may keep its connections, so a new connection goes to the current owner of the address.
   */
  #lookForMaster(): void {
    if (performance.now() - this.#lookedForMasterAt < this.#bounds.maxBackoff) return;
    this.#lookedForMasterAt = performance.now();
    this.#restart();
  }

  /** An exception here would lose the reply of the command that caused it. */
  #restart(): void {
    try {
      this.#link.restart();
    } catch (error) {
      this.#faults.tell(error, 'redis');
    }
  }

  #countsOf(operation: string): OperationCounts {
    let counts = this.#operations.get(operation);
    if (!counts) {
      counts = { sent: 0, answered: 0, latency: 0, unavailable: new Map() };
      this.#operations.set(operation, counts);
    }
    return counts;
  }
}

function call<T>(link: RedisLink, client: RedisClient, command: Command<T>): Promise<T> {
  try {
    link.corkForThisTurn();
    return command(client);
  } catch (error) {
    return Promise.reject(error);
  }
}

function callOnNextTick<T>(done: (value: T) => void, value: T): void {
  queueMicrotask(guarded('redis', () => done(value)));
}

function unavailable(counts: OperationCounts, word: string): { unavailable: string } {
  counts.unavailable.set(word, (counts.unavailable.get(word) ?? 0) + 1);
  return { unavailable: word };
}
