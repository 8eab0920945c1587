import { AsyncResource } from 'node:async_hooks';
import { guarded } from '../../runtime/guard.js';
import { TransientMap } from '../../runtime/transient-map.js';
import type { StoredResponse } from '../../store/stored-response.js';
import { HitForMiss } from './hit-for-miss.js';
import type { StreamingFill } from './streaming-fill.js';

/** How a fill ended; with the status that the handler answered, where it did. */
export type FillOutcome =
  /** Stored, or at least storable: those who waited may have it. */
  | { readonly kind: 'stored'; readonly entry: StoredResponse; readonly status?: number }
  /** The response may not be stored, so nobody else may have it. */
  | { readonly kind: 'refused' }
  /** The response was meant for its client alone (a 401, a 429): one of the others should try. */
  | { readonly kind: 'refused-alone' }
  /** A background refresh was refused, or has ended stale serving: one client's own request should try. */
  | { readonly kind: 'not-refreshed' }
  /** Broken off, or an error: somebody else should try. */
  | { readonly kind: 'failed'; readonly status?: number };

/** Somebody who waits for a fill. */
export interface FillWaiter {
  /** Called once, unless the body was taken as it came: with the outcome, or with `timeout`. */
  settled(outcome: FillOutcome | 'timeout'): void;
  /** Takes the body as it comes, and waits no longer; or answers false. */
  tryFollow?(running: StreamingFill): boolean;
}

/** A fill that others may wait for. */
export class PendingFill {
  #waiters: Set<FillWaiter> | undefined; // made for the first: most fills have none
  #running: StreamingFill | undefined;
  outcome: FillOutcome | undefined;
  /** A request has waited for it in vain; it goes on. */
  isLate = false;
  /** Its own client got the stale response, so nothing comes of it. */
  isGivenUp = false;

  /** Whether requests wait for it. */
  get isAwaited(): boolean {
    return this.#waiters !== undefined && this.#waiters.size > 0;
  }

  /** Waits for so many seconds. Returns how to leave. */
  wait(seconds: number, { settled, tryFollow }: FillWaiter): () => void {
    if (this.#running && tryFollow?.(this.#running)) return () => {};
    const late = guarded('collapse', () => waiter.settled('timeout'));
    const timer = setTimeout(late, seconds * 1000);
    timer.unref();
    const leave = () => {
      clearTimeout(timer);
      return this.#waiters?.delete(waiter) === true;
    };
    // What runs then must find its own AsyncLocalStorage, not that of the request that filled.
    const waiter: FillWaiter = {
      settled: AsyncResource.bind(
        guarded('collapse', (outcome) => {
          if (leave()) settled(outcome);
        }),
      ),
      tryFollow: AsyncResource.bind((running) => tryFollow?.(running) === true && leave()),
    };
    (this.#waiters ??= new Set()).add(waiter);
    // A refresh may end before it begins: where the queue is full or closed, or another response is there already.
    if (this.outcome) this.#tell(this.outcome);
    return leave;
  }

  /** The body is on its way, and others may have it as it comes. */
  begin(running: StreamingFill): void {
    if (this.outcome) return;
    this.#running = running;
    for (const waiter of [...(this.#waiters ?? [])]) waiter.tryFollow?.(running);
  }

  settle(outcome: FillOutcome): void {
    if (this.outcome) return;
    this.outcome = outcome;
    this.#tell(outcome);
  }

  #tell(outcome: FillOutcome): void {
    const waiters = this.#waiters;
    if (!waiters || waiters.size === 0) return;
    // Not within the other's response: its client would wait for all of them.
    setImmediate(
      guarded('collapse', () => {
        for (const waiter of [...waiters]) waiter.settled(outcome);
      }),
    );
  }
}

/** One fill at a time for each key, and the memory of keys for which waiting is no use (hit-for-miss). */
export class Collapser {
  readonly #pending = new TransientMap<PendingFill>();
  readonly #hitForMiss: HitForMiss;

  /** @param hitForMiss seconds that a refusal is remembered; 0 for not at all. */
  constructor(hitForMiss: number) {
    this.#hitForMiss = new HitForMiss(hitForMiss);
  }

  /** The fill to wait for, if there is one. */
  current(key: string): PendingFill | undefined {
    return this.#pending.get(key);
  }

  /** Makes this request the one that fills. */
  lead(key: string): PendingFill {
    const pending = new PendingFill();
    this.#pending.set(key, pending);
    return pending;
  }

  /** Ends a fill; `refusal` is given when its response will be refused again, as far as anyone can tell. */
  settle(key: string, pending: PendingFill | undefined, outcome: FillOutcome, refusal?: string): void {
    if (refusal !== undefined) this.#hitForMiss.remember(key, refusal);
    if (!pending) return;
    this.release(key, pending);
    pending.settle(outcome);
  }

  /** A response of this key was stored: waiting may be of use again. */
  clearRefusal(key: string): void {
    this.#hitForMiss.forget(key);
  }

  /** Lets somebody else lead; the fill itself goes on. */
  release(key: string, pending: PendingFill): void {
    this.#pending.delete(key, pending);
  }

  /** Whether waiting for this key is no use. */
  isRefused(key: string): boolean {
    return this.#hitForMiss.has(key);
  }

  /** Why it is no use, for those who ask; asking changes nothing. */
  refusalOf(key: string): string | undefined {
    return this.#hitForMiss.reasonOf(key);
  }

  /** Fills under way. */
  get size(): number {
    return this.#pending.size;
  }
}
