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

/** Converts log positions of this process to those of the log in Redis, and back. Implemented by `RedisLog`. */
export interface SharedPositions {
  /** `undefined` if the position has no meaning for other instances, so that the entry stays in memory. */
  toShared(stamp: number): LogStamp | undefined;
  /** `undefined` if later invalidations are unknown: the entry is a miss. */
  fromShared(stamp: LogStamp): number | undefined;
}

/** Options of the Redis tier. */
export interface RedisStoreOptions {
  readonly guard: CommandGuard;
  readonly clock: ServerClock;
  readonly positions: SharedPositions;
  /** Prefix of the names of all Redis keys. Default: `'hotpath:'`. */
  readonly prefix?: string;
  /** Larger bodies are not written. Bytes. Default: 1 MB. */
  readonly maxEntryBytes?: number;
  /** The cache's clock: milliseconds, monotonic. */
  readonly now?: () => number;
}

/**
 * The reason why a value was not used. In addition to the reasons of the codec. `epoch`: from before the
 * current epoch; `wrongtype`: not a string; `too-large`: written by an instance with a larger limit.
 */
export type Unusable = Undecodable | 'epoch' | 'wrongtype' | 'too-large';

/** Counters; each only grows. */
export interface RedisStoreStats extends GuardStats {
  readonly hits: number;
  /** Reads that found nothing. */
  readonly misses: number;
  /** Values that could not be used, by reason. */
  readonly unusable: ReadonlyMap<Unusable, number>;
  /** Items that were not written, by reason. */
  readonly refused: ReadonlyMap<'too-large' | 'ttl' | 'clock' | 'position', number>;
  /** Bytes of frames. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** Receives the item, or the error that prevented reading it. */
type Told = (item: RedisItem | undefined, fault?: unknown) => void;

/** Maximum size of a frame beyond its body. Bytes. */
const FRAME_OVERHEAD = 1024 ** 2 + 64;

/** Ten years. Redis adds the TTL to its clock, and the sum must fit into 64 bits. Milliseconds. */
const LONGEST_TTL = 10 * 365 * 86_400_000;

/** Deletes a lease if the token matches. One key, so that it works in a cluster. */
const releaseScript =
  "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

/** Extends a lease if the token matches. With `SET`, which taking it needs too, so that the access rule is the same. */
const renewScript =
  "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1 else return 0 end";

/**
 * The cache tier in Redis. Every key has a bounded length and a TTL, and no operation scans keys. A value
 * that cannot be used is a miss, and is deleted. Methods never throw, and return within the guard's
 * deadlines.
 */
export class RedisStore {
  readonly #guard: CommandGuard;
  readonly #clock: ServerClock;
  readonly #codec: Codec;
  readonly #positions: SharedPositions;
  readonly #prefix: string;
  readonly #maxEntryBytes: number;
  /** Maximum length of a frame. Bytes. */
  readonly #longest: number;
  /** Index of the last byte to read: one more than the maximum, to detect longer values. */
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

  /** Reads the item of a key. */
  get(key: string): Promise<RedisItem | undefined> {
    return new Promise((resolve, reject) => {
      this.ask(key, (item, error) => (error === undefined ? resolve(item) : reject(error)));
    });
  }

  /**
   * Callback form of `get`, without promises of its own, because every hit in Redis uses it. Concurrent reads
   * of one key use one command.
   *
   * @param told called once, later, with the item or with an internal error; must not throw.
   */
  ask(key: string, told: Told): void {
    const under = this.#reading.get(key);
    // A callback that another request's reply calls must run in its own async context.
    if (under) return void under.push(AsyncResource.bind(told));
    // Without the server's clock the age of an entry is unknown, so nothing is read.
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
    // The callbacks run separately, so that none affects the others.
    for (const told of others) queueMicrotask(guarded('redis read', () => told(item, fault)));
    first!(item, fault);
  }

