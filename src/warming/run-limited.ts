/**
 * Calls `work` for each item, at most `limit` at once, in the order of the items. Takes no further item once the signal
 * has aborted.
 *
 * @throws (rejects) the first error of `work`, when the calls in flight have ended.
 */
export async function runLimited<Item>(
  items: readonly Item[],
  limit: number,
  signal: AbortSignal | undefined,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < items.length && !signal?.aborted) await work(items[next++]!);
  };
  const lanes = Array.from({ length: Math.min(limit, items.length) }, lane);
  const results = await Promise.allSettled(lanes);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
