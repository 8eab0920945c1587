import { hash } from 'node:crypto';
import { HotpathError } from '../options/errors.js';
import { requireSync } from '../options/user-function.js';
import { guarded, unawaited } from '../runtime/guard.js';
import { type PurgeResult, VOID } from '../store/invalidation/invalidation-log.js';
import { joinPart } from '../store/key-parts.js';
import type { StoredResult } from '../store/stored-response.js';
import type { Load, Outcome } from './load.js';
import type { FunctionSettings } from './options.js';
import type { Runner, WantedLoad } from './runner.js';
import { currentScope, type Scope } from './scope.js';
import { cloneValue } from './values/clone.js';
import { encodeKey } from './values/encode-key.js';
import { makeOwnCopy } from './values/own-copy.js';
import { ValueProblem } from './values/value-kind.js';

export type AnyFunction = (...args: never[]) => unknown;

/** Purges or expires one result. */
export type RecordTag = (kind: 'purge' | 'expire', tag: string) => Promise<PurgeResult>;

/** One call. */
interface Call {
  readonly self: unknown;
  readonly args: readonly unknown[];
  readonly key: string;
  readonly tags: readonly string[] | undefined;
  readonly scope: Scope | undefined;
  readonly since: number | undefined;
}

/** How often a call waits again because of purges before it runs the function itself. */
const MOST_TRIES = 3;

const LONGEST_TAG = 1024;

/** Answers the calls of one function. */
export class CachedCalls {
  readonly #fn: AnyFunction;
  readonly #runner: Runner;
  readonly #settings: FunctionSettings;
  readonly #record: RecordTag;
  /** The beginning of all keys. A letter first: keys of responses begin with a digit or a hyphen. */
  readonly #prefix: string;

  constructor(fn: AnyFunction, runner: Runner, record: RecordTag) {
    this.#fn = fn;
    this.#runner = runner;
    this.#settings = runner.settings;
    this.#record = record;
    const { name, version } = runner.settings;
    this.#prefix = `f${joinPart(name)}${joinPart(version === undefined ? undefined : formatVersion(version))}`;
  }

  /** The result of a call: from memory at once, if it is fresh there. */
  call(self: unknown, args: readonly unknown[], since?: number): Promise<unknown> {
    const scope = currentScope();
    let key: string;
    try {
      key = this.keyOf(self, args);
    } catch (error) {
      return this.#callWithoutKey(error, self, args, scope);
    }
    const { tiers, clock } = this.#runner.parts;
    const item = tiers.find(key);
    const left = item ? tiers.freshnessLeft(item) : 0;
    if (!item || left <= 0 || !('value' in item.outcome)) {
      return this.#callLater(item, left, self, args, key, scope, since);
    }
    this.#runner.counts.hits++;
    const { eagerRefresh } = this.#settings;
    if (eagerRefresh !== undefined) {
      const lifetime = item.freshUntil - item.storedAt;
      if (clock() > item.storedAt + lifetime * eagerRefresh) {
        this.#refresh(item, this.#describe(self, args, key, scope, since));
      }
    }
    scope?.used.add(item);
    return Promise.resolve(
      item.isShareable ? item.outcome.value : cloneValue(item.outcome.value, item.isTree),
    );
  }

  /**
   * The key of a call.
   *
   * @throws ValueProblem if the values cannot be a key; or the exception of the option's function.
   */
  keyOf(self: unknown, args: readonly unknown[]): string {
    const { key } = this.#settings;
    return this.#prefix + encodeKey(key ? [requireSync(key.apply(self, args as never), 'key')] : args);
  }

  /** Runs the function, whatever is stored, and stores its result. */
  async refresh(self: unknown, args: readonly unknown[]): Promise<unknown> {
    const scope = currentScope();
    const call = this.#describe(self, args, this.#requireKey(self, args), scope, undefined);
    const load = this.#runner.start(this.#wanted(call, undefined), scope?.load, true);
    const outcome = await this.#waitFor(load, call, undefined);
    return this.#deliver(outcome as Exclude<Outcome, { kind: 'dropped' }>, true, load, undefined, call);
  }

