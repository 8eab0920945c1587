import { AsyncResource } from 'node:async_hooks';
import { hash } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { guarded, unawaited } from '../../runtime/guard.js';
import { TransientMap } from '../../runtime/transient-map.js';
import type { RedisItem } from '../stored-response.js';
import { Codec, FORMAT, frameLength, type Undecodable } from './codec/frame.js';
import type { RedisClient } from './connection/ioredis-client.js';
import type { CommandGuard, GuardedReply, GuardStats } from './guard/command-guard.js';
import type { LogStamp } from './log/log-positions.js';
import type { ServerClock } from './server-clock.js';

/** Positions in the log of this process, as other instances know them. `RedisLog` is one. */
export interface SharedPositions {
  /** `undefined` where the position means nothing to others, so the entry stays here. */
  toShared(stamp: number): LogStamp | undefined;
  /** `undefined` where later invalidations are unknown: the entry is a miss. */
  fromShared(stamp: LogStamp): number | undefined;
}

/** What the Redis tier is made of. */
export interface RedisStoreOptions {
  readonly guard: CommandGuard;
  readonly clock: ServerClock;
  readonly positions: SharedPositions;
  /** Begins the name of every Redis key of ours. Default `'hotpath:'`. */
  readonly prefix?: string;
  /** Larger bodies stay out. Bytes. Default 1 MB. */
  readonly maxEntryBytes?: number;
  /** Milliseconds, monotonic: the clock that entries' times are on. */
  readonly now?: () => number;
}

/**
 * Why a value was not used. Besides what the codec says: `epoch`, from before the log began anew; `wrongtype`, no
 * string; `too-large`, of an instance that takes larger entries than this one.
 */
export type Unusable = Undecodable | 'epoch' | 'wrongtype' | 'too-large';

/** What happened so far; each number only grows. */
export interface RedisStoreStats extends GuardStats {
  readonly hits: number;
  /** Nothing was there. */
  readonly misses: number;
  /** Something was there that could not be used, by word. */
  readonly unusable: ReadonlyMap<Unusable, number>;
  /** What was not written, by word. */
  readonly refused: ReadonlyMap<'too-large' | 'ttl' | 'clock' | 'position', number>;
  /** Bytes of frames. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** Is told what was stored, or why that could not be told. */
type Told = (item: RedisItem | undefined, fault?: unknown) => void;

/** Beyond the body, a frame has so much at most. Bytes. */
const FRAME_OVERHEAD = 1024 ** 2 + 64;

/** Ten years. What Redis adds to its clock must stay in 64 bits. Milliseconds. */
const LONGEST_TTL = 10 * 365 * 86_400_000;

/** Releases a lease only for the one who holds it. One key, so that it works in a cluster. */
const releaseScript =
  "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

/**
 * The tier that instances share. Every key is bounded in length and has a time to live; nothing is found by
 * looking through keys. What can't be used is a miss, and is deleted. Never throws, and answers within the
 * guard's deadlines.
 */
export class RedisStore {
  readonly #guard: CommandGuard;
  readonly #clock: ServerClock;
  readonly #codec: Codec;
  readonly #positions: SharedPositions;
  readonly #prefix: string;
  readonly #maxEntryBytes: number;
  /** A frame may be so long. Bytes. */
  readonly #longest: number;
  /** The last byte that is asked for: one more than is wanted. */
  readonly #last: string;
  readonly #now: () => number;
  readonly #reading = new TransientMap<Told[]>();
  readonly #unusable = new Map<Unusable, number>();
  readonly #refused = new Map<'too-large' | 'ttl' | 'clock' | 'position', number>();
  #hits = 0;
  #misses = 0;
  #bytesRead = 0;
  #bytesWritten = 0;

  constructor(options: RedisStoreOptions) {
    this.#guard = options.guard;
    this.#clock = options.clock;
    this.#codec = new Codec(options.clock);
    this.#positions = options.positions;
    this.#prefix = options.prefix ?? 'hotpath:';
    this.#maxEntryBytes = options.maxEntryBytes ?? 1024 ** 2;
    this.#longest = this.#maxEntryBytes + FRAME_OVERHEAD;
    this.#last = String(this.#longest);
    this.#now = options.now ?? (() => performance.now());
  }

  /** What is stored under the key. */
  get(key: string): Promise<RedisItem | undefined> {
    return new Promise((resolve, reject) => {
      this.ask(key, (item, error) => (error === undefined ? resolve(item) : reject(error)));
    });
  }

  /**
   * As `get`, without promises of its own: this is done for every hit in Redis. Requests for the same key at the same
   * time share one command.
   *
   * @param told called once, later, with what is stored or with a fault of ours; it must not throw.
   */
  ask(key: string, told: Told): void {
    const under = this.#reading.get(key);
    // What is told by another's request must find its own AsyncLocalStorage.
    if (under) return void under.push(AsyncResource.bind(told));
    // Without the clock no entry's age can be told; that is no fault of the entry.
    if (!this.#clock.isKnown) return queueMicrotask(guarded('redis read', () => told(undefined)));
    const reading = [told];
    this.#reading.set(key, reading);
    try {
      const name = this.#nameOf(key);
      this.#guard.ask('get', this.#read(name), (answer) => this.#tell(key, reading, answer));
    } catch (error) {
      this.#reading.delete(key, reading);
      queueMicrotask(guarded('redis read', () => told(undefined, error)));
    }
  }

  #tell(key: string, reading: Told[], answer: GuardedReply<unknown>): void {
    this.#reading.delete(key, reading);
    let item: RedisItem | undefined;
    let fault: unknown;
    try {
      item = this.#judge(key, answer);
    } catch (error) {
      fault = error;
    }
    const [first, ...others] = reading;
    // Whatever becomes of one of them is nothing to the others.
    for (const told of others) queueMicrotask(guarded('redis read', () => told(item, fault)));
    first!(item, fault);
  }

