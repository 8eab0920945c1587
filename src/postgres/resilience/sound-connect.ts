import { performance } from 'node:perf_hooks';
import { HotpathError } from '../../options/errors.js';
import { CircuitBreaker } from '../../runtime/circuit-breaker.js';
import { guarded } from '../../runtime/guard.js';
import type { DriverClient, DriverPool } from '../driver.js';
import { plainQuery } from '../monitor/plain-query.js';
import { isConnectionError } from './connection-errors.js';

/** Options of what happens before a client is handed out. */
export interface SoundConnectSettings {
  /** The circuit breaker; `false`: none. Its waits are in seconds. */
  readonly breaker: { readonly openFor: number; readonly longest: number } | false;
  /** A client that idled this long is checked before it is used. Seconds; `false`: none is. */
  readonly checkAfterIdle: number | false;
}

type ConnectCallback = (error: unknown, client?: unknown, release?: Release) => unknown;
type Release = (error?: unknown) => void;

/** Until a client must have answered a check. Milliseconds. */
const CHECK_WITHIN = 1000;

/** After this time a caller gets the error of a check in place of the next client. Milliseconds. */
const CHECK_TOGETHER = 3000;

/** Takes clients from a pool, refuses fast while the server cannot be reached, and checks those that idled. */
export class SoundConnect {
  /** Clients that did not answer a check, since the start. */
  dropped = 0;
  /** Callers that were refused, since the start. */
  refused = 0;
  readonly #pool: DriverPool;
  readonly #connect: DriverPool['connect'];
  readonly #checkAfterMs: number;
  readonly #breaker: CircuitBreaker | undefined;
  readonly #idleSince = new WeakMap<object, number>();
  readonly #released = guarded('monitorPool', (_error: unknown, client: object) => {
    this.#idleSince.set(client, performance.now());
  });
  #lastError: unknown;

  /** @param connect that of the pool. */
  constructor(pool: DriverPool, connect: DriverPool['connect'], settings: SoundConnectSettings) {
    const { breaker, checkAfterIdle } = settings;
    this.#pool = pool;
    this.#connect = connect;
    this.#breaker = breaker ? new CircuitBreaker(breaker.openFor * 1000, breaker.longest * 1000) : undefined;
    this.#checkAfterMs = checkAfterIdle === false ? Number.POSITIVE_INFINITY : checkAfterIdle * 1000;
    if (checkAfterIdle !== false) pool.on('release', this.#released);
  }

  /** `undefined` without a breaker. */
  get breakerState(): CircuitBreaker['state'] | undefined {
    return this.#breaker?.state;
  }

  /** In place of `pool.connect`, with the same call shapes. */
  connect(callback?: unknown): unknown {
    if (typeof callback === 'function') return this.#take(callback as ConnectCallback);
    return new Promise((resolve, reject) => {
      this.#take((error, client) => (error ? reject(error) : resolve(client)));
    });
  }

  close(): void {
    this.#pool.off('release', this.#released);
  }

  #take(callback: ConnectCallback, startedAt = performance.now()): unknown {
    const settle = this.#breaker ? this.#begin(this.#breaker) : undefined;
    if (this.#breaker && !settle) {
      this.refused++;
      return callback(unavailable(this.#lastError), undefined, () => {});
    }
    return this.#connect.call(this.#pool, (error: unknown, client: unknown, release: Release) => {
      // A wait for a full pool that took too long is no failure of the server.
      settle?.(isConnectionError(error) ? error : undefined);
      if (error || !this.#isDoubtful(client)) return callback(error, client, release);
      check(client as DriverClient, (failure) => {
        if (failure === undefined) return callback(undefined, client, release);
        this.dropped++;
        release(failure);
        if (performance.now() - startedAt > CHECK_TOGETHER) return callback(failure, undefined, () => {});
        return this.#take(callback, startedAt);
      });
      return undefined;
    });
  }

  /** @returns counts how the attempt ends; `undefined` if there must be none now. */
  #begin(breaker: CircuitBreaker): ((error: unknown) => void) | undefined {
    let settle: ((error: unknown) => void) | undefined;
    if (!breaker.lets()) return undefined;
    breaker.run<void>(
      (resolve, reject) => {
        settle = (error) => {
          if (error === undefined) return resolve();
          this.#lastError = error;
          reject(error);
        };
      },
      () => {},
      () => {},
    );
    return settle;
  }

  #isDoubtful(client: unknown): boolean {
    const since = this.#idleSince.get(client as object);
    return since !== undefined && performance.now() - since >= this.#checkAfterMs;
  }
}

/** Sends the smallest query. @param done is called once, with the failure. */
function check(client: DriverClient, done: (failure: unknown) => void): void {
  let isDone = false;
  const end = (failure: unknown) => {
    if (isDone) return;
    isDone = true;
    clearTimeout(timer);
    client.off('error', onError);
    done(failure);
  };
  // Between two queries a lost connection is an event, which nobody else listens to now.
  const onError = guarded('monitorPool', (error: unknown) => end(error));
  const onTime = guarded('monitorPool', () => end(new Error('The connection did not answer a check.')));
  const timer = setTimeout(onTime, CHECK_WITHIN);
  timer.unref();
  client.on('error', onError);
  plainQuery(client).call(client, 'SELECT 1', (error: unknown) => end(error ?? undefined));
}

function unavailable(cause: unknown): HotpathError {
  return new HotpathError(
    'HOTPATH_DATABASE_UNAVAILABLE',
    'the last connections to the database failed, so this one was not tried; the next attempt follows soon',
    { cause },
  );
}
