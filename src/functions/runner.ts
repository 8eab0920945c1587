import { HotpathError } from '../options/errors.js';
import type { Lifetimes } from '../options/lifetimes.js';
import { guarded, unawaited } from '../runtime/guard.js';
import { runInOwnContext } from '../runtime/module-context.js';
import { messageOf } from '../runtime/report-fault.js';
import { TransientMap } from '../runtime/transient-map.js';
import { warnOnce } from '../runtime/warn.js';
import type { InvalidationLog } from '../store/invalidation/invalidation-log.js';
import { keepLease, type Lease, takeLease } from '../store/redis/lease.js';
import type { StoredResult } from '../store/stored-response.js';
import type { FunctionCounts } from './counts.js';
import { Load, type Outcome } from './load.js';
import type { FunctionSettings } from './options.js';
import { makeStoredResult, type ResultTiers } from './result-tiers.js';
import { Run, runInScope } from './scope.js';
import type { UsedResult } from './used-results.js';
import { makeOwnCopy, type OwnCopy } from './values/own-copy.js';

/** The parts of a cache that all of its functions use. */
export interface FunctionParts {
  readonly tiers: ResultTiers;
  readonly log: InvalidationLog;
  /** Monotonic time. Milliseconds. */
  readonly clock: () => number;
  readonly fault: (error: unknown, where: string) => void;
  readonly lifetimes: Lifetimes;
  /** Larger results are not stored. Bytes. */
  readonly maxEntryBytes: number;
  /** The pause after a failed run; doubles with each further one. Seconds. */
  readonly refreshBackoff: number;
  /** Whether calls may wait for each other; not in a cache that is off. */
  readonly mayCollapse: boolean;
  /** Runs work in the background, a limited number at once. */
  readonly background: {
    add(work: { isAwaited(): boolean; run(): Promise<void>; drop(): void }): void;
  };
}

/** The largest number of tags, as for responses. */
const MOST_TAGS = 1000;

/** How long calls wait for a run without `timeout`, and how long a lease is renewed for it. Milliseconds. */
const LONGEST_WAIT_MS = 30_000;

const LONGEST_BACKOFF_MS = 30_000;

/** A load to start. */
export interface WantedLoad {
  readonly key: string;
  readonly tags: readonly string[] | undefined;
  readonly replaces: StoredResult | undefined;
  /** The log position of the data that the run reads, if it is older than the call. */
  readonly since?: number | undefined;
  /** Calls the function. */
  readonly work: () => unknown;
}

/** Starts the runs of one function, and stores their results. */
export class Runner {
  readonly parts: FunctionParts;
  readonly settings: FunctionSettings;
  readonly counts: FunctionCounts;
  /** The calls of one batch run one function, which counts itself. */
  readonly isBatched: boolean;
  readonly #isStrict: boolean;
  readonly #loads = new TransientMap<Load>();

  constructor(parts: FunctionParts, settings: FunctionSettings, counts: FunctionCounts, isBatched = false) {
    this.parts = parts;
    this.settings = settings;
    this.counts = counts;
    this.isBatched = isBatched;
    this.#isStrict = settings.strict ?? process.env.NODE_ENV !== 'production';
  }

  /** The name of the function in reports. */
  get place(): string {
    return `function '${this.settings.name}'`;
  }

  /** How long calls wait for the run of another call. */
  get waitMs(): number {
    return this.settings.timeout === undefined ? LONGEST_WAIT_MS : this.settings.timeout * 1000;
  }

  /**
   * The load in flight that a call may wait for: no purge since its start concerns it.
   *
   * @param own the load that the call is made in. `'cyclic'`: the load in flight waits for it.
   */
  joinable(key: string, own: Load | undefined): Load | 'cyclic' | undefined {
    const load = this.#current(key);
    if (!load) return undefined;
    if (own && load.dependsOn(own)) return 'cyclic';
    const { mayCollapse } = this.parts;
    const isJoinable = mayCollapse && this.settings.collapse && this.isUpToDate(load.stamp, load.tags ?? []);
    return isJoinable ? load : undefined;
  }

