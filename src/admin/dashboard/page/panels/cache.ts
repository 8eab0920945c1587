import type { CacheFigures, NamedFunctionCounts, Shown } from '../answers.js';
import { byId, FactList, setShown, setText, TextTable } from '../dom.js';
import { showBytes, showCount, showDuration, showShare } from '../format.js';
import { explainReason } from './reasons.js';

/** Rows of a list. */
const MOST_ROWS = 8;

/** The entries of the cache, its refusals with their reasons, and Redis. */
export class CachePanel {
  readonly #facts = new FactList(byId('cache-facts'));
  readonly #reasons = new TextTable(byId('cache-reasons'), ['reason', '', 'number']);
  readonly #top = new TextTable(byId('cache-top'), ['url', 'number']);
  readonly #functions = new TextTable(byId('functions'), [
    '',
    'number wide',
    'number',
    'number wide',
    'number',
    'number',
  ]);

  show({ cache, cacheLimits, selected }: Shown): void {
    if (!cache) return;
    const { use, store, topKeys, functions } = cache.volatile;
    const isOff = cacheLimits?.isOn === false;
    setText(
      byId('cache-hint'),
      isOff ? 'The cache is off: set `cache` in the config of hotpath.' : hintFor(selected),
    );
    this.#facts.show([...storeFacts(store, cacheLimits), ...useFacts(use), ...redisFacts(store)]);
    const reasons = Object.entries(sumOf(use.bypassReasons, use.refusalReasons)).sort(
      ([, a], [, b]) => b - a,
    );
    this.#reasons.show(
      reasons
        .slice(0, MOST_ROWS)
        .map(([reason, count]) => [reason, reason, explainReason(reason), showCount(count)]),
    );
    setShown(byId('cache-reasons-empty'), reasons.length === 0);
    const top = (topKeys ?? []).slice(0, MOST_ROWS);
    this.#top.show(top.map(({ url, hits }) => [url, url, showCount(hits)]));
    setShown(byId('cache-top-empty'), top.length === 0);
    const cached = functions ?? [];
    this.#functions.show(cached.map(functionRow));
    setShown(byId('functions-part'), cached.length > 0);
  }
}

function hintFor(selected: string | undefined): string {
  if (selected === undefined) return 'Of this instance, since its start';
  const whose =
    selected === 'all' ? 'Sums of all instances since their start' : 'Of that instance, since its start';
  return `${whose}; entries, URLs and functions are shown for the one that answers alone`;
}

type Fact = readonly [name: string, value: string];

function storeFacts(store: CacheFigures['store'], limits: Shown['cacheLimits']): Fact[] {
  if (!store) return [];
  const dropped = store.evictions.bytes + store.evictions.entries + store.evictions.variants;
  return [
    ['Entries', `${showCount(store.entries)} of ${showCount(limits?.maxEntries)}`],
    ['Memory', `${showBytes(store.bytes)} of ${showBytes(limits?.maxBytes)}`],
    ['Dropped for room', showCount(dropped)],
    ['Purges and expiries', showCount(store.purges)],
  ];
}

function useFacts(use: CacheFigures['use']): Fact[] {
  return [
    ['Hits', `${showCount(use.hits)} (${showShare(use.hitRatio)})`],
    ['Stale', showCount(use.stale)],
    ['Revalidated', showCount(use.revalidated)],
    ['Misses', showCount(use.misses)],
    ['Passes and bypasses', `${showCount(use.passes)} and ${showCount(use.bypasses)}`],
  ];
}

function redisFacts(store: CacheFigures['store']): Fact[] {
  const redis = store?.redis;
  if (!store) return [];
  if (!redis) return [['Redis', 'none: entries are in the memory of each instance']];
  const { breaker, log } = redis;
  return [
    ['Redis', redis.ready ? 'connected' : 'not connected'],
    ['Redis hits and misses', `${showCount(redis.hits)} and ${showCount(redis.misses)}`],
    ['Breakers', `reads ${breaker.reads}, writes ${breaker.writes}`],
    [
      'Log of purges',
      log.inContact ? `${showCount(log.lag)} behind, ${showCount(log.queued)} to write` : 'lost',
    ],
  ];
}

function sumOf(...counts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sum: Record<string, number> = Object.create(null);
  for (const each of counts)
    for (const [name, count] of Object.entries(each)) sum[name] = (sum[name] ?? 0) + count;
  return sum;
}

/** Hit ratio and times of cached functions. */
function functionRow(counts: NamedFunctionCounts): string[] {
  const { name, hits, stale, misses, collapsed, uncached, runs, errors, runSeconds } = counts;
  const calls = hits + stale + misses + collapsed + uncached;
  return [
    name,
    name,
    showCount(calls),
    showShare(calls > 0 ? (hits + stale + collapsed) / calls : null),
    showCount(runs),
    showCount(errors),
    showDuration(runs > 0 ? runSeconds / runs : null),
  ];
}
