import { performance } from 'node:perf_hooks';

/** Shortens a result of `elapsedSince` to fewer decimals. */
export function roundElapsed(elapsed: string, digits: number): string {
  return digits === 3 ? elapsed : Number(elapsed).toFixed(digits);
}

/**
 * The time since `startedAt`, as `formatElapsed` writes it.
 *
 * @param startedAt on the clock of `performance`. Milliseconds.
 */
export function elapsedSince(startedAt: number): string {
  return formatElapsed(performance.now() - startedAt);
}

/** Milliseconds with three decimals; never negative. As `toFixed` would write them, at less cost. */
export function formatElapsed(milliseconds: number): string {
  const thousandths = Math.max(0, Math.round(milliseconds * 1000));
  return `${Math.floor(thousandths / 1000)}.${String(1000 + (thousandths % 1000)).slice(1)}`;
}