  /** Whether no record since a position concerns results with these tags. */
  isUpToDate(stamp: number, tags: readonly string[]): boolean {
    const now = this.parts.clock();
    return this.parts.log.limit({ stamp, tags, url: '', path: '', storedAt: now }) > now;
  }

  /**
   * Starts a load that calls wait for.
   *
   * @param own the load that the call is made in.
   * @param isForced runs the function, whatever Redis has.
   */
  start(wanted: WantedLoad, own: Load | undefined, isForced = false): Load {
    const load = this.#createLoad(wanted);
    load.isAwaited = true;
    // Before the function runs, which may call the function of `own` at once.
    own?.waitsFor.add(load);
    const ended = runInOwnContext(() => this.#perform(load, wanted.work, isForced));
    // Callers wait for it, so it must settle even after an error of the cache.
    const settled = ended.catch((error: unknown): Outcome => {
      return { kind: 'error', error, made: { tags: [], freshUntil: 0, stamp: load.stamp } };
    });
    void unawaited(settled.then(guarded('function', (outcome) => this.settle(load, outcome))), this.place);
    return load;
  }

  /** Starts a run in the background, unless one is in flight, or the last one has failed just now. */
  startInBackground(item: StoredResult, wanted: WantedLoad): void {
    if (this.#current(item.key) || item.retryAt > this.parts.clock()) return;
    const load = this.#createLoad(wanted);
    const perform = async () => {
      const outcome = await this.#perform(load, wanted.work, false);
      this.settle(load, outcome);
      if (outcome.kind === 'error') this.parts.fault(outcome.error, this.place);
    };
    this.parts.background.add({
      isAwaited: () => load.isAwaited,
      // A function that never returns must not take the place of others for ever.
      run: () =>
        runInOwnContext(async () => void (await Promise.race([perform(), load.whenLate(this.waitMs)]))),
      drop: () => this.settle(load, { kind: 'dropped' }),
    });
  }

  settle(load: Load, outcome: Outcome): void {
    this.release(load);
    load.settle(outcome);
  }

  /** Allows another call to start a run. */
  release(load: Load): void {
    this.#loads.delete(load.key, load);
  }

  /**
   * Runs the function for one call, without storing its result.
   *
   * @param load the load that the call is made in.
   */
  async runAlone(
    work: () => unknown,
    load: Load | undefined,
  ): Promise<{ readonly value: unknown; readonly run: Run }> {
    this.counts.uncached++;
    const run = this.createRun();
    try {
      return { value: await runInOwnContext(() => this.#invoke(run, load, work)), run };
    } catch (error) {
      if (!this.isBatched) this.counts.errors++;
      throw error;
    }
  }

  /** Throws in strict mode; otherwise warns once. */
  throwOrWarn(code: 'HOTPATH_ARGUMENTS_INVALID' | 'HOTPATH_RESULT_INVALID', message: string): void {
    if (this.#isStrict) throw new HotpathError(code, message);
    warnOnce(this, code, () => message);
  }

  #createLoad({ key, tags, replaces, since }: WantedLoad): Load {
    const { log, clock } = this.parts;
    const stamp = Math.min(since ?? log.position, log.position);
    const load = new Load({ key, stamp, startedAt: clock(), tags, replaces });
    this.#loads.set(key, load);
    return load;
  }

  /** The load in flight, unless it takes too long. */
  #current(key: string): Load | undefined {
    const load = this.#loads.get(key);
    return load && this.parts.clock() - load.startedAt <= this.waitMs ? load : undefined;
  }

  createRun(): Run {
    return new Run(this.parts.lifetimes, (error) => this.parts.fault(error, this.place));
  }

  /** Never rejects. */
  async #perform(load: Load, work: () => unknown, isForced: boolean): Promise<Outcome> {
    const elsewhere = !isForced && this.parts.tiers.redis ? await this.#lookElsewhere(load) : undefined;
    if (elsewhere && 'kind' in elsewhere) return elsewhere;
    const run = this.createRun();
    const ended = this.#runAndStore(load, run, work, elsewhere);
    return this.settings.timeout === undefined ? ended : this.#limitTime(load, run, ended);
  }

  /** Reads Redis; with `collapse: 'cluster'`, waits for the run of another instance or takes the lease. Never rejects. */
  async #lookElsewhere(load: Load): Promise<Outcome | Lease | undefined> {
    const { tiers, clock, fault } = this.parts;
    const first = await this.#findElsewhere(load);
    const store = this.settings.collapse === 'cluster' ? tiers.redis : undefined;
    if (first || !store) return first;
    let other: Outcome | undefined;
    try {
      const wanted = { store, key: load.key, clock, seconds: this.waitMs / 1000 };
      const taken = await takeLease(wanted, async () => {
        other = await this.#findElsewhere(load);
        return other !== undefined;
      });
      return taken === 'found' ? other : taken;
    } catch (error) {
      fault(error, 'redis lease');
      return undefined;
    }
  }

  /** A usable result that another instance has stored, if it is not the one to be replaced. */
  async #findElsewhere(load: Load): Promise<Outcome | undefined> {
    const { tiers } = this.parts;
    const item = await tiers.fetch(load.key, this.settings.isolate);
    if (!item || !('value' in item.outcome)) return undefined;
    const left = tiers.freshnessLeft(item);
    const { replaces } = load;
    // An eager refresh begins while its result is fresh. Clocks of instances differ a little.
    const isEager = replaces !== undefined && tiers.freshnessLeft(replaces) > 0;
    if (isEager && item.storedAt <= (replaces.storedAt + load.startedAt) / 2) return undefined;
    if (left > 0) return { kind: 'result', item, isFound: true, refusal: undefined };
    if (!replaces) load.found = item;
    if (replaces || !(-left < item.staleWhileRevalidate * 1000)) return undefined;
    return { kind: 'result', item, isFound: true, refusal: 'stale-result' };
  }

