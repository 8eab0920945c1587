import { HotpathError } from '../options/errors.js';
import { formatValue } from '../options/format-value.js';
import type { LifetimeName, Lifetimes } from '../options/lifetimes.js';
import { resolve } from '../options/schema.js';
import type { Duration } from '../options/units.js';
import { messageOf } from '../runtime/report-fault.js';
import { warnOnce } from '../runtime/warn.js';
import type { InvalidationLog } from '../store/invalidation/invalidation-log.js';
import { joinPart } from '../store/key-parts.js';
import type { StoredResult } from '../store/stored-response.js';
import { hashKey, type RecordTag } from './cached-calls.js';
import { createValueSchema } from './options.js';
import { makeStoredResult, type ResultTiers } from './result-tiers.js';
import { currentScope } from './scope.js';
import { cloneValue } from './values/clone.js';
import { makeOwnCopy, type OwnCopy } from './values/own-copy.js';

/** How a value of `cache.set()` is kept. */
export interface ValueOptions {
  /** How long it is kept, such as `'1h'`, or the name of one of `cache.lifetimes`. Greater than 0. */
  ttl: Duration | LifetimeName;
  /** Names for purging it together with results and responses. Default: none. */
  tags?: readonly string[] | undefined;
}

/** The parts of a cache that its values use. */
export interface ValueParts {
  readonly tiers: ResultTiers;
  readonly log: InvalidationLog;
  readonly clock: () => number;
  readonly lifetimes: Lifetimes;
  readonly maxEntryBytes: number;
  readonly record: RecordTag;
}

/** Values that the app stores under keys of its own, with the rules of function results. */
export class StoredValues {
  readonly #parts: ValueParts;

  constructor(parts: ValueParts) {
    this.#parts = parts;
  }

  async get(key: string): Promise<unknown> {
    const item = await this.#use(key);
    return item && 'value' in item.outcome ? cloneValue(item.outcome.value, item.isTree) : undefined;
  }

  async has(key: string): Promise<boolean> {
    return (await this.#use(key)) !== undefined;
  }

  async set(key: string, value: unknown, options: ValueOptions): Promise<boolean> {
    const { tiers, log, clock, lifetimes, record } = this.#parts;
    const full = fullKey(key);
    const { ttl, tags } = resolve(createValueSchema(lifetimes), options, 'set');
    const copy = this.#copy(key, value);
    if (!copy) return false;
    const tag = valueTag(full);
    // Other instances, and responses made of the value before, must not use that value any longer.
    await record('purge', tag);
    const now = clock();
    const head = {
      ...{ key: full, stamp: log.position, tags: [tag, ...tags], url: '', path: '', storedAt: now },
      ...{ freshUntil: now + ttl * 1000, staleWhileRevalidate: 0, staleIfError: 0 },
    };
    await tiers.put(makeStoredResult(head, copy, 'clone'), now, copy);
    return true;
  }

  async delete(key: string): Promise<boolean> {
    const full = fullKey(key);
    const hadValue = (await this.#find(full)) !== undefined;
    await this.#parts.record('purge', valueTag(full));
    this.#parts.tiers.drop(full);
    return hadValue;
  }

  /** The stored value, on which a response may depend then, as on its absence. */
  async #use(key: string): Promise<StoredResult | undefined> {
    const scope = currentScope();
    const full = fullKey(key);
    const { position } = this.#parts.log;
    const item = await this.#find(full);
    // A response that was made without the value is purged when it is set.
    const absence = { tags: [valueTag(full)], freshUntil: Number.POSITIVE_INFINITY, stamp: position };
    scope?.used.add(item ?? absence);
    return item;
  }

  async #find(full: string): Promise<StoredResult | undefined> {
    const { tiers } = this.#parts;
    const here = tiers.find(full);
    const item = here && tiers.freshnessLeft(here) > 0 ? here : await tiers.fetch(full, 'clone');
    return item && tiers.freshnessLeft(item) > 0 ? item : undefined;
  }

  /** `undefined` if the value cannot be stored. @throws outside production. */
  #copy(key: string, value: unknown): OwnCopy | undefined {
    try {
      return makeOwnCopy(value, this.#parts.maxEntryBytes);
    } catch (problem) {
      const message = `set(${formatValue(key)}): the value cannot be stored: ${messageOf(problem)}; store plain data`;
      if (process.env.NODE_ENV !== 'production') throw new HotpathError('HOTPATH_RESULT_INVALID', message);
      warnOnce(this, 'HOTPATH_RESULT_INVALID', () => message);
      return undefined;
    }
  }
}

function fullKey(key: string): string {
  if (typeof key === 'string') return `v${joinPart(key)}`;
  throw new HotpathError(
    'HOTPATH_ARGUMENTS_INVALID',
    `expected a string as the key, received ${formatValue(key)}`,
  );
}

function valueTag(full: string): string {
  return `value:${hashKey(full)}`;
}
