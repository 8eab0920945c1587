// An instance with a cached function on a Redis. After each message, a number, it makes as many calls at once, and
// reports the runs of the function and the results.
import { setTimeout as delay } from 'node:timers/promises';
import { responseCache } from 'hotpath/cache';

/** The report of an instance. */
export interface CallsReport {
  readonly runs: number;
  readonly results: readonly string[];
  readonly faults: readonly string[];
}

const { NAME, REDIS_URL, RUN_MS } = process.env;
const faults: string[] = [];
const cache = responseCache({
  redis: { url: REDIS_URL, readTimeout: 5, writeTimeout: 5 },
  onError: (error, where) => void faults.push(`${where}: ${error}`),
});
let runs = 0;
const slow = cache.cached(
  async (id: number) => {
    runs++;
    await delay(Number(RUN_MS));
    return { id, by: NAME };
  },
  { name: 'slow', ttl: '1m', collapse: 'cluster' },
);

process.on('message', (message) => void answer(Number(message)));
const started = setInterval(() => {
  if (!cache.stats().redis?.log.shares) return;
  clearInterval(started);
  process.send?.(0);
}, 10);

async function answer(calls: number): Promise<void> {
  const results = await Promise.all(Array.from({ length: calls }, () => slow(1)));
  const report: CallsReport = {
    runs,
    results: [...new Set(results.map((result) => JSON.stringify(result)))],
    faults,
  };
  process.send?.(report);
}
