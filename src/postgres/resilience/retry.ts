import { performance } from 'node:perf_hooks';
import type { Exchange } from '../../exchange/exchange.js';
import { guarded } from '../../runtime/guard.js';
import { sleep } from '../../runtime/sleep.js';
import type { DriverClient, DriverPool, DriverQuery } from '../driver.js';
import type { Statement } from '../monitor/statements.js';
import { isConnectionError } from './connection-errors.js';

/** When reads are tried again. */
export interface RetrySettings {
  /** The first one included. */
  readonly attempts: number;
  /** From the first call on, no further attempt begins. Seconds. */
  readonly within: number;
}

/** The longest wait before the second attempt; it doubles with each. Milliseconds. */
const FIRST_WAIT = 100;

const LONGEST_WAIT = 1000;

/** Longer statements are not read. Characters. */
const MOST_READ = 10_000;

/** SQLSTATE: a statement would have written in a transaction that only reads. */
const READ_ONLY = '25006';

const ignoreError = guarded('monitorPool', () => {});

/** Repeats queries whose connection was lost, if they only read. */
export class ReadRetry {
  /** Further attempts since the start. */
  count = 0;
  readonly #pool: DriverPool;
  readonly #settings: RetrySettings;
  readonly #isActive: () => boolean;

  /** @param isActive whether the pool is still monitored. */
  constructor(pool: DriverPool, settings: RetrySettings, isActive: () => boolean) {
    this.#pool = pool;
    this.#settings = settings;
    this.#isActive = isActive;
  }

  /**
   * Whether a call of `pool.query` may be repeated. Those with a callback are not, because a second run would call it in
   * another context.
   *
   */
  permits(args: readonly unknown[], statement: Statement): boolean {
    const [config, values, callback] = args as [DriverQuery, unknown, unknown];
    const text = typeof config === 'string' ? config : config?.text;
    if (typeof text !== 'string' || text.length > MOST_READ) return false;
    if (typeof config === 'object' && (config?.submit || config?.callback)) return false;
    return typeof values !== 'function' && callback === undefined && statement.isPlainRead;
  }

  /**
   * Repeats a query until it has a result, or the attempts or the time are used up.
   *
   * @param first the first attempt.
   * @returns its result, or that of a later attempt.
   * @throws (rejects) the error of the last attempt.
   */
  async run(
    first: Promise<unknown>,
    args: readonly unknown[],
    request: Exchange | undefined,
  ): Promise<unknown> {
    const startedAt = performance.now();
    const lastStart = startedAt + this.#settings.within * 1000;
    let running = first;
    let lost: unknown;
    for (let attempt = 1; ; attempt++) {
      try {
        return await running;
      } catch (error) {
        // It would have written: the first attempt may have done so.
        if ((error as { code?: unknown } | undefined)?.code === READ_ONLY) throw lost ?? error;
        if (attempt >= this.#settings.attempts || !isConnectionError(error)) throw error;
        lost = error;
        // Full jitter: clients that lost their connections together come back apart.
        const wait = Math.random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1));
        if (performance.now() + wait > lastStart) throw error;
        // The timer keeps the process alive, as a query does.
        await sleep(wait, undefined, true);
        if (!this.#isActive() || isOver(request) || isSaturated(this.#pool)) throw error;
        this.count++;
        running = this.#readAgain(args);
      }
    }
  }

  /** In a transaction that only reads: a text cannot prove that no view or operator calls a function that writes. */
  async #readAgain(args: readonly unknown[]): Promise<unknown> {
    const client = (await this.#pool.connect()) as DriverClient;
    // The next statement fails.
    client.on('error', ignoreError);
    let failure: unknown;
    try {
      await client.query('BEGIN READ ONLY');
      const result: unknown = await client.query(...args);
      await client.query('COMMIT');
      return result;
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      client.off('error', ignoreError);
      client.release?.(failure);
    }
  }
}

/** The client of the request has left. */
function isOver(request: Exchange | undefined): boolean {
  return request !== undefined && (request.aborted || request.closed || request.res.destroyed);
}

/** A further query would have to wait. */
function isSaturated({ totalCount, idleCount, waitingCount, options }: DriverPool): boolean {
  return waitingCount > 0 || (options.max !== undefined && totalCount >= options.max && idleCount === 0);
}
