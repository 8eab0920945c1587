import type { StoredResponse } from '../../store/stored-response.js';
import type { PendingFill } from '../collapse/collapser.js';
import { lookUp } from '../lookup/lookup.js';
import type { Asked } from '../request/cache-request.js';
import type { CacheState } from '../state.js';
import { LEASE_SECONDS, type RedisTierLookups } from '../storage/redis-tier-lookups.js';

/** A fresh response that has replaced an entry since, for any client whom a refresh may serve. */
export function newerThan(
  state: CacheState,
  asked: Asked,
  entry: StoredResponse,
): StoredResponse | undefined {
  const found = lookUp(state, { ...asked, credential: undefined, wishes: undefined }, false);
  // A fresh entry is refreshed as well, before its end.
  return found.permission === 'fresh' && found.entry!.storedAt > entry.storedAt ? found.entry : undefined;
}

/**
 * Before the handler is run to refresh an entry: another instance may have refreshed it already. With
 * `collapse: 'cluster'` one instance runs at a time, and the others wait for the response that it stores.
 *
 * @returns the response of the other instance, where there is one. Never rejects.
 */
export async function fetchRefreshed(
  state: CacheState,
  shared: RedisTierLookups,
  given: Asked,
  entry: StoredResponse,
  pending: PendingFill,
): Promise<StoredResponse | undefined> {
  const { settings, fault } = state;
  // The same for every client whom a refresh may serve.
  const asked: Asked = { ...given, credential: undefined, wishes: undefined };
  const newer = () => newerThan(state, asked, entry);
  try {
    if (asked.rule?.collapse === 'cluster') {
      const turn = await shared.takeTurn(asked, settings.waitTimeout, () => newer() !== undefined);
      if (typeof turn === 'object') pending.wait(LEASE_SECONDS, { settled: () => turn.release() });
    } else {
      await shared.fetch(asked);
    }
    return newer();
  } catch (error) {
    fault(error, 'refresh');
    return undefined;
  }
}
