import { types } from 'node:util';
import { configError, HotpathError } from '../options/errors.js';
import { formatValue } from '../options/format-value.js';
import { resolve } from '../options/schema.js';
import type { PurgeResult } from '../store/invalidation/invalidation-log.js';
import { type AnyFunction, CachedCalls, type RecordTag } from './cached-calls.js';
import { type FunctionCounts, noFunctionCounts } from './counts.js';
import { Batcher, type LoadMany } from './many.js';
import { decorateMethod, type MethodDecoratorOf } from './method.js';
import {
  type CommonFunctionOptions,
  createFunctionSchema,
  type FunctionOptions,
  type FunctionSettings,
} from './options.js';
import { ResultTiers, type TierParts } from './result-tiers.js';
import { type FunctionParts, Runner } from './runner.js';
import { StoredValues } from './stored-values.js';

/** A function whose results are cached. */
export interface CachedFunction<Args extends readonly unknown[], Result> {
  /**
   * Returns the stored result, or runs the function.
   *
   * @throws (rejects) the error of the function; HotpathError `HOTPATH_FUNCTION_TIMEOUT`; with `strict`,
   * `HOTPATH_ARGUMENTS_INVALID` and `HOTPATH_RESULT_INVALID`.
   */
  (...args: Args): Promise<Result>;
  /** Purges the result of these arguments, and the responses that inherited its tags. */
  purge(...args: Args): Promise<PurgeResult>;
  /** Makes the result of these arguments stale. */
  expire(...args: Args): Promise<PurgeResult>;
  /** Returns the stored result if it is fresh, and `undefined` otherwise. Runs nothing, and counts no call. */
  peek(...args: Args): Promise<Result | undefined>;
  /** Runs the function, whatever is stored, and stores its result. */
  refresh(...args: Args): Promise<Result>;
  /**
   * The same function for use in a database transaction that does not see later writes (REPEATABLE READ). A result that
   * it computes counts as read at that position of the invalidation log, so a purge since then ends it.
   *
   * @param position the result of `cache.position()` from before the transaction began.
   * @throws HotpathError `HOTPATH_ARGUMENTS_INVALID` for a position that the log has not reached.
   */
  since(position: number): (...args: Args) => Promise<Result>;
}

/** A function of many ids, of which only the missing ones are loaded. */
export interface CachedMany<Id, Value> {
  /** Returns the values in the order of the ids. */
  (ids: readonly Id[]): Promise<Value[]>;
  purge(id: Id): Promise<PurgeResult>;
  expire(id: Id): Promise<PurgeResult>;
  peek(id: Id): Promise<Value | undefined>;
  refresh(id: Id): Promise<Value>;
}

/** How a function of many ids is cached. */
export interface ManyOptions<Id> extends CommonFunctionOptions {
  /** Returns the value that identifies an id. Default: the id. */
  key?: ((id: Id) => unknown) | undefined;
  /** Tags of the result of an id. Default: none. */
  tags?: readonly string[] | ((id: Id) => readonly string[]) | undefined;
}

/** Caches functions. */
export interface CacheFunctions {
  /**
   * Caches the results of a function by its arguments, in the tiers of this cache. Call it once for each function, when
   * the app starts.
   *
   * @throws HotpathError `HOTPATH_CONFIG_INVALID` if an option is not valid, the name is taken, or `fn` is a generator.
   */
  <Args extends readonly unknown[], Result>(
    fn: (...args: Args) => Result,
    options: FunctionOptions<Args>,
  ): CachedFunction<Args, Awaited<Result>>;
  /**
   * Caches each value of a function that loads many. It gets the missing ids only, and returns an array in their order.
   *
   * @throws HotpathError `HOTPATH_CONFIG_INVALID`, like `cached`.
   */
  many<Id, Value>(
    fn: (ids: readonly Id[]) => readonly Value[] | PromiseLike<readonly Value[]>,
    options: ManyOptions<Id>,
  ): CachedMany<Id, Value>;
  /** The same for a function that returns a Map by id. An id without a value gives `undefined`, which is kept too. */
  many<Id, Value>(
    fn: (ids: readonly Id[]) => ReadonlyMap<Id, Value> | PromiseLike<ReadonlyMap<Id, Value>>,
    options: ManyOptions<Id>,
  ): CachedMany<Id, Value | undefined>;
  /**
   * A decorator for async methods, standard and legacy: `@cache.cached.method({ name: 'prices', ttl: '1m' })`. The results
   * are those of one instance; for several, `key` names the instance, which is its `this`.
   *
   * @throws HotpathError `HOTPATH_CONFIG_INVALID`, like `cached`.
   */
  // biome-ignore lint/suspicious/noExplicitAny: methods of any arguments, unless an option names them
  method<Args extends readonly unknown[] = any[]>(options: FunctionOptions<Args>): MethodDecoratorOf<Args>;
}

