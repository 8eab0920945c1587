import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { guarded, unawaited } from '../runtime/guard.js';
import { sleep } from '../runtime/sleep.js';
import type { WarmingTurns } from '../store/redis/warming-turns.js';

/** When an unreleased lease ends: the longest delay after its holder has crashed. Milliseconds. */
const LEASE_MS = 5000;

/** How often a lease is renewed. Milliseconds. */
const RENEW_MS = 1500;

/** How long Redis is tried before an instance warms for itself. Milliseconds. */
const UNREACHABLE_MS = 2000;

/** Between two attempts to take a lease. Milliseconds. */
const RETRY_MS = 250;

/** Between two looks whether entries are shared. Milliseconds. */
const LOOK_MS = 10;

/** A turn to run a task. */
export interface Turn {
  /** Others may run the task now. @param rememberMs how long the run counts as recent; 0 if it has failed. Never rejects. */
  end(rememberMs: number): Promise<void>;
}

/** When to take a turn. */
export interface TurnRequest {
  /** A run of any instance within this time makes another one needless. Milliseconds; 0: run in any case. */
  readonly recentMs: number;
  /** How long to wait for another instance that has the lease. Milliseconds. */
  readonly waitMs: number;
  readonly signal: AbortSignal;
}

const FREE: Turn = { end: () => Promise.resolve() };

/**
 * Lets one instance at a time run a task, by leases in Redis. Without Redis, and while it does not answer, each instance
 * runs its tasks for itself, because its memory is all that it has then.
 */
export class Turns {
  readonly #store: WarmingTurns | undefined;

  constructor(store: WarmingTurns | undefined) {
    this.#store = store;
  }

  /**
   * @returns the turn; how long ago another instance ran the task; or `undefined` if the signal has aborted. Never rejects.
   */
  async take(
    id: string,
    { recentMs, waitMs, signal }: TurnRequest,
  ): Promise<Turn | { readonly ranAgoMs: number } | undefined> {
    const store = this.#store;
    if (!store) return FREE;
    const token = randomUUID();
    const since = performance.now();
    let answeredAt = since;
    // Before, what a run stores would be of no use to the other instances, and they would run the handlers again.
    const sharedBy = since + Math.min(UNREACHABLE_MS, waitMs);
    while (!store.canShare && performance.now() < sharedBy && !signal.aborted) await sleep(LOOK_MS, signal);
    while (!signal.aborted) {
      const reply = await store.take(id, token, LEASE_MS, recentMs);
      const now = performance.now();
      if (reply === 'taken') return this.#hold(store, id, token);
      if (typeof reply === 'object') return reply;
      if (reply === 'held') answeredAt = now;
      const isAlone = reply === undefined && now - answeredAt > UNREACHABLE_MS;
      if (isAlone || now - since > waitMs) return FREE;
      await sleep(RETRY_MS * (0.5 + Math.random()), signal);
    }
    return undefined;
  }

  #hold(store: WarmingTurns, id: string, token: string): Turn {
    const renew = guarded('warming', () => unawaited(store.renew(id, token, LEASE_MS), 'warming'));
    const timer = setInterval(renew, RENEW_MS).unref();
    return {
      end: (rememberMs) => {
        clearInterval(timer);
        return store.end(id, token, rememberMs);
      },
    };
  }
}
