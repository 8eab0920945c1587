import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { guarded, unawaited } from '../../runtime/guard.js';
import { VOID } from '../../store/invalidation/invalidation-log.js';
import type { RedisLog } from '../../store/redis/log/redis-log.js';
import type { RedisStore } from '../../store/redis/redis-store.js';
import type { StoredResponse, StoreItem } from '../../store/stored-response.js';
import type { CacheRequest } from '../request/cache-request.js';
import type { VariantStore } from './variants.js';

/** What the shared tier needs of the cache around it. */
export interface RedisTierSetup {
  readonly store: RedisStore;
  readonly entries: VariantStore;
  readonly log: RedisLog;
  /** Milliseconds, monotonic. */
  readonly clock: () => number;
  readonly fault: (error: unknown, where: string) => void;
  /** Deadline of one command that a visitor waits for. Milliseconds. */
  readonly deadline: number;
}

/** How long a lease lasts that nobody gives back: what the death of its holder costs at most. Seconds. */
export const LEASE_SECONDS = 10;

/** How often one who waits for another instance looks; it grows. Milliseconds. */
const FIRST_LOOK = 20;
const LONGEST_LOOK = 200;

/** What is asked for. */
interface Wanted {
  readonly keys: { readonly exact: string };
  readonly context: { readonly req: IncomingMessage };
}

/** What came of asking what instances share; noted by the tier of an exchange that the front door has left to the middlewares. */
export interface RedisLookup {
  /** When the lookup began. Milliseconds on the cache's clock. */
  readonly askedAt: number;
  /** In memory now, or lent. */
  readonly entry: StoredResponse | undefined;
}

/** A lease for filling one key, to be given back. */
export interface FillLease {
  release(): void;
}

/**
 * The tier behind the memory tier, which all instances share. What is found there goes into memory, if it is worth its
 * place there; what is stored in memory is written there as well, with nobody waiting.
 *
 * Responses that answer for other queries than their own (No-Vary-Search) stay in the memory of their instance.
 */
export class RedisTierLookups {
  readonly #setup: RedisTierSetup;

  constructor(setup: RedisTierSetup) {
    this.#setup = setup;
  }

  /** Whether the log is read to its end: until then nobody can tell whether what others stored still holds. */
  get isUsable(): boolean {
    return this.#setup.log.canShare;
  }

  /** Whether a question asked then has used up so much of its deadline that nobody should wait for another. */
  isLateSince(askedAt: number): boolean {
    const { clock, deadline } = this.#setup;
    return clock() - askedAt > deadline / 2;
  }

  /** Brings what is stored for a request, and puts it into memory; never rejects. */
  fetch(wanted: Wanted): Promise<StoredResponse | undefined> {
    return new Promise((resolve) => this.#bring(wanted, false, resolve));
  }

  /**
   * As `fetch`, without promises of its own, and without a place in memory where that is full and nobody has asked for
   * it before: it is left in Redis then, and a further request brings it again.
   *
   * @param told called once, with what there is; it must not throw.
   */
  ask(wanted: Wanted, told: (entry: StoredResponse | undefined) => void): void {
    this.#bring(wanted, true, told);
  }

  /** @param mayLend whether it may be served without being put. */
  #bring(wanted: Wanted, mayLend: boolean, told: (entry: StoredResponse | undefined) => void): void {
    const { store, clock } = this.#setup;
    const askedAt = clock();
    const { exact } = wanted.keys;
    store.ask(exact, (item, fault) => {
      if (fault !== undefined) return told(this.#failed(fault));
      // Two commands, and one deadline for both.
      if (item?.kind === 'variants' && !this.isLateSince(askedAt)) {
        const variant = this.#variantOf(exact, item.names, wanted.context.req);
        void unawaited(variant.then(told), 'redis read');
      } else told(item?.kind === 'response' ? this.#found(wanted, item, mayLend) : undefined);
    });
  }

  /** Never throws. */
  #found(
    { keys, context: { req } }: Wanted,
    entry: StoredResponse,
    mayLend: boolean,
  ): StoredResponse | undefined {
    try {
      return this.#adopt(keys.exact, entry, [], req, mayLend);
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
      return variant?.kind === 'response' ? this.#adopt(key, variant, names, req, false) : undefined;
    } catch (error) {
      return this.#failed(error);
    }
  }

  #failed(error: unknown): undefined {
    this.#setup.fault(error, 'redis read');
  }

