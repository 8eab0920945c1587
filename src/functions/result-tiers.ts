import { unawaited } from '../runtime/guard.js';
import type { InvalidationLog } from '../store/invalidation/invalidation-log.js';
import { VOID } from '../store/invalidation/invalidation-log.js';
import type { MemoryStore } from '../store/memory/memory-store.js';
import type { RedisStore } from '../store/redis/redis-store.js';
import type { EncodedResult, StoredResult } from '../store/stored-response.js';
import { makeOwnCopy, type OwnCopy } from './values/own-copy.js';
import { decodeValue, encodeValue } from './values/value-codec.js';

/** The tiers of a cache, as its functions use them. */
export interface TierParts {
  readonly memory: MemoryStore;
  readonly log: InvalidationLog;
  readonly redis: { readonly store: RedisStore; readonly log: { readonly canShare: boolean } } | undefined;
  /** Monotonic time. Milliseconds. */
  readonly clock: () => number;
  readonly maxEntryBytes: number;
  readonly fault: (error: unknown, where: string) => void;
}

/** How callers get the value of a result. */
export type Isolation = 'clone' | 'freeze' | 'none';

/** Results in the tiers of a cache: those of its responses, with the same limits, the same log and the same Redis. */
export class ResultTiers {
  readonly #parts: TierParts;

  constructor(parts: TierParts) {
    this.#parts = parts;
  }

  /** The Redis tier, if its entries may be used now. */
  get redis(): RedisStore | undefined {
    const { redis } = this.#parts;
    return redis?.log.canShare ? redis.store : undefined;
  }

  /** The result in memory, unless a purge has ended it. Counts a use. */
  find(key: string): StoredResult | undefined {
    const item = this.#parts.memory.get(key);
    return item?.kind === 'result' ? item : undefined;
  }

  /** Milliseconds of freshness left, negative for a stale result; `VOID` if a purge has ended it. */
  freshnessLeft(item: StoredResult): number {
    const { log, clock } = this.#parts;
    return Math.min(item.freshUntil, log.limit(item)) - clock();
  }

  /** Reads a result from Redis into memory. Never rejects. */
  async fetch(key: string, isolate: Isolation): Promise<StoredResult | undefined> {
    try {
      const item = await this.redis?.get(key);
      if (item?.kind !== 'encoded-result') return undefined;
      const result = this.#decode(item, isolate);
      if (!result || this.#parts.log.limit(result) === VOID) return undefined;
      const { memory, log } = this.#parts;
      const known = memory.peek(key);
      const isKnown = known?.kind === 'result' && 'value' in known.outcome && log.limit(known) !== VOID;
      if (isKnown && known.storedAt >= result.storedAt) return known;
      if (memory.admits(key, result)) memory.set(key, result);
      return result;
    } catch (error) {
      this.#parts.fault(error, 'redis read');
      return undefined;
    }
  }

  /**
   * Stores a result in memory and in Redis, unless it was purged since its run began or a newer one is stored. An error
   * replaces no result that can still be used, and a result replaces any error.
   *
   * @param startedAt when the run began. Milliseconds on the cache's clock.
   * @param copy the value for Redis; absent for an error, which stays in memory.
   * @returns a promise of the write to Redis. Never rejects.
   */
  async put(item: StoredResult, startedAt: number, copy?: OwnCopy): Promise<void> {
    const { memory, log, clock, fault } = this.#parts;
    try {
      if (log.limit(item) === VOID) return;
      const known = memory.peek(item.key);
      if (known?.kind === 'result' && log.limit(known) !== VOID && this.#outranks(known, item, startedAt))
        return;
      memory.set(item.key, item);
      const { redis } = this;
      if (!redis || !copy) return;
      const { staleWhileRevalidate, staleIfError } = item;
      const ttl = item.freshUntil - clock() + Math.max(staleWhileRevalidate, staleIfError) * 1000;
      const { key, stamp, tags, url, path, storedAt, freshUntil } = item;
      const encoded: EncodedResult = {
        ...{ kind: 'encoded-result', body: encodeValue(copy), key, stamp, tags, url, path },
        ...{ storedAt, freshUntil, staleWhileRevalidate, staleIfError },
      };
      await redis.set(key, encoded, ttl);
    } catch (error) {
      fault(error, 'store');
    }
  }

  /** Whether a result may still stand in for a run that fails. */
  mayReplaceError(item: StoredResult): boolean {
    return -this.freshnessLeft(item) < Math.max(item.staleIfError, item.staleWhileRevalidate) * 1000;
  }

  #outranks(known: StoredResult, { outcome }: StoredResult, startedAt: number): boolean {
    const isNewer = known.storedAt > startedAt;
    if ('value' in outcome) return isNewer && 'value' in known.outcome;
    return isNewer || ('value' in known.outcome && this.mayReplaceError(known));
  }

  /** Deletes a result from both tiers. Other instances keep theirs. */
  drop(key: string): void {
    this.#parts.memory.delete(key);
    const { redis } = this;
    if (redis) void unawaited(redis.delete(key), 'redis write');
  }

  #decode({ body, ...head }: EncodedResult, isolate: Isolation): StoredResult | undefined {
    const decoded = decodeValue(body);
    if (!decoded) return undefined;
    const copy = makeOwnCopy(decoded.value, Number.POSITIVE_INFINITY, isolate === 'freeze');
    return makeStoredResult(head, copy, isolate);
  }
}

/** A result with a value. @param value the value to keep, if it is not the copy. */
export function makeStoredResult(
  head: Omit<EncodedResult, 'kind' | 'body'>,
  copy: OwnCopy,
  isolate: Isolation,
  value = copy.value,
): StoredResult {
  const { key, stamp, tags, url, path, storedAt, freshUntil, staleWhileRevalidate, staleIfError } = head;
  return {
    ...{
      kind: 'result',
      key,
      stamp,
      tags,
      url,
      path,
      storedAt,
      freshUntil,
      staleWhileRevalidate,
      staleIfError,
    },
    outcome: { value },
    isShareable: isolate === 'none' || (isolate === 'freeze' && copy.isFreezable),
    isTree: copy.isTree,
    outcomeBytes: copy.bytes,
    failures: 0,
    retryAt: 0,
  };
}
