import { performance } from 'node:perf_hooks';
import { guarded, unawaited } from '../../../runtime/guard.js';
import { runInOwnContext } from '../../../runtime/module-context.js';
import type { FaultReporter } from '../redis-errors.js';
import { type ClientInside, destroyClient, type RedisClient, unrefClient } from './ioredis-client.js';

/** A connection to Redis that reconnects. */
export interface RedisLink {
  /** The ready client, if any. A reconnect replaces it, so do not keep it. */
  readonly client: RedisClient | undefined;
  /**
   * Calls the listener on every connect, and at once if the link is ready. @returns a function that removes
   * the listener.
   */
  onReady(listener: (client: RedisClient) => void): () => void;
  /** Calls the listener when a ready connection is lost. @returns a function that removes the listener. */
  onLost(listener: () => void): () => void;
  /**
   * Sends the commands of this turn of the event loop in one write, if the connection is ours. Concurrent
   * requests then cost one system call together.
   */
  corkForThisTurn(): void;
  /** Drops a connection that no longer responds, and opens another. Does nothing for a user's client. */
  restart(): void;
  /** Closes the link for good. Idempotent. A user's client stays open. */
  close(): void;
}

/** Times of a link, in milliseconds. */
export interface LinkTimes {
  /** Wait before the second attempt; doubles with each attempt. Default: 50. */
  readonly firstDelay?: number;
  /** Longest wait between attempts. Default: 5,000. */
  readonly maxDelay?: number;
  /** Time limit of an attempt. Default: 5,000. */
  readonly readyWithin?: number;
}

/** Listeners of a link. An exception in one does not affect the others. */
class Listeners<Args extends unknown[]> {
  readonly #all = new Set<(...args: Args) => void>();
  readonly #faults: FaultReporter;

  constructor(faults: FaultReporter) {
    this.#faults = faults;
  }

  add(listener: (...args: Args) => void): () => void {
    // A new function each time, so that the same listener can be added twice.
    const own = (...args: Args) => listener(...args);
    this.#all.add(own);
    return () => this.#all.delete(own);
  }

  tell(...args: Args): void {
    for (const listener of [...this.#all]) {
      try {
        listener(...args);
      } catch (error) {
        this.#faults.tell(error, 'redis');
      }
    }
  }

  clear(): void {
    this.#all.clear();
  }
}

/**
 * A connection of our own. Each attempt uses a new client, so no command or reply of a dead connection can
 * appear on the next one. If Redis is down at the start, the link keeps trying.
 */
export class OwnLink implements RedisLink {
  readonly #make: () => RedisClient | Promise<RedisClient>;
  readonly #faults: FaultReporter;
  readonly #times: Required<LinkTimes>;
  readonly #ready: Listeners<[RedisClient]>;
  readonly #lost: Listeners<[]>;
  #current: RedisClient | undefined;
  #isReady = false;
  #readyAt = 0;
  #attempts = 0;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #isCorked = false;

