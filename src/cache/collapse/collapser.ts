import { AsyncResource } from 'node:async_hooks';
import { guarded } from '../../runtime/guard.js';
import { TransientMap } from '../../runtime/transient-map.js';
import type { StoredResponse } from '../../store/stored-response.js';
import { HitForMiss } from './hit-for-miss.js';
import type { StreamingFill } from './streaming-fill.js';

/** How a fill ended, with the status of the handler's response if there is one. */
export type FillOutcome =
  /** The response is storable, so the waiting requests may get it. */
  | { readonly kind: 'stored'; readonly entry: StoredResponse; readonly status?: number | undefined }
  /** The response is not storable, so it is for its own client only. */
  | { readonly kind: 'refused' }
  /** The response was for its own client only (a 401, a 429). A waiting request should try. */
  | { readonly kind: 'refused-alone' }
  /** A background refresh was refused, or ended stale serving. A client's own request should try. */
  | { readonly kind: 'not-refreshed' }
  /** The fill failed, was aborted, or a purge made its good response void (`isVoided`). A waiting request should try. */
  | {
      readonly kind: 'failed';
      readonly status?: number | undefined;
      readonly isVoided?: boolean | undefined;
    };

/** A request that waits for a fill. */
export interface FillWaiter {
  /** Called once with the outcome or `timeout`, unless `tryFollow` has returned true. */
  settled(outcome: FillOutcome | 'timeout'): void;
  /** Starts to follow the body, and returns true if the request no longer waits. */
  readonly tryFollow?: ((running: StreamingFill) => boolean) | undefined;
}

/** A fill that other requests may wait for. */
export class PendingFill {
  #waiters: Set<FillWaiter> | undefined; // created for the first one: most fills have none
  #running: StreamingFill | undefined;
  outcome: FillOutcome | undefined;
  /** A request waited for it until its timeout. The fill continues. */
  isLate = false;
  /** Its own client got the stale response, so its response is ignored. */
  isGivenUp = false;

  /** Whether requests wait for it. */
  get isAwaited(): boolean {
    return this.#waiters !== undefined && this.#waiters.size > 0;
  }

  /**
   * Waits for the fill.
   *
   * @param seconds the time limit.
   * @returns a function that stops waiting.
   */
  wait(seconds: number, { settled, tryFollow }: FillWaiter): () => void {
    if (this.#running && tryFollow?.(this.#running)) return () => {};
    const late = guarded('collapse', () => waiter.settled('timeout'));
    const timer = setTimeout(late, seconds * 1000);
    timer.unref();
    const leave = () => {
      clearTimeout(timer);
      return this.#waiters?.delete(waiter) === true;
    };
    // Bound to the AsyncLocalStorage context of the waiting request, not that of the request that fills.
    const waiter: FillWaiter = {
      settled: AsyncResource.bind(
        guarded('collapse', (outcome) => {
          if (leave()) settled(outcome);
        }),
      ),
      tryFollow: AsyncResource.bind((running) => tryFollow?.(running) === true && leave()),
    };
    (this.#waiters ??= new Set()).add(waiter);
    // A refresh may end before it starts: the queue is full or closed, or a newer response is stored already.
    if (this.outcome) this.#notify(this.outcome);
    return leave;
  }

  /** The body is being received, and other requests may follow it. */
  begin(running: StreamingFill): void {
    if (this.outcome) return;
    this.#running = running;
    for (const waiter of [...(this.#waiters ?? [])]) waiter.tryFollow?.(running);
  }

  settle(outcome: FillOutcome): void {
    if (this.outcome) return;
    this.outcome = outcome;
    this.#notify(outcome);
  }

  #notify(outcome: FillOutcome): void {
    const waiters = this.#waiters;
    if (!waiters || waiters.size === 0) return;
    // Not inside the response of the leader: its client would wait for all of them.
    setImmediate(
      guarded('collapse', () => {
        for (const waiter of [...waiters]) waiter.settled(outcome);
      }),
    );
  }
}

/** Keeps one fill at a time for each key, and remembers keys for which waiting has no use (hit-for-miss). */
export class Collapser {
  readonly #pending = new TransientMap<PendingFill>();
  readonly #hitForMiss: HitForMiss;

  /** @param hitForMiss how long a refusal is remembered, in seconds; 0 disables it. */
  constructor(hitForMiss: number) {
    this.#hitForMiss = new HitForMiss(hitForMiss);
  }

  /** The fill to wait for, if there is one. */
  current(key: string): PendingFill | undefined {
    return this.#pending.get(key);
  }

  /** Creates the fill of a key, with this request as its leader. */
  lead(key: string): PendingFill {
    const pending = new PendingFill();
    this.#pending.set(key, pending);
    return pending;
  }

  /** Ends a fill. @param refusal the reason, if the next response is likely to be refused too. */
  settle(key: string, pending: PendingFill | undefined, outcome: FillOutcome, refusal?: string): void {
    if (refusal !== undefined) this.#hitForMiss.remember(key, refusal);
    if (!pending) return;
    this.release(key, pending);
    pending.settle(outcome);
  }

  /** A response of this key was stored, so waiting is useful again. */
  clearRefusal(key: string): void {
    this.#hitForMiss.forget(key);
  }

  /** Allows another request to lead. The fill itself continues. */
  release(key: string, pending: PendingFill): void {
    this.#pending.delete(key, pending);
  }

  /** Whether requests of this key should not wait. */
  isRefused(key: string): boolean {
    return this.#hitForMiss.has(key);
  }

  /** The reason why requests of this key should not wait. Counts no use. */
  refusalOf(key: string): string | undefined {
    return this.#hitForMiss.reasonOf(key);
  }

  /** The number of fills in flight. */
  get size(): number {
    return this.#pending.size;
  }
}
