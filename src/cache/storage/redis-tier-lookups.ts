import type { IncomingMessage } from 'node:http';
import { unawaited } from '../../runtime/guard.js';
import { VOID } from '../../store/invalidation/invalidation-log.js';
import { type Lease, takeLease } from '../../store/redis/lease.js';
import type { RedisLog } from '../../store/redis/log/redis-log.js';
import type { RedisStore } from '../../store/redis/redis-store.js';
import type { StoredResponse, StoreItem } from '../../store/stored-response.js';
import type { CacheRequest } from '../request/cache-request.js';
import type { VariantStore } from './variants.js';

/** The dependencies of the lookups in the Redis tier. */
export interface RedisTierSetup {
  readonly store: RedisStore;
  readonly entries: VariantStore;
  readonly log: RedisLog;
  /** Monotonic time. Milliseconds. */
  readonly clock: () => number;
  readonly fault: (error: unknown, where: string) => void;
  /** Time limit of one command that a client waits for. Milliseconds. */
  readonly deadline: number;
}

/** The request to look up. */
interface LookedUpRequest {
  readonly keys: { readonly exact: string };
  readonly context: { readonly req: IncomingMessage };
}

/** The result of a Redis lookup made at the front door, kept on the exchange for the middlewares. */
export interface RedisLookup {
  /** When the lookup began. Milliseconds on the cache's clock. */
  readonly askedAt: number;
  /** The entry that was found. It may not be in memory. */
  readonly entry: StoredResponse | undefined;
}

/**
 * Reads and writes the Redis tier, which all instances share. Entries that are found there are added to memory, if
 * they are worth the space. Entries stored in memory are also written to Redis; no request waits for that.
 *
 * Responses with equivalent queries (No-Vary-Search) stay in the memory of their instance.
 */
export class RedisTierLookups {
  readonly #setup: RedisTierSetup;

  constructor(setup: RedisTierSetup) {
    this.#setup = setup;
  }

  /** Whether the log has been read to its end. Before that, entries of other instances may have been purged. */
  get isUsable(): boolean {
    return this.#setup.log.canShare;
  }

  /** Whether a lookup that started then has used more than half of the time limit, so that no further one is made. */
  isLateSince(askedAt: number): boolean {
    const { clock, deadline } = this.#setup;
    return clock() - askedAt > deadline / 2;
  }

  /** Looks up a request, and adds the entry to memory. Never rejects. */
  fetch(request: LookedUpRequest): Promise<StoredResponse | undefined> {
    return new Promise((resolve) => this.#lookUp(request, false, resolve));
  }

  /**
   * Callback form of `fetch` for the hot path. When memory is full, it keeps an entry only on its second request.
   *
   * @param callback called once with the entry, if there is one; it must not throw.
   */
  ask(request: LookedUpRequest, callback: (entry: StoredResponse | undefined) => void): void {
    this.#lookUp(request, true, callback);
  }

  /** @param maySkipMemory whether the entry may be served without being added to memory. */
  #lookUp(
    request: LookedUpRequest,
    maySkipMemory: boolean,
    callback: (entry: StoredResponse | undefined) => void,
  ): void {
    const { store, clock } = this.#setup;
    const askedAt = clock();
    const { exact } = request.keys;
    store.ask(exact, (item, fault) => {
      if (fault !== undefined) return callback(this.#failed(fault));
      // Both commands share one time limit.
      if (item?.kind === 'variants' && !this.isLateSince(askedAt)) {
        const variant = this.#variantOf(exact, item.names, request.context.req);
        void unawaited(variant.then(callback), 'redis read');
      } else callback(item?.kind === 'response' ? this.#found(request, item, maySkipMemory) : undefined);
    });
  }

  /** Never throws. */
  #found(
    { keys, context: { req } }: LookedUpRequest,
    entry: StoredResponse,
    maySkipMemory: boolean,
  ): StoredResponse | undefined {
    try {
      return this.#accept(keys.exact, entry, [], req, maySkipMemory);
    } catch (error) {
      return this.#failed(error);
    }
  }

  async #variantOf(
    key: string,
    names: readonly string[],
    req: IncomingMessage,
  ): Promise<StoredResponse | undefined> {
    const { store, entries } = this.#setup;
    try {
      const variant = await store.get(entries.variantKeyOf(key, names, req));
      return variant?.kind === 'response' ? this.#accept(key, variant, names, req, false) : undefined;
    } catch (error) {
      return this.#failed(error);
    }
  }

  #failed(error: unknown): undefined {
    this.#setup.fault(error, 'redis read');
  }

  /** Writes an entry that was stored in memory under its own URL. No request waits for it. Never rejects. */
  async put(key: string, entry: StoredResponse): Promise<void> {
    const { store, entries, clock, fault } = this.#setup;
    if (!this.isUsable) return;
    const { staleWhileRevalidate, staleIfError } = entry.reuse;
    const ttl = entry.freshUntil - clock() + Math.max(staleWhileRevalidate, staleIfError) * 1000;
    try {
      const variants = entries.variantsOf(key);
      const writes: Promise<boolean>[] = [store.set(entry.key, entry, ttl)];
      if (variants && entry.key !== key) {
        // The list of variant keys describes the memory of one instance, so it is not written.
        const index: StoreItem = { kind: 'variants', names: variants.names, keys: [] };
        writes.push(store.set(key, index, ttl));
      }
      await Promise.all(writes);
    } catch (error) {
      fault(error, 'redis write');
    }
  }

  /** Deletes an entry that another response has superseded. No request waits for it. Never throws. */
  drop({ key }: StoredResponse): void {
    if (this.isUsable) void unawaited(this.#setup.store.delete(key), 'redis write');
  }

  /**
   * Takes the lease for filling a key, or waits for its holder.
   *
   * @param seconds the longest wait.
   * @param isInMemory whether memory has an entry that can serve the request.
   * @returns the lease; `found` if memory now has the entry of another instance; `undefined` if there is neither. The
   * fill then continues without a lease.
   */
  async takeTurn(
    request: CacheRequest,
    seconds: number,
    isInMemory: () => boolean,
  ): Promise<Lease | 'found' | undefined> {
    const { store, clock, fault } = this.#setup;
    try {
      return await takeLease({ store, clock, key: request.key, seconds }, async () => {
        await this.fetch(request);
        return isInMemory();
      });
    } catch (error) {
      fault(error, 'redis lease');
      return undefined;
    }
  }

  /** @param names request headers that distinguished the variants in the instance that stored it. */
  #accept(
    key: string,
    entry: StoredResponse,
    names: readonly string[],
    req: IncomingMessage,
    maySkipMemory: boolean,
  ): StoredResponse | undefined {
    const { entries, log } = this.#setup;
    // A purged entry stays in Redis until it expires.
    if (log.limit(entry) === VOID) return undefined;
    // Responses here vary by more headers, so the right request for this entry is unknown.
    if (entries.keyFor(key, names, req) !== entry.key) return undefined;
    if (maySkipMemory && !entries.store.admits(entry.key, entry)) return entry;
    const own = entries.compact(entry, entry);
    const known = entries.store.peek(own.key);
    if (known?.kind === 'response' && known.storedAt >= own.storedAt) return undefined;
    entries.put(key, own, names);
    return own;
  }
}