  /** The fresh result, if one is stored. Runs nothing, and counts no call. */
  async peek(self: unknown, args: readonly unknown[]): Promise<unknown> {
    const { tiers, log } = this.#runner.parts;
    const scope = currentScope();
    const key = this.#requireKey(self, args);
    const { position } = log;
    let item = tiers.find(key);
    if (!item || tiers.freshnessLeft(item) <= 0) item = await tiers.fetch(key, this.#settings.isolate);
    if (item && tiers.freshnessLeft(item) > 0 && 'value' in item.outcome) {
      scope?.used.add(item);
      return this.#hand(item);
    }
    const tags = [resultTag(this.#settings.name, key)];
    // A run that stores the result would not purge a response that was made without it.
    scope?.used.add({ tags, freshUntil: Number.POSITIVE_INFINITY, stamp: position }, 'uncached-result');
    return undefined;
  }

  async purge(self: unknown, args: readonly unknown[]): Promise<PurgeResult> {
    return this.#record('purge', this.#tagOf(self, args));
  }

  async expire(self: unknown, args: readonly unknown[]): Promise<PurgeResult> {
    return this.#record('expire', this.#tagOf(self, args));
  }

  #tagOf(self: unknown, args: readonly unknown[]): string {
    return resultTag(this.#settings.name, this.#requireKey(self, args));
  }

  /** @throws HotpathError `HOTPATH_ARGUMENTS_INVALID`; or the exception of the option's function. */
  #requireKey(self: unknown, args: readonly unknown[]): string {
    try {
      return this.keyOf(self, args);
    } catch (error) {
      currentScope()?.used.refuse('uncached-result');
      throw error instanceof ValueProblem
        ? new HotpathError(
            'HOTPATH_ARGUMENTS_INVALID',
            `${this.#runner.place}: ${this.#describeProblem(error)}`,
          )
        : error;
    }
  }

  #describeProblem({ message }: ValueProblem): string {
    return (
      `its arguments cannot be a key: ${message}; set \`key\` to a function that returns the value that ` +
      'identifies the result'
    );
  }

  /** A miss, a stale result or a stored error. */
  async #callLater(
    item: StoredResult | undefined,
    left: number,
    self: unknown,
    args: readonly unknown[],
    key: string,
    scope: Scope | undefined,
    since: number | undefined,
  ): Promise<unknown> {
    if (item && left > 0) {
      this.#runner.counts.hits++;
      scope?.used.add(item, 'uncached-result');
      return this.#hand(item);
    }
    const call = this.#describe(self, args, key, scope, since);
    const kept = left === VOID ? undefined : item;
    const stale = kept && 'value' in kept.outcome ? kept : undefined;
    if (stale && -left < stale.staleWhileRevalidate * 1000) {
      this.#refresh(stale, call);
      return this.#handStale(stale, call);
    }
    const fallback = stale && this.#runner.parts.tiers.mayReplaceError(stale) ? stale : undefined;
    if (fallback && fallback.retryAt > this.#runner.parts.clock()) return this.#handStale(fallback, call);
    return this.#load(call, fallback, stale);
  }

  /** Waits for the run in flight, or starts one. */
  async #load(
    call: Call,
    fallback: StoredResult | undefined,
    replaces: StoredResult | undefined,
  ): Promise<unknown> {
    const runner = this.#runner;
    const { log } = runner.parts;
    for (let tries = 1; ; tries++) {
      const joined = tries > MOST_TRIES ? undefined : runner.joinable(call.key, call.scope?.load);
      // Waiting would never end: the function calls itself.
      if (joined === 'cyclic') return this.callUncached(call.self, call.args, call.scope);
      const joinedAt = log.position;
      const load = joined ?? runner.start(this.#wanted(call, replaces), call.scope?.load);
      load.isAwaited = true;
      const outcome = await this.#waitFor(load, call, fallback, joined !== undefined);
      if (outcome === 'soft') {
        if (!joined) this.#reportLater(load);
        return this.#handStale(fallback as StoredResult, call);
      }
      if (outcome === 'late') {
        runner.release(load);
        continue;
      }
      if (outcome.kind === 'dropped') continue;
      // The result is of one call, so each other call runs the function itself.
      if (outcome.kind === 'private' && joined) return this.callUncached(call.self, call.args, call.scope);
      // A purge came after the start of the run and before this call. Its tags are known now.
      const isOutdated =
        joined !== undefined &&
        outcome.kind === 'result' &&
        joinedAt > load.stamp &&
        !runner.isUpToDate(load.stamp, outcome.item.tags);
      if (isOutdated) continue;
      return this.#deliver(outcome, joined === undefined, load, fallback, call);
    }
  }

  async #waitFor(
    load: Load,
    { scope }: Call,
    fallback: StoredResult | undefined,
    isJoined = false,
  ): Promise<Outcome | 'late' | 'soft'> {
    const { softTimeout } = this.#settings;
    scope?.load?.waitsFor.add(load);
    let timer: NodeJS.Timeout | undefined;
    try {
      const waits: Promise<Outcome | 'late' | 'soft'>[] = [load.settled];
      if (isJoined) waits.push(load.whenLate(this.#runner.waitMs));
      if (fallback && softTimeout !== undefined) {
        const soft = new Promise<'soft'>((resolve) => {
          timer = setTimeout(
            guarded('function', () => resolve('soft')),
            softTimeout * 1000,
          ).unref();
        });
        waits.push(soft);
      }
      return waits.length === 1 ? await load.settled : await Promise.race(waits);
    } finally {
      clearTimeout(timer);
      scope?.load?.waitsFor.delete(load);
    }
  }

  #deliver(
    outcome: Exclude<Outcome, { kind: 'dropped' }>,
    isLeader: boolean,
    load: Load,
    fallback: StoredResult | undefined,
    call: Call,
  ): unknown {
    const { counts, parts, place } = this.#runner;
    const { used } = call.scope ?? {};
    if (outcome.kind === 'result') {
      const { item, isFound, refusal } = outcome;
      if (isFound && refusal) {
        this.#refresh(item, call);
        return this.#handStale(item, call);
      }
      if (!isLeader) counts.collapsed++;
      else if (isFound) counts.hits++;
      else counts.misses++;
      used?.add(item, refusal);
      return this.#hand(item);
    }
    const standIn = fallback ?? load.found;
    if (outcome.kind === 'error' && standIn && parts.tiers.mayReplaceError(standIn)) {
      if (isLeader) parts.fault(outcome.error, place);
      return this.#handStale(standIn, call);
    }
    if (isLeader) counts.misses++;
    else counts.collapsed++;
    used?.add(outcome.made, 'uncached-result');
    if (outcome.kind === 'error') throw outcome.error;
    return outcome.value;
  }

  /** Reports the error of a run for which its caller does not wait any longer. */
  #reportLater({ settled }: Load): void {
    const { parts, place } = this.#runner;
    const report = guarded('function', (outcome: Outcome) => {
      if (outcome.kind === 'error') parts.fault(outcome.error, place);
    });
    void unawaited(settled.then(report), place);
  }