  /** Never rejects. */
  async #runAndStore(load: Load, run: Run, work: () => unknown, lease: Lease | undefined): Promise<Outcome> {
    const renewal = lease && keepLease(lease, this.waitMs);
    let written: Promise<void> | undefined;
    try {
      const result = await this.#attempt(load, run, work);
      if ('error' in result) return this.#fail(load, run, result.error);
      const { outcome, copy } = this.#conclude(load, run, result.value);
      if (copy && outcome.kind === 'result') {
        written = this.parts.tiers.put(outcome.item, load.startedAt, copy);
      }
      return outcome;
    } finally {
      clearInterval(renewal);
      // After the write, so that the next holder finds the result.
      if (lease)
        void unawaited(
          Promise.resolve(written).then(() => lease.release()),
          'redis lease',
        );
    }
  }

  async #attempt(
    load: Load,
    run: Run,
    work: () => unknown,
  ): Promise<{ readonly value: unknown } | { readonly error: unknown }> {
    const { clock } = this.parts;
    const startedAt = clock();
    try {
      return { value: await this.#invoke(run, load, work) };
    } catch (error) {
      return { error };
    } finally {
      if (!this.isBatched) this.counts.runSeconds += (clock() - startedAt) / 1000;
    }
  }

  async #invoke(run: Run, load: Load | undefined, work: () => unknown): Promise<unknown> {
    if (!this.isBatched) this.counts.runs++;
    try {
      return await runInScope({ used: run.used, run, load }, work);
    } finally {
      run.end();
    }
  }

  /** @returns `copy` if the result is to be stored. Never throws. */
  #conclude(load: Load, run: Run, value: unknown): { readonly outcome: Outcome; readonly copy?: OwnCopy } {
    const { clock, maxEntryBytes } = this.parts;
    const { isolate, ttl, staleWhileRevalidate, staleIfError } = this.settings;
    let copy: OwnCopy;
    try {
      copy = makeOwnCopy(value, maxEntryBytes, isolate === 'freeze');
    } catch (problem) {
      return { outcome: this.#refuseResult(load, run, value, problem) };
    }
    const now = clock();
    const made = madeBy(load, run);
    const freshUntil = Math.min(now + (run.ttlSeconds ?? ttl) * 1000, made.freshUntil);
    const head = {
      ...{ key: load.key, stamp: made.stamp, tags: made.tags, url: '', path: '', storedAt: now },
      ...{ freshUntil, staleWhileRevalidate, staleIfError },
    };
    const item = makeStoredResult(head, copy, isolate, isolate === 'none' ? value : copy.value);
    const isUncached = run.isSkipped || !load.tags || freshUntil <= now || this.#hasTooManyTags(made.tags);
    const refusal = run.used.refusal ?? (isUncached ? ('uncached-result' as const) : undefined);
    const outcome: Outcome = { kind: 'result', item, isFound: false, refusal };
    return refusal ? { outcome } : { outcome, copy };
  }

  #hasTooManyTags({ length }: readonly string[]): boolean {
    if (length <= MOST_TAGS) return false;
    this.parts.fault(
      new RangeError(`tags: expected at most ${MOST_TAGS} names, received ${length}`),
      this.place,
    );
    return true;
  }

  #refuseResult(load: Load, run: Run, value: unknown, problem: unknown): Outcome {
    const made = madeBy(load, run);
    try {
      this.throwOrWarn(
        'HOTPATH_RESULT_INVALID',
        `${this.place}: its result cannot be stored: ${messageOf(problem)}; return plain data, ` +
          'or set strict: false to use the function without caching such results',
      );
      return { kind: 'private', value, made };
    } catch (error) {
      return { kind: 'error', error, made };
    }
  }

  #fail(load: Load, run: Run, error: unknown): Outcome {
    const { tiers, clock, refreshBackoff } = this.parts;
    const { negativeTtl } = this.settings;
    const made = madeBy(load, run);
    const outcome: Outcome = { kind: 'error', error, made };
    // A run that reached its timeout often fails later too, because its signal aborts.
    if (load.hasFailed) return outcome;
    load.hasFailed = true;
    if (!this.isBatched) this.counts.errors++;
    const now = clock();
    const known = load.replaces ?? load.found;
    if (known) {
      known.failures++;
      const pause = refreshBackoff * 1000 * 2 ** (known.failures - 1);
      known.retryAt = now + Math.min(pause, LONGEST_BACKOFF_MS);
    }
    if (negativeTtl !== undefined && load.tags) {
      const item: StoredResult = {
        ...{ kind: 'result', key: load.key, stamp: made.stamp, tags: made.tags, url: '', path: '' },
        ...{ storedAt: now, freshUntil: now + negativeTtl * 1000, staleWhileRevalidate: 0, staleIfError: 0 },
        ...{ outcome: { error }, isShareable: true, isTree: true, outcomeBytes: SIZE_OF_ERROR },
        ...{ failures: 0, retryAt: 0 },
      };
      void unawaited(tiers.put(item, load.startedAt), this.place);
    }
    return outcome;
  }

  /** Ends the wait of the calls after `timeout`. The run goes on, and its result is stored if it ends. */
  #limitTime(load: Load, run: Run, ended: Promise<Outcome>): Promise<Outcome> {
    return new Promise((resolve) => {
      const { timeout } = this.settings;
      const onLate = guarded('function', () => {
        const error = new HotpathError(
          'HOTPATH_FUNCTION_TIMEOUT',
          `${this.place} took longer than its timeout of ${timeout} s`,
        );
        const outcome = this.#fail(load, run, error);
        run.abort(error);
        resolve(outcome);
      });
      const timer = setTimeout(onLate, this.waitMs).unref();
      const onEnd = guarded('function', (outcome: Outcome) => {
        clearTimeout(timer);
        resolve(outcome);
      });
      void unawaited(ended.then(onEnd), this.place);
    });
  }
}

/** Estimated memory of an error with its stack. Bytes. */
const SIZE_OF_ERROR = 2000;

/** The tags and limits of a result, with those of the results in it. */
function madeBy(load: Load, { used }: Run): UsedResult & { readonly tags: readonly string[] } {
  return {
    tags: [...new Set([...(load.tags ?? []), ...used.tags])],
    freshUntil: used.freshUntil,
    stamp: Math.min(load.stamp, used.stamp),
  };
}