  /**
   * Stores an item for so long.
   *
   * @param ttl milliseconds. Not above 0, or no number: not stored. Longer than ten years: ten years.
   * @returns whether Redis has it; false too when it was not heard of in time.
   */
  async set(key: string, item: RedisItem, ttl: number): Promise<boolean> {
    if (!(ttl > 0)) return this.#refuse('ttl');
    if (item.kind === 'response' && item.body.length > this.#maxEntryBytes) return this.#refuse('too-large');
    // An index of variants invalidates nothing and is not invalidated: its variants are.
    const at = item.kind === 'response' ? this.#positions.toShared(item.stamp) : { epoch: '', position: 0 };
    if (!at) return this.#refuse('position');
    if (!this.#clock.isKnown) return this.#refuse('clock');
    const frame = this.#codec.encode(key, item, at);
    if (!frame) return this.#refuse('too-large');
    const px = Math.ceil(Math.min(ttl, LONGEST_TTL));
    const name = this.#nameOf(key);
    const answer = await this.#guard.write(
      'set',
      (client) => client.call('set', name, frame, 'PX', px),
      frame.length,
    );
    if (!('value' in answer)) return false;
    this.#bytesWritten += frame.length;
    return true;
  }

  /** @returns whether there was something; false too when it was not heard of in time. */
  async delete(key: string): Promise<boolean> {
    const name = this.#nameOf(key);
    const answer = await this.#guard.write('delete', (client) => client.call('unlink', name));
    return 'value' in answer && Number(answer.value) === 1;
  }

  /**
   * Takes the lease of a key for whoever holds the token, if nobody has it.
   *
   * @param ms after which it ends by itself.
   * @returns `undefined` when Redis can't say. It may then be taken: it ends by itself.
   */
  async lease(key: string, token: string, ms: number): Promise<boolean | undefined> {
    const name = this.#leaseOf(key);
    const px = Math.max(1, Math.ceil(Math.min(ms, LONGEST_TTL)));
    const answer = await this.#guard.awaitedWrite('lease', (client) =>
      client.call('set', name, token, 'PX', px, 'NX'),
    );
    return 'value' in answer ? answer.value !== null : undefined;
  }

  /** Gives the lease back. @returns false when the token does not hold it any more; `undefined` when Redis can't say. */
  async release(key: string, token: string): Promise<boolean | undefined> {
    const name = this.#leaseOf(key);
    const answer = await this.#guard.write('release', (client) =>
      client.call('eval', releaseScript, 1, name, token),
    );
    return 'value' in answer ? Number(answer.value) === 1 : undefined;
  }

  stats(): RedisStoreStats {
    return {
      ...this.#guard.stats(),
      hits: this.#hits,
      misses: this.#misses,
      unusable: this.#unusable,
      refused: this.#refused,
      bytesRead: this.#bytesRead,
      bytesWritten: this.#bytesWritten,
    };
  }

  /** Not GET: a value that someone else put there may be of any size, and stands in the way of all others. */
  #read(name: string): (client: RedisClient) => Promise<unknown> {
    return (client) => client.callBuffer('getrange', name, '0', this.#last);
  }

  #judge(key: string, answer: GuardedReply<unknown>): RedisItem | undefined {
    if (!('value' in answer)) {
      // A value of another type; the next `set` replaces it.
      if (answer.unavailable === 'wrongtype') count(this.#unusable, 'wrongtype');
      return undefined;
    }
    const frame = answer.value;
    if (!Buffer.isBuffer(frame) || frame.length === 0) {
      this.#misses++;
      return undefined;
    }
    this.#bytesRead += frame.length;
    // Another instance's limit may be higher, and it is that one's entry.
    if (frame.length > this.#longest && frameLength(frame)! > this.#longest)
      return count(this.#unusable, 'too-large');
    const decoded = this.#codec.decode(frame, key, this.#now());
    if ('reason' in decoded) return this.#discard(key, decoded.reason);
    const { item, at } = decoded;
    if (item.kind === 'response') {
      const stamp = this.#positions.fromShared(at);
      // It may be we who are behind, so it stays.
      if (stamp === undefined) return count(this.#unusable, 'epoch');
      this.#hits++;
      item.stamp = item.since = stamp;
      return item;
    }
    this.#hits++;
    return item;
  }

  #discard(key: string, reason: Undecodable): undefined {
    void unawaited(this.delete(key), 'redis write');
    return count(this.#unusable, reason);
  }

  #refuse(word: 'too-large' | 'ttl' | 'clock' | 'position'): false {
    count(this.#refused, word);
    return false;
  }

  #nameOf(key: string): string {
    return `${this.#prefix}${FORMAT}:${hashOf(key)}`;
  }

  #leaseOf(key: string): string {
    return `${this.#prefix}lease:${hashOf(key)}`;
  }
}

/** Keys hold URLs and header values of any length; the entry holds the key itself, and is checked against it. */
function hashOf(key: string): string {
  // All lone surrogates are the same in UTF-8, so it is for what has none. Most have not, and need no buffer.
  return hash('sha256', key.isWellFormed() ? key : Buffer.from(key, 'utf16le'), 'base64url');
}

function count<Word>(words: Map<Word, number>, word: Word): undefined {
  words.set(word, (words.get(word) ?? 0) + 1);
}
