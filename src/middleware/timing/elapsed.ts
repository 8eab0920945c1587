import { performance } from 'node:perf_hooks';

/**
 * The time since then, with three decimals; never negative. As `toFixed` would write it, at less cost.
 *
 * @param startedAt on the clock of `performance`. Milliseconds.
 */
export function elapsedSince(startedAt: number): string {
  const thousandths = Math.max(0, Math.round((performance.now() - startedAt) * 1000));
  return `${Math.floor(thousandths / 1000)}.${String(1000 + (thousandths % 1000)).slice(1)}`;
}
