import cluster from 'node:cluster';
import { purgeEvents } from '../../events/channels.js';
import { canonicalTarget } from '../../http/canonical-url.js';
import type { RouteTable } from '../../options/route-table.js';
import { warnOnce } from '../../runtime/warn.js';
import type {
  AppendResult,
  Cause,
  PurgeResult,
  RecordKind,
} from '../../store/invalidation/invalidation-log.js';
import { type CompiledSelector, compileSelectors, type Selector } from '../../store/invalidation/selector.js';
import type { StoredResponse, StoredResult } from '../../store/stored-response.js';
import type { CacheRoutePolicies, CacheRuleSettings } from '../options.js';
import type { CacheCounts, CacheState } from '../state.js';
import { coversSelector } from '../storage/no-vary-search.js';
import type { PurgeRecorder } from './purge-after-write.js';
import { PurgeNames } from './purge-names.js';

/** Counts a purge by its first selector. */
type PurgeCounter = (counts: CacheCounts, selector: CompiledSelector) => void;

/** Compiles selectors, counts purges, and appends them to the invalidation log. Without a state it does nothing. */
export class Purger {
  readonly #state: CacheState | false;
  readonly #names: PurgeNames;

  constructor(state: CacheState | false, routes: RouteTable<CacheRoutePolicies>) {
    this.#state = state;
    this.#names = new PurgeNames(routes);
  }

  /** Adds the rule of a middleware beside a handler. */
  addRule(rule: CacheRuleSettings): void {
    this.#names.add(rule);
  }

  /** The values of `vary.host` in the rules. */
  get sharedHosts(): ReadonlySet<string | false> {
    return this.#names.hosts;
  }

  /** @throws HotpathError `HOTPATH_SELECTOR_INVALID`. */
  validate(selectors: readonly Selector[]): void {
    this.#compile(selectors);
  }

  /** @returns whether an entry matches one of them. @throws HotpathError `HOTPATH_SELECTOR_INVALID`. */
  matcher(selectors: readonly Selector[]): (entry: StoredResponse) => boolean {
    return matcherOf(this.#compile(selectors).flat());
  }

  /**
   * Records selectors, and resolves once they are acknowledged.
   *
   * @param erases also deletes matching entries from memory.
   * @param cause `'client'` if clients may cause any number of different targets.
   * @throws (rejects) HotpathError `HOTPATH_SELECTOR_INVALID`.
   */
  async record(
    kind: RecordKind,
    selectors: readonly Selector[],
    erases: boolean,
    cause: Cause = 'app',
  ): Promise<PurgeResult> {
    const lists = this.#compile(selectors);
    const state = this.#state;
    if (!state) return { position: 0, erased: 0, acknowledged: true };
    for (const [first] of lists) {
      state.counts.purges[kind][first!.kind]++;
      publishPurge(kind, first!, cause);
    }
    const compiled = lists.flat();
    const records = await this.#append(kind, compiled, cause);
    const acknowledged = records.every((record) => record.acknowledged) && !isLocalInCluster(state);
    const erased = erases ? state.entries.erase(matcherOf(compiled)) : 0;
    return { position: state.log.position, erased, acknowledged };
  }

  /** @param areAlike whether the URLs among the selectors are those of one request. */
  recorder(cause: Cause, count: PurgeCounter, areAlike = false): PurgeRecorder {
    const state = this.#state;
    return {
      purge: (selectors) => {
        const lists = this.#compile(selectors, areAlike);
        for (const [first] of state ? lists : []) {
          count((state as CacheState).counts, first!);
          publishPurge('purge', first!, cause);
        }
        return this.#append('purge', lists.flat(), cause);
      },
      fault: (error, where) => (state ? state.fault(error, where) : undefined),
    };
  }

  /** A list of records for each selector. */
  #compile(selectors: readonly Selector[], areAlike = false): CompiledSelector[][] {
    const alike = areAlike
      ? selectors.flatMap((selector) => ('url' in selector ? canonicalTarget(selector.url) : []))
      : [];
    return selectors.map((selector) => compileSelectors(selector, (name) => this.#names.of(name, alike)));
  }

  /** Returns a promise only if the log is shared with other instances. */
  #append(
    kind: RecordKind,
    selectors: readonly CompiledSelector[],
    cause: Cause,
  ): readonly AppendResult[] | Promise<readonly AppendResult[]> {
    const state = this.#state;
    if (!state) return [];
    if (selectors.length > 0 && isLocalInCluster(state)) warnOfOtherWorkers();
    const records = selectors.map((selector) => state.log.record(kind, selector, cause));
    return records.some((record) => record instanceof Promise)
      ? Promise.all(records)
      : (records as AppendResult[]);
  }
}

function matcherOf(
  selectors: readonly CompiledSelector[],
): (entry: StoredResponse | StoredResult) => boolean {
  return (entry) =>
    selectors.some((selector) =>
      entry.kind === 'result'
        ? matchesResult(entry, selector)
        : selector.matches(entry) || coversSelector(entry, selector),
    );
}

/** A result of a function has no URL. */
function matchesResult(entry: StoredResult, selector: CompiledSelector): boolean {
  return (selector.kind === 'tag' || selector.kind === 'all') && selector.matches(entry);
}

function publishPurge(kind: RecordKind, { kind: by }: CompiledSelector, cause: Cause): void {
  if (purgeEvents.hasSubscribers) purgeEvents.publish({ kind, by, cause });
}

/** Whether other processes serve the same app and never learn of a purge. */
function isLocalInCluster({ redis }: CacheState): boolean {
  return !redis && cluster.isWorker;
}

/** Warns once per process. */
function warnOfOtherWorkers(): void {
  warnOnce(
    process,
    'HOTPATH_PURGE_LOCAL',
    () =>
      'a purge affects only this worker of node:cluster, because the cache has no Redis; ' +
      'other workers still serve the purged responses; set cache.redis, or run a single process',
  );
}
