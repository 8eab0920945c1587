import type { StoredResponse } from '../store/entry.js';
import type { Pending } from './collapse.js';
import { lookUp } from './lookup.js';
import { LEASE, type SharedTier } from './shared-tier.js';
import type { CacheState } from './state.js';
import type { Visit } from './visit.js';

/**
 * Before the handler is run to refresh an entry: another instance may have done it already, and what it has stored
 * settles `pending`. With `collapse: 'cluster'` one instance runs at a time, and the others wait for what it brings.
 *
 * @returns whether the handler is to be run. Never rejects.
 */
export async function isOursToRefresh(
  state: CacheState,
  shared: SharedTier,
  visit: Visit,
  entry: StoredResponse,
  pending: Pending,
): Promise<boolean> {
  const { collapser, settings, fault } = state;
  // What is stored is the same for every visitor whom a refresh may serve.
  const asked = { ...visit, credential: undefined, wishes: undefined };
  const newer = () => {
    const found = lookUp(state, asked, false);
    // A fresh entry is refreshed as well, before its end.
    return found.permission === 'fresh' && found.entry!.storedAt > entry.storedAt ? found.entry : undefined;
  };
  try {
    if (visit.rule?.collapse === 'cluster') {
      const turn = await shared.takeTurn(asked, settings.waitTimeout, () => newer() !== undefined);
      if (typeof turn === 'object') pending.wait(LEASE, { settled: () => turn.release() });
    } else {
      await shared.fetch(asked);
    }
    const brought = newer();
    if (brought) collapser.settle(visit.key, pending, { kind: 'stored', entry: brought });
    return !brought;
  } catch (error) {
    fault(error, 'refresh');
    return true;
  }
}