  /** Writes what was stored in memory under its own URL; nobody waits for it, and it never rejects. */
  async put(key: string, entry: StoredResponse): Promise<void> {
    const { store, entries, clock, fault } = this.#setup;
    if (!this.isUsable) return;
    const { staleWhileRevalidate, staleIfError } = entry.reuse;
    const ttl = entry.freshUntil - clock() + Math.max(staleWhileRevalidate, staleIfError) * 1000;
    try {
      const variants = entries.variantsOf(key);
      const writes: Promise<boolean>[] = [store.set(entry.key, entry, ttl)];
      if (variants && entry.key !== key) {
        // Its list of variants is that of one instance's memory.
        const index: StoreItem = { kind: 'variants', names: variants.names, keys: [] };
        writes.push(store.set(key, index, ttl));
      }
      await Promise.all(writes);
    } catch (error) {
      fault(error, 'redis write');
    }
  }

  /** Deletes an entry that another response has superseded; nobody waits for it, and it never throws. */
  drop({ key }: StoredResponse): void {
    if (this.isUsable) void unawaited(this.#setup.store.delete(key), 'redis write');
  }

  /**
   * Takes the lease for filling a key, or waits for who has it.
   *
   * @param seconds to wait at most.
   * @param isHere whether memory has what the request can be served with.
   * @returns the lease; `found` when another's fill is in memory now; `undefined` when neither is to be had, and
   * the fill goes on without.
   */
  async takeTurn(
    request: CacheRequest,
    seconds: number,
    isHere: () => boolean,
  ): Promise<FillLease | 'found' | undefined> {
    const { store, clock, fault } = this.#setup;
    const { key } = request;
    const until = clock() + seconds * 1000;
    const token = randomUUID();
    try {
      for (let look = FIRST_LOOK; ; look = Math.min(look * 1.5, LONGEST_LOOK)) {
        const taken = await store.lease(key, token, LEASE_SECONDS * 1000);
        if (taken === undefined) return undefined;
        // Someone may have filled between our looking and our taking.
        await this.fetch(request);
        if (isHere()) {
          if (taken) void unawaited(store.release(key, token), 'redis lease');
          return 'found';
        }
        if (taken) return { release: () => void unawaited(store.release(key, token), 'redis lease') };
        if (clock() + look > until) return undefined;
        const pause = look * (0.5 + Math.random());
        await new Promise<void>((resolve) => void setTimeout(guarded('redis lease', resolve), pause).unref());
      }
    } catch (error) {
      fault(error, 'redis lease');
      return undefined;
    }
  }

  /** @param names request headers by which it was told apart where it was stored. */
  #adopt(
    key: string,
    entry: StoredResponse,
    names: readonly string[],
    req: IncomingMessage,
    mayLend: boolean,
  ): StoredResponse | undefined {
    const { entries, log } = this.#setup;
    // What was purged lies there until its time is over.
    if (log.limit(entry) === VOID) return undefined;
    // Here responses have differed by more than there, so it can't be told for whom it was made.
    if (entries.keyFor(key, names, req) !== entry.key) return undefined;
    if (mayLend && !entries.store.admits(entry.key, entry)) return entry;
    const own = entries.compact(entry, entry);
    const known = entries.store.peek(own.key);
    if (known?.kind === 'response' && known.storedAt >= own.storedAt) return undefined;
    entries.put(key, own, names);
    return own;
  }
}
