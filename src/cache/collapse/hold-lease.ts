import { keepLease, LEASE_SECONDS, type Lease } from '../../store/redis/lease.js';
import type { PendingFill } from './collapser.js';

/**
 * Holds a lease until the fill ends. A handler that never responds holds it no longer than other instances wait.
 *
 * @param waitTimeout how long a request of another instance waits. Seconds.
 */
export function holdLease(lease: Lease, pending: PendingFill, waitTimeout: number): void {
  const isRenewed = waitTimeout > LEASE_SECONDS;
  const renewal = isRenewed ? keepLease(lease, waitTimeout * 1000) : undefined;
  pending.wait(Math.max(waitTimeout, LEASE_SECONDS), {
    settled() {
      clearInterval(renewal);
      lease.release();
    },
  });
}
