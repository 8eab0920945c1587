import type { CacheFigures, Shown } from '../answers.js';
import { byId, FactList, make, setShown, setText, TextTable } from '../dom.js';
import { NOTHING, showBytes, showCount, showShare } from '../format.js';
import { explainReason } from './reasons.js';

/** Rows of a list. */
const MOST_ROWS = 8;

/** The entries of the cache, its refusals with their reasons, and Redis. */
export class CachePanel {
  readonly #facts = new FactList(byId('cache-facts'));
  readonly #reasons = new TextTable(byId('cache-reasons'), ['reason', '', 'number']);
  readonly #top = new TextTable(byId('cache-top'), ['url', 'number']);
  readonly #functions = new FunctionTable();

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
    this.#functions.show(functions ?? []);
  }
}

function hintFor(selected: string | undefined): string {
  return selected === undefined
    ? 'Of this instance, since its start'
    : 'Instances publish their results alone';
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

/** The cached functions, in the columns that the API has. */
class FunctionTable {
  #table: TextTable | undefined;
  #columns = '';

  show(functions: readonly Readonly<Record<string, unknown>>[]): void {
    setShown(byId('functions-part'), functions.length > 0);
    const [first] = functions;
    if (!first) return;
    const columns = Object.keys(first).filter(
      (name) => typeof first[name] !== 'object' || first[name] === null,
    );
    if (columns.join() !== this.#columns) {
      this.#columns = columns.join();
      byId('functions-head').replaceChildren(make('tr', '', ...columns.map(headFor)));
      byId('functions').replaceChildren();
      this.#table = new TextTable(
        byId('functions'),
        columns.map((_, index) => (index === 0 ? '' : 'number')),
      );
    }
    this.#table?.show(
      functions.map((each) => [
        String(each[columns[0]!]),
        ...columns.map((name) => showValue(name, each[name])),
      ]),
    );
  }
}

function headFor(name: string, index: number): HTMLElement {
  const head = make('th', index === 0 ? '' : 'number', name.replace(/([A-Z])/g, ' $1').toLowerCase());
  head.setAttribute('scope', 'col');
  return head;
}

function showValue(name: string, value: unknown): string {
  if (typeof value !== 'number') return typeof value === 'string' ? value : NOTHING;
  if (/ratio$/i.test(name)) return showShare(value);
  return /bytes$/i.test(name) ? showBytes(value) : showCount(value);
}
