import { randomInt } from 'node:crypto';

/** Seeds to run: given ones (`CHAOS_SEED=1,2`), or a number of new ones (`CHAOS_SEEDS=500`; default 20). */
export const seeds: readonly number[] =
  process.env.CHAOS_SEED?.split(',').map(Number) ??
  Array.from({ length: Number(process.env.CHAOS_SEEDS ?? 20) }, () => randomInt(2 ** 31));

/** Time limit of a test that runs all seeds, from the milliseconds per seed. */
export function timeoutOf(perSeed: number): number {
  return 120_000 + seeds.length * perSeed;
}
