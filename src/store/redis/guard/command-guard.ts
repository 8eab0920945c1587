import { performance } from 'node:perf_hooks';
import { guarded, unawaited } from '../../../runtime/guard.js';
import type { RedisClient } from '../connection/ioredis-client.js';
import type { RedisLink } from '../connection/reconnecting-link.js';
import { classifyRedisError, DeadlineError, type FaultReporter } from '../redis-errors.js';
import { type BreakerState, CircuitBreaker, type Start } from './circuit-breaker.js';

/** What a command came to. It never throws: Redis is a help, not a condition. */
export type GuardedReply<T> = { readonly value: T } | { readonly unavailable: string };

/** Bounds of what Redis may cost. Milliseconds, unless said otherwise. */
export interface GuardBounds {
  /** Deadline of a read: a visitor waits for it. Default 50. */
  readonly readTimeout?: number;
  /** Deadline of a write: nobody waits for it. Default 250. */
  readonly writeTimeout?: number;
  /** Reads, and as many writes, that may be without answer, those past their deadline included. Default 1,000. */
  readonly maxOutstanding?: number;
  /** Bytes of writes that may be without answer. Default 16 MB. */
  readonly maxOutstandingBytes?: number;
  /** First wait of an open breaker; it doubles. Default 500. */
  readonly firstBackoff?: number;
  /** Longest wait of an open breaker. Default 10,000. */
  readonly maxBackoff?: number;
  /** A connection of ours that owes an answer and has been silent for so long is made anew. Default 5,000. */
  readonly hungAfter?: number;
}

/** One operation's numbers; each only grows. */
export interface OperationCounts {
  /** Commands that were sent. */
  sent: number;
  /** Commands that were answered in time, and the time that took in all. Milliseconds. */
  answered: number;
  latency: number;
  /** Why there was no answer, by word: `timeout`, `connection`, `oom`, …; not sent: `down`, `open`, `busy`. */
  readonly unavailable: Map<string, number>;
}

export interface GuardStats {
  /** There is a connection that takes commands. */
  readonly isReady: boolean;
  /** Of the breakers. */
  readonly reads: BreakerState;
  readonly writes: BreakerState;
  /** Commands without answer. */
  readonly outstanding: number;
  /** Answers that came after their deadline, and were dropped. */
  readonly late: number;
  readonly operations: ReadonlyMap<string, Readonly<OperationCounts>>;
}

/** Answers that say something of the command or of the value, not of the server's health. */
const aboutTheCommand = new Set(['wrongtype', 'noscript', 'crossslot', 'err']);

interface CommandLane {
  readonly where: string;
  /** Milliseconds. */
  readonly timeout: number;
  readonly breaker: CircuitBreaker;
  outstanding: number;
}

type Command<T> = (client: RedisClient) => Promise<T>;

/** One command, and how it is judged. */
interface Wanted<T> {
  readonly lane: CommandLane;
  readonly operation: string;
  readonly command: Command<T>;
  readonly bytes: number;
  /** Milliseconds. */
  readonly timeout: number;
}

/** One command on its way. */
interface Sending<T> {
  readonly client: RedisClient;
  readonly counts: OperationCounts;
  /** Judges an error. @returns an answer where it says nothing of the server's health. */
  failed(error: unknown): GuardedReply<T> | undefined;
}

/**
 * What stands between a request and a Redis that may be down, hung, slow or full. A command is sent only on a
 * connection that is ready, has a deadline, and counts against a bound until it is answered, so a hung server
 * collects no queue. Reads and writes are judged apart: a full server refuses writes and reads well.
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
  /** When the connection last gave an answer, or began to owe one. */
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
    const lane = (where: string, timeout: number): CommandLane => ({
      where,
      timeout,
      breaker: new CircuitBreaker(firstBackoff, maxBackoff),
      outstanding: 0,
    });
    this.#reads = lane('redis read', readTimeout);
    this.#writes = lane('redis write', writeTimeout);
  }

  /** @param operation the name it is counted under. */
  read<T>(operation: string, command: Command<T>): Promise<GuardedReply<T>> {
    return this.#run(this.#reads, operation, command, 0);
  }

  /** As `read`, without promises of its own. @param done called once, later, with the answer; it must not throw. */
  ask<T>(operation: string, command: Command<T>, done: (answer: GuardedReply<T>) => void): void {
    this.#begin({ lane: this.#reads, operation, command, bytes: 0, timeout: this.#reads.timeout }, done);
  }

  /** @param bytes what the command carries. */
  write<T>(operation: string, command: Command<T>, bytes = 0): Promise<GuardedReply<T>> {
    return this.#run(this.#writes, operation, command, bytes);
  }

  /** A write that a visitor waits for: judged as a write, with the deadline of a read. */
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

  /** Nothing is sent any more. */
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

  /** Rejects at the deadline. The command may still be done; whoever sends one must not mind. */
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
        // What can't even be told is a failure like any other.
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

  /** A connection whose other end is gone without a word stays open for a quarter of an hour, if nobody ends it. */
  #endIfHung(): void {
    if (this.#reads.outstanding + this.#writes.outstanding === 0) return;
    if (performance.now() - this.#heardAt < this.#bounds.hungAfter) return;
    this.#heardAt = performance.now();
    this.#restart();
  }

  /** A master that became a replica may keep its connections; a new one is made to whoever has the address now. */
  #lookForMaster(): void {
    if (performance.now() - this.#lookedForMasterAt < this.#bounds.maxBackoff) return;
    this.#lookedForMasterAt = performance.now();
    this.#restart();
  }

  /** A throw here would cost the command that has led to it its answer. */
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
    link.gather();
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