  /** Connects immediately, in the background. */
  constructor(make: () => RedisClient | Promise<RedisClient>, faults: FaultReporter, times: LinkTimes = {}) {
    this.#make = make;
    this.#faults = faults;
    this.#times = { firstDelay: 50, maxDelay: 5000, readyWithin: 5000, ...times };
    this.#ready = new Listeners(faults);
    this.#lost = new Listeners(faults);
    void unawaited(this.#connect(), 'redis');
  }

  get client(): RedisClient | undefined {
    return this.#isReady && this.#current?.status === 'ready' ? this.#current : undefined;
  }

  onReady(listener: (client: RedisClient) => void): () => void {
    const remove = this.#ready.add(listener);
    const { client } = this;
    if (client) listener(client);
    return remove;
  }

  onLost(listener: () => void): () => void {
    return this.#lost.add(listener);
  }

  corkForThisTurn(): void {
    const stream = this.#isCorked ? undefined : (this.#current as ClientInside | undefined)?.stream;
    if (!stream?.cork || !stream.uncork) return; // a cluster has one stream for each node
    this.#isCorked = true;
    stream.cork();
    setImmediate(
      guarded('redis', () => {
        this.#isCorked = false;
        stream.uncork?.();
      }),
    );
  }

  restart(): void {
    const client = this.#current;
    // A request may have found the connection hung, but the next connection must not run in its context.
    if (client && !this.#isClosed) runInOwnContext(() => this.#drop(client));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#ready.clear();
    const client = this.#current;
    this.#current = undefined;
    if (client) destroyClient(client);
    if (this.#isReady) this.#lost.tell();
    this.#isReady = false;
    this.#lost.clear();
  }

  async #connect(): Promise<void> {
    let client: RedisClient;
    try {
      client = await this.#make();
    } catch (error) {
      this.#faults.tell(error, 'redis');
      this.#retry();
      return;
    }
    // An `error` event without a listener would end the process.
    client.on(
      'error',
      guarded('redis', (error: unknown) => {
        if (this.#current === client) this.#faults.tell(error, 'redis');
      }),
    );
    if (this.#isClosed) {
      destroyClient(client);
      return;
    }
    this.#current = client;
    unrefClient(client);
    const drop = guarded('redis', () => this.#drop(client));
    client.on(
      'ready',
      guarded('redis', () => this.#onReady(client)),
    );
    client.on('close', drop);
    client.on('end', drop);
    this.#wait(this.#times.readyWithin, () => {
      this.#faults.tell(new Error(`no reply within ${this.#times.readyWithin} ms of connecting`), 'redis');
      this.#drop(client);
    });
    void unawaited(client.connect().catch(drop), 'redis');
  }

  #onReady(client: RedisClient): void {
    if (this.#current !== client || this.#isReady) return;
    clearTimeout(this.#timer);
    this.#isReady = true;
    this.#readyAt = performance.now();
    this.#ready.tell(client);
  }

  #drop(client: RedisClient): void {
    if (this.#current !== client) return;
    this.#current = undefined;
    const wasReady = this.#isReady;
    this.#isReady = false;
    destroyClient(client);
    // A server that accepts connections and drops them again counts as down.
    if (wasReady && performance.now() - this.#readyAt >= this.#times.maxDelay) this.#attempts = 0;
    this.#retry();
    if (wasReady) this.#lost.tell();
  }

  #retry(): void {
    if (this.#isClosed) return;
    const { firstDelay, maxDelay } = this.#times;
    const delay = Math.min(maxDelay, firstDelay * 2 ** Math.min(this.#attempts++, 30));
    // Jitter, so that instances do not all reconnect at the same moment.
    this.#wait(delay * (0.5 + Math.random() / 2), () => void unawaited(this.#connect(), 'redis'));
  }

  #wait(ms: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(guarded('redis', then), ms);
    this.#timer.unref();
  }
}

/** The user's own client: observed, never changed. */
export class UserLink implements RedisLink {
  readonly #client: RedisClient;
  readonly #ready: Listeners<[RedisClient]>;
  readonly #lost: Listeners<[]>;
  readonly #remove: () => void;
  #isReady: boolean;
  #isClosed = false;

  constructor(client: RedisClient, faults: FaultReporter) {
    this.#client = client;
    this.#ready = new Listeners(faults);
    this.#lost = new Listeners(faults);
    this.#isReady = client.status === 'ready';
    const onReady = guarded('redis', () => {
      this.#isReady = true;
      this.#ready.tell(client);
    });
    const onGone = guarded('redis', () => {
      if (this.#isReady) this.#lost.tell();
      this.#isReady = false;
    });
    // ioredis prints the errors of a client that has no listener.
    const onError = guarded('redis', (error: unknown) => faults.tell(error, 'redis'));
    client.on('ready', onReady);
    client.on('close', onGone);
    client.on('end', onGone);
    client.on('error', onError);
    this.#remove = () => {
      client.off('ready', onReady);
      client.off('close', onGone);
      client.off('end', onGone);
      client.off('error', onError);
    };
    // A lazy client connects on its first command, but hotpath sends none before it is connected.
    // A failure to connect is also emitted as `error`.
    if (client.status === 'wait')
      void unawaited(
        client.connect().catch(() => {}),
        'redis',
      );
  }

  get client(): RedisClient | undefined {
    return !this.#isClosed && this.#client.status === 'ready' ? this.#client : undefined;
  }

  onReady(listener: (client: RedisClient) => void): () => void {
    const remove = this.#ready.add(listener);
    const { client } = this;
    if (client) listener(client);
    return remove;
  }

  onLost(listener: () => void): () => void {
    return this.#lost.add(listener);
  }

  corkForThisTurn(): void {}

  restart(): void {}

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#remove();
    this.#ready.clear();
    this.#lost.clear();
  }
}
