import { randomInt } from 'node:crypto';

/** Seeds to run: given ones (`CHAOS_SEED=1,2`), or so many fresh ones (`CHAOS_SEEDS=500`; 20). */
export const seeds: readonly number[] =
  process.env.CHAOS_SEED?.split(',').map(Number) ??
  Array.from({ length: Number(process.env.CHAOS_SEEDS ?? 20) }, () => randomInt(2 ** 31));

/** How long one test may take that runs all of them, at so many milliseconds a seed. */
export function timeoutOf(perSeed: number): number {
  return 120_000 + seeds.length * perSeed;
}
