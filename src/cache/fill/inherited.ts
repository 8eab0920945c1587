import type { UsedResults } from '../../functions/used-results.js';
import type { Refused, Storable } from './storable.js';

/**
 * The response of a rule with `tags: 'inherit'`, which lives no longer than the results of cached functions in it.
 *
 * @param now milliseconds on the cache's clock.
 */
export function limitLifetime(
  verdict: Storable,
  { freshUntil }: UsedResults,
  now: number,
): Storable | Refused {
  const left = (freshUntil - now) / 1000;
  if (left <= 0) return { refusal: 'stale-result' };
  return { ...verdict, lifetime: Math.min(verdict.lifetime, verdict.initialAge + left) };
}
