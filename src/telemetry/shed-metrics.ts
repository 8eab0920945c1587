import type { Registry } from 'prom-client';
import { registerCounters } from './callback-counters.js';

/**
 * Shows how many requests were shed, and why.
 *
 * @returns a function that reads the counts for the last time and removes them; idempotent.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` when the registry holds another metric by this name.
 */
export function showShedding(registry: Registry, counts: Readonly<Record<string, number>>): () => void {
  return registerCounters(
    registry,
    'hotpath_shed_requests_total',
    'Requests that were refused with a 503, because the process was overloaded.',
    ['reason'],
    () => Object.entries(counts).map(([reason, value]) => ({ labels: { reason }, value })),
  );
}