  /**
   * Stores an item.
   *
   * @param ttl milliseconds. 0 or less, or NaN: not stored. At most ten years.
   * @returns whether Redis has it; also false if there was no reply in time.
   */
  async set(key: string, item: RedisItem, ttl: number): Promise<boolean> {
    if (!(ttl > 0)) return this.#refuse('ttl');
    if (item.kind !== 'variants' && item.body.length > this.#maxEntryBytes) return this.#refuse('too-large');
    // An index of variants has no position, because only its variants are invalidated.
    const at = item.kind === 'variants' ? { epoch: '', position: 0 } : this.#positions.toShared(item.stamp);
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

  /** @returns whether the key existed; also false if there was no reply in time. */
  async delete(key: string): Promise<boolean> {
    const name = this.#nameOf(key);
    const answer = await this.#guard.write('delete', (client) => client.call('unlink', name));
    return 'value' in answer && Number(answer.value) === 1;
  }

  /**
   * Takes the lease of a key for the token, if it is free.
   *
   * @param ms time after which the lease ends by itself.
   * @returns `undefined` without a reply. The lease may then be taken; it ends by itself.
   */
  async lease(key: string, token: string, ms: number): Promise<boolean | undefined> {
    const name = this.#leaseOf(key);
    const px = Math.max(1, Math.ceil(Math.min(ms, LONGEST_TTL)));
    const answer = await this.#guard.awaitedWrite('lease', (client) =>
      client.call('set', name, token, 'PX', px, 'NX'),
    );
    return 'value' in answer ? answer.value !== null : undefined;
  }

  /** Extends the lease, if the token holds it. @returns whether it does; `undefined` without a reply. */
  async renew(key: string, token: string, ms: number): Promise<boolean | undefined> {
    const name = this.#leaseOf(key);
    const answer = await this.#guard.write('renew', (client) =>
      client.call('eval', renewScript, 1, name, token, Math.max(1, Math.ceil(ms))),
    );
    return 'value' in answer ? Number(answer.value) === 1 : undefined;
  }

  /** Releases the lease. @returns false if the token no longer holds it; `undefined` without a reply. */
  async release(key: string, token: string): Promise<boolean | undefined> {
    const name = this.#leaseOf(key);
    const answer = await this.#guard.write('release', (client) =>
      client.call('eval', releaseScript, 1, name, token),
    );
    return 'value' in answer ? Number(answer.value) === 1 : undefined;
  }

  /** @returns why Redis does not reply; `undefined` if it does. */
  async ping(): Promise<string | undefined> {
    const answer = await this.#guard.read('ping', (client) => client.call('ping'));
    return 'value' in answer ? undefined : answer.unavailable;
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

  /**
   * Reads a range instead of `GET`, because a foreign value of any size would block the connection. `callBuffer` would
   * lose the name of the command in a client that pipelines automatically.
   */
  #read(name: string): (client: RedisClient) => Promise<unknown> {
    return (client) => client.getrangeBuffer(name, '0', this.#last);
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
    // Written by an instance with a larger limit, so the entry is not deleted.
    if (frame.length > this.#longest && frameLength(frame)! > this.#longest)
      return count(this.#unusable, 'too-large');
    const decoded = this.#codec.decode(frame, key, this.#now());
    if ('reason' in decoded) return this.#discard(key, decoded.reason);
    const { item, at } = decoded;
    if (item.kind !== 'variants') {
      const stamp = this.#positions.fromShared(at);
      // This instance may be behind the log, so the entry is not deleted.
      if (stamp === undefined) return count(this.#unusable, 'epoch');
      item.stamp = stamp;
      if (item.kind === 'response') item.since = stamp;
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

/**
 * Hashed, because keys contain URLs and header values of any length. The entry contains the full key, which
 * is compared on reading.
 */
function hashOf(key: string): string {
  // UTF-8 maps all lone surrogates to the same bytes, so keys with one are hashed as UTF-16. Others need no
  // buffer.
  return hash('sha256', key.isWellFormed() ? key : Buffer.from(key, 'utf16le'), 'base64url');
}

function count<Word>(words: Map<Word, number>, word: Word): undefined {
  words.set(word, (words.get(word) ?? 0) + 1);
}
