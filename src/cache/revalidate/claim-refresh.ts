import type { StoredResponse } from '../../store/stored-response.js';
import type { PendingFill } from '../collapse/collapser.js';
import { holdLease } from '../collapse/hold-lease.js';
import { validUntil } from '../lookup/invalidated.js';
import { isFresh } from '../lookup/reuse.js';
import type { CacheRequest } from '../request/cache-request.js';
import type { CacheState } from '../state.js';
import type { RedisTierLookups } from '../storage/redis-tier-lookups.js';

/** The fresh response that replaced a stale entry, or filled an empty key, for clients without credentials and directives. */
export function newerThan(
  state: CacheState,
  { key, keys, target, context }: CacheRequest,
  stale: StoredResponse | undefined,
): StoredResponse | undefined {
  const { entry } = state.equivalents.find(key, keys, context.req, false);
  // An eager refresh starts while its entry is still fresh.
  if (!entry || (stale && entry.storedAt <= stale.storedAt)) return undefined;
  return isFresh(entry, validUntil(state, entry, target), state.clock()) ? entry : undefined;
}

/**
 * Checks in Redis whether another instance has already refreshed an entry. With `collapse: 'cluster'`, one instance
 * refreshes at a time, and the others wait for the response that it stores.
 *
 * @returns the response of the other instance, if there is one. Never rejects.
 */
export async function fetchRefreshed(
  state: CacheState,
  redisLookups: RedisTierLookups,
  request: CacheRequest,
  entry: StoredResponse | undefined,
  pending: PendingFill,
): Promise<StoredResponse | undefined> {
  const { settings, fault } = state;
  const newer = () => newerThan(state, request, entry);
  try {
    if (request.rule?.collapse === 'cluster') {
      const turn = await redisLookups.takeTurn(request, settings.waitTimeout, () => newer() !== undefined);
      if (typeof turn === 'object') holdLease(turn, pending, settings.waitTimeout);
    } else {
      await redisLookups.fetch(request);
    }
    return newer();
  } catch (error) {
    fault(error, 'refresh');
    return undefined;
  }
}
