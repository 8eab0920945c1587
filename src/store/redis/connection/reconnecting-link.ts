import { performance } from 'node:perf_hooks';
import { guarded, unawaited } from '../../../runtime/guard.js';
import { runInOwnContext } from '../../../runtime/module-context.js';
import type { FaultReporter } from '../redis-errors.js';
import { type ClientInside, destroyClient, type RedisClient, unrefClient } from './ioredis-client.js';

/** A way to Redis that comes and goes. */
export interface RedisLink {
  /** The client, while it is ready; another one after each reconnect, so don't keep it. */
  readonly client: RedisClient | undefined;
  /** Called at every connect, and at once when it is ready already. @returns what takes the listener away. */
  onReady(listener: (client: RedisClient) => void): () => void;
  /** Called when a ready connection is lost. @returns what takes the listener away. */
  onLost(listener: () => void): () => void;
  /**
   * What is written until this turn of the event loop ends goes out in one write, where the connection is ours alone:
   * for requests that have come together, that is one system call instead of one for each.
   */
  gather(): void;
  /** Gives the connection up, as one that no longer answers, and makes another. Nothing for a user's client. */
  restart(): void;
  /** For good. Idempotent. A user's client stays open. */
  close(): void;
}

/** Times of a link, milliseconds. */
export interface LinkTimes {
  /** Wait before the second attempt; it doubles with each. Default 50. */
  readonly firstDelay?: number;
  /** Longest wait between attempts. Default 5,000. */
  readonly maxDelay?: number;
  /** Within this an attempt is ready or given up. Default 5,000. */
  readonly readyWithin?: number;
}

/** Listeners of a link; one that throws takes nothing with it. */
class Listeners<Args extends unknown[]> {
  readonly #all = new Set<(...args: Args) => void>();
  readonly #faults: FaultReporter;

  constructor(faults: FaultReporter) {
    this.#faults = faults;
  }

  add(listener: (...args: Args) => void): () => void {
    // Its own function each time, so that the same listener may be added twice.
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
 * A connection of our own. Each attempt has a client of its own, so nothing of a dead connection, no command and
 * no answer, can turn up on the next one. Down at start is a state like any other: it goes on trying.
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
  #isGathering = false;

  /** Connects at once, in the background. */
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

  gather(): void {
    const stream = this.#isGathering ? undefined : (this.#current as ClientInside | undefined)?.stream;
    if (!stream?.cork || !stream.uncork) return; // a cluster has one for each of its nodes
    this.#isGathering = true;
    stream.cork();
    setImmediate(
      guarded('redis', () => {
        this.#isGathering = false;
        stream.uncork?.();
      }),
    );
  }

  restart(): void {
    const client = this.#current;
    // A client's request may have found that it hangs; what comes of the next connection is no client's.
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
    // Without a listener on every connection its error would be the process's.
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
      this.#faults.tell(new Error(`no answer within ${this.#times.readyWithin} ms of connecting`), 'redis');
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
    // A server that takes connections and drops them again is one that is down.
    if (wasReady && performance.now() - this.#readyAt >= this.#times.maxDelay) this.#attempts = 0;
    this.#retry();
    if (wasReady) this.#lost.tell();
  }

  #retry(): void {
    if (this.#isClosed) return;
    const { firstDelay, maxDelay } = this.#times;
    const delay = Math.min(maxDelay, firstDelay * 2 ** Math.min(this.#attempts++, 30));
    // Jitter: when Redis is back, not every instance comes in the same moment.
    this.#wait(delay * (0.5 + Math.random() / 2), () => void unawaited(this.#connect(), 'redis'));
  }

  #wait(ms: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(guarded('redis', then), ms);
    this.#timer.unref();
  }
}

/** A client that is the user's: watched, not touched. */
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
    // ioredis prints every error of a client that has no listener.
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
    // A lazy client connects at its first command, but we send none before it is connected.
    // Its failure comes as an `error` too.
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

  gather(): void {}

  restart(): void {}

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#remove();
    this.#ready.clear();
    this.#lost.clear();
  }
}