/** The parts of a cache that its functions and values use. */
export type FunctionCacheParts = Omit<FunctionParts, 'tiers'> & Omit<TierParts, 'clock' | 'log' | 'fault'>;

/** The cached functions of one cache, by name, and its values. */
export class FunctionCache {
  readonly values: StoredValues;
  readonly #parts: FunctionParts;
  readonly #record: RecordTag;
  readonly #counts: Map<string, FunctionCounts>;

  /** @param counts where the counts of each function are kept. */
  constructor(parts: FunctionCacheParts, record: RecordTag, counts: Map<string, FunctionCounts>) {
    const tiers = new ResultTiers(parts);
    this.#parts = { ...parts, tiers };
    this.#record = record;
    this.#counts = counts;
    this.values = new StoredValues({ ...this.#parts, record });
  }

  /** `cached()` with its variants. */
  get cached(): CacheFunctions {
    const cached = (fn: AnyFunction, options: unknown) => this.#cache(fn, options);
    const many = (fn: AnyFunction, options: unknown) => this.#cacheMany(fn, options);
    const method = (options: unknown) => {
      const settings = this.#settingsFor(options);
      return decorateMethod((fn) => this.#register(settings, fn), settings);
    };
    return Object.assign(cached, { many, method }) as unknown as CacheFunctions;
  }

  #cache(fn: AnyFunction, options: unknown) {
    const calls = this.#register(this.#settingsFor(options), fn);
    const since = (position: number) => {
      this.#checkPosition(position);
      return (...args: unknown[]) => calls.call(undefined, args, position);
    };
    const call = (...args: unknown[]) => calls.call(undefined, args);
    return Object.assign(call, methodsOf(calls), { since });
  }

  #cacheMany(fn: AnyFunction, options: unknown) {
    const settings = this.#settingsFor(options);
    refuseCluster(settings);
    const calls = this.#register(settings, fn, true);
    const call = async (ids: readonly unknown[]) => {
      // All end, so that no rejection is left unhandled.
      const values = await Promise.allSettled(ids.map((id) => calls.call(undefined, [id])));
      return values.map((each) => {
        if (each.status === 'rejected') throw each.reason;
        return each.value;
      });
    };
    return Object.assign(call, methodsOf(calls));
  }

  #settingsFor(options: unknown): FunctionSettings {
    return resolve(createFunctionSchema(this.#parts.lifetimes), options, 'cached');
  }

  /** @throws HotpathError `HOTPATH_CONFIG_INVALID`. */
  #register(settings: FunctionSettings, fn: AnyFunction, isBatched = false): CachedCalls {
    const { name } = settings;
    checkFunction(fn, name);
    if (this.#counts.has(name)) {
      const message =
        'is the name of another function; call `cached` once for each function, when the app starts';
      throw configError([{ path: 'cached.name', message, received: formatValue(name) }]);
    }
    const counts = noFunctionCounts();
    this.#counts.set(name, counts);
    const runner = new Runner(this.#parts, settings, counts, isBatched);
    const batcher = isBatched ? new Batcher(fn as LoadMany, runner) : undefined;
    return new CachedCalls(batcher ? (id: unknown) => batcher.load(id) : fn, runner, this.#record);
  }

  #checkPosition(position: number): void {
    const last = this.#parts.log.position;
    if (Number.isSafeInteger(position) && position >= 0 && position <= last) return;
    throw new HotpathError(
      'HOTPATH_ARGUMENTS_INVALID',
      `since: expected a result of cache.position(), at most ${last}, received ${formatValue(position)}`,
    );
  }
}

function methodsOf(calls: CachedCalls) {
  return {
    purge: (...args: unknown[]) => calls.purge(undefined, args),
    expire: (...args: unknown[]) => calls.expire(undefined, args),
    peek: (...args: unknown[]) => calls.peek(undefined, args),
    refresh: (...args: unknown[]) => calls.refresh(undefined, args),
  };
}

/** One lease for each id would make a batch wait for the slowest. */
function refuseCluster({ collapse }: FunctionSettings): void {
  if (collapse !== 'cluster') return;
  const message = 'is not for functions of many ids; leave it out, and instances may load the same id';
  throw configError([{ path: 'cached.collapse', message }]);
}

/** A generator returns at once, and its values come later and only once. */
function checkFunction(fn: unknown, name: string): void {
  if (types.isGeneratorFunction(fn)) {
    const message =
      'is a generator, whose values can be read only once; wrap it in a function that returns them as an array';
    throw configError([{ path: `cached('${name}')`, message }]);
  }
  if (typeof fn === 'function') return;
  throw configError([
    { path: `cached('${name}')`, message: 'expected a function', received: formatValue(fn) },
  ]);
}
