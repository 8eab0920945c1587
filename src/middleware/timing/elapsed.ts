import { performance } from 'node:perf_hooks';

/**
 * The time since `startedAt` in milliseconds, with three decimals; never negative. The same result as
 * `toFixed(3)`, but faster.
 *
 * @param startedAt on the clock of `performance`. Milliseconds.
 */
export function elapsedSince(startedAt: number): string {
  const thousandths = Math.max(0, Math.round((performance.now() - startedAt) * 1000));
  return `${Math.floor(thousandths / 1000)}.${String(1000 + (thousandths % 1000)).slice(1)}`;
}