  #handStale(item: StoredResult, { scope }: Call): unknown {
    this.#runner.counts.stale++;
    scope?.used.add(item, 'stale-result');
    return this.#hand(item);
  }

  /** The value of a result, as callers get it. @throws the stored error. */
  #hand({ outcome, isShareable, isTree }: StoredResult): unknown {
    if ('error' in outcome) throw outcome.error;
    return isShareable ? outcome.value : cloneValue(outcome.value, isTree);
  }

  /** Throws in strict mode; otherwise warns once. A response that the caller makes of the error is not stored. */
  refuseCall(message: string, scope: Scope | undefined): void {
    scope?.used.refuse('uncached-result');
    this.#runner.throwOrWarn('HOTPATH_ARGUMENTS_INVALID', `${this.#runner.place}: ${message}`);
  }

  #refresh(item: StoredResult, call: Call): void {
    this.#runner.startInBackground(item, { ...this.#wanted(call, item), since: undefined });
  }

  #wanted({ self, args, key, tags, since }: Call, replaces: StoredResult | undefined): WantedLoad {
    return { key, tags, since, replaces, work: () => this.#fn.apply(self, args as never[]) };
  }

  #describe(
    self: unknown,
    args: readonly unknown[],
    key: string,
    scope: Scope | undefined,
    since: number | undefined,
  ): Call {
    // The caller may change its objects while the function runs, and the result must belong to the key.
    const own = this.#settings.key ? args : copyArguments(args);
    return { self, args: own, key, tags: this.#tagsOf(self, args, key), scope, since };
  }

  /** `undefined` if the function of the option failed. */
  #tagsOf(self: unknown, args: readonly unknown[], key: string): readonly string[] | undefined {
    const { name, tags } = this.#settings;
    try {
      const given: unknown =
        typeof tags === 'function' ? requireSync(tags.apply(self, args as never), 'tags') : tags;
      if (!Array.isArray(given) || !given.every(isTag)) {
        throw new TypeError("tags: expected a list of names such as ['products', 'product:1']");
      }
      return [`function:${name}`, resultTag(name, key), ...given];
    } catch (error) {
      this.#runner.parts.fault(error, this.#runner.place);
      return undefined;
    }
  }

  async #callWithoutKey(
    error: unknown,
    self: unknown,
    args: readonly unknown[],
    scope: Scope | undefined,
  ): Promise<unknown> {
    const { place, parts } = this.#runner;
    if (error instanceof ValueProblem) this.refuseCall(this.#describeProblem(error), scope);
    else parts.fault(error, place);
    return this.callUncached(self, args, scope);
  }

  /** Runs the function for this call alone. */
  async callUncached(self: unknown, args: readonly unknown[], scope: Scope | undefined): Promise<unknown> {
    // Before the run, because the caller may make a response of its error.
    scope?.used.refuse('uncached-result');
    const { value, run } = await this.#runner.runAlone(
      () => this.#fn.apply(self, args as never[]),
      scope?.load,
    );
    scope?.used.add(run.used);
    return value;
  }
}

/** The tag of one result, by which it is purged with the responses that inherited it. */
function resultTag(name: string, key: string): string {
  return `function:${name}:${hashKey(key)}`;
}

/** 128 bits of the hash of a key. UTF-16 for lone surrogates, which UTF-8 maps to the same bytes. */
export function hashKey(key: string): string {
  const text = key.isWellFormed() ? key : Buffer.from(key, 'utf16le');
  return hash('sha256', text, 'base64url').slice(0, 22);
}

function isTag(tag: unknown): boolean {
  return typeof tag === 'string' && tag !== '' && tag.length <= LONGEST_TAG;
}

function formatVersion(version: string | number): string {
  return typeof version + String(version);
}

function copyArguments(args: readonly unknown[]): readonly unknown[] {
  if (args.every((arg) => typeof arg !== 'object' || arg === null)) return args;
  try {
    return makeOwnCopy([...args], Number.POSITIVE_INFINITY).value as readonly unknown[];
  } catch {
    // They were a key a moment ago, so a getter has thrown.
    return args;
  }
}
