import { randomUUID } from 'node:crypto';
import { guarded, unawaited } from '../../runtime/guard.js';
import type { RedisStore } from './redis-store.js';

/** When an unreleased lease expires: the longest delay after its holder has crashed. Seconds. */
export const LEASE_SECONDS = 10;

/** First and longest pause between two attempts to take a lease. Milliseconds. */
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 200;

/** A lease for filling one key. */
export interface Lease {
  release(): void;
  /** Keeps the lease for another `LEASE_SECONDS`. */
  renew(): void;
}

/** The lease to take. */
export interface WantedLease {
  readonly store: RedisStore;
  readonly key: string;
  /** Monotonic time. Milliseconds. */
  readonly clock: () => number;
  /** The longest wait for another holder. */
  readonly seconds: number;
}

/**
 * Takes the lease for filling a key, or waits for its holder.
 *
 * @param look reads the entry of another instance, and returns whether there is one.
 * @returns the lease; `found` if there is an entry; `undefined` if there is neither. The fill then continues without a
 * lease.
 */
export async function takeLease(
  { store, key, clock, seconds }: WantedLease,
  look: () => Promise<boolean>,
): Promise<Lease | 'found' | undefined> {
  const until = clock() + seconds * 1000;
  const token = randomUUID();
  const release = () => void unawaited(store.release(key, token), 'redis lease');
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 1.5, LONGEST_PAUSE_MS)) {
    const taken = await store.lease(key, token, LEASE_SECONDS * 1000);
    if (taken === undefined) return undefined;
    // Another instance may have filled the key between the last lookup and the lease.
    if (await look()) {
      if (taken) release();
      return 'found';
    }
    const renew = () => void unawaited(store.renew(key, token, LEASE_SECONDS * 1000), 'redis lease');
    if (taken) return { release, renew };
    if (clock() + pause > until) return undefined;
    const delay = pause * (0.5 + Math.random());
    await new Promise<void>((resolve) => void setTimeout(guarded('redis lease', resolve), delay).unref());
  }
}

const RENEWAL_MS = (LEASE_SECONDS * 1000) / 3;

/**
 * Renews a lease while its holder runs, but not for a function that never returns.
 *
 * @param ms the longest time.
 * @returns the timer; clear it when the holder ends.
 */
export function keepLease(lease: Lease, ms: number): NodeJS.Timeout {
  let left = Math.ceil(ms / RENEWAL_MS);
  const renew = guarded('redis lease', () => {
    if (left-- > 0) lease.renew();
    else clearInterval(timer);
  });
  const timer = setInterval(renew, RENEWAL_MS).unref();
  return timer;
}
