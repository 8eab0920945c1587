/** Why a response or a result that was made of a function's result is not stored. */
export type MadeOfRefusal = 'stale-result' | 'uncached-result';

/** The results that a run or a request has used so far. */
export class UsedResults {
  readonly tags = new Set<string>();
  /** The earliest end of their freshness. Milliseconds on the cache's clock. */
  freshUntil = Number.POSITIVE_INFINITY;
  /** The earliest log position at which one of them was known to be valid. */
  stamp = Number.POSITIVE_INFINITY;
  refusal: MadeOfRefusal | undefined;

  add(result: UsedResult, refusal?: MadeOfRefusal): void {
    for (const tag of result.tags) this.tags.add(tag);
    this.freshUntil = Math.min(this.freshUntil, result.freshUntil);
    this.stamp = Math.min(this.stamp, result.stamp);
    this.refusal ??= refusal;
  }

  refuse(refusal: MadeOfRefusal): void {
    this.refusal ??= refusal;
  }
}

/** A result as an outer run or a request sees it. */
export interface UsedResult {
  readonly tags: Iterable<string>;
  readonly freshUntil: number;
  readonly stamp: number;
}
