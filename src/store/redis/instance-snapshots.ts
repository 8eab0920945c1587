import type { CommandGuard } from './guard/command-guard.js';

/** Instances that are read. */
const MOST_INSTANCES = 100;

/** Further bytes of a snapshot are not read: no instance writes so many. */
const MOST_BYTES = 16 * 1024;

/**
 * Leaves a snapshot and an entry in the index, whose score is the time of the server. Entries of instances that are gone
 * go with the next publication of any, and those that the clock of another server has dated ahead.
 */
const publishScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '(' .. now, '+inf')
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return redis.call('ZCARD', KEYS[2])`;

const listScript = `
return {redis.call('TIME'), redis.call('ZREVRANGE', KEYS[1], 0, ARGV[1], 'WITHSCORES'), redis.call('ZCARD', KEYS[1])}`;

const removeScript = `redis.call('ZREM', KEYS[2], ARGV[1]) return redis.call('DEL', KEYS[1])`;

/** A snapshot of an instance, as Redis has it. */
export interface RedisSnapshot {
  readonly id: string;
  /** Since it was written, by the clock of the server. */
  readonly ageSeconds: number;
  /** `undefined`: Redis has not replied. */
  readonly snapshot: Buffer | undefined;
}

/** The snapshots that Redis has. */
export interface RedisSnapshots {
  readonly snapshots: readonly RedisSnapshot[];
  /** Instances in the index; more than `snapshots` has if there are very many. */
  readonly count: number;
}

/**
 * Snapshots of instances: one key for each, and an index, under one hash tag, so that a cluster keeps them together.
 * All goes through the guard, so nothing rejects, and nothing is sent while its breaker is open.
 */
export class InstanceSnapshots {
  readonly #guard: CommandGuard;
  readonly #prefix: string;
  readonly #index: string;

  constructor(guard: CommandGuard, prefix: string) {
    this.#guard = guard;
    this.#prefix = `${prefix}{instances}:`;
    this.#index = `${this.#prefix}index`;
  }

  /** @returns the number of instances whose snapshots are there; `undefined` where Redis has not replied. */
  async publish(id: string, snapshot: Buffer, ttlMs: number): Promise<number | undefined> {
    const reply = await this.#guard.write(
      'publish',
      (client) => client.call('eval', publishScript, 2, this.#keyOf(id), this.#index, snapshot, ttlMs, id),
      snapshot.length,
    );
    return 'value' in reply ? Number(reply.value) : undefined;
  }

  /** @returns those of the instances that were heard last; `undefined` where Redis cannot say. */
  async list(): Promise<RedisSnapshots | undefined> {
    const reply = await this.#guard.read('instances', (client) =>
      client.call('eval', listScript, 1, this.#index, MOST_INSTANCES - 1),
    );
    const index = 'value' in reply ? readIndex(reply.value) : undefined;
    if (!index) return undefined;
    const read = await Promise.all(index.entries.map((entry) => this.#read(entry)));
    const snapshots = read.filter((snapshot) => snapshot !== undefined);
    return { snapshots, count: snapshots.length + index.further };
  }

  /** @returns `undefined` for an instance that is gone. */
  async #read({ id, ageSeconds }: IndexEntry): Promise<RedisSnapshot | undefined> {
    const reply = await this.#guard.read('instance', (client) =>
      client.getrangeBuffer(this.#keyOf(id), '0', String(MOST_BYTES)),
    );
    if (!('value' in reply)) return { id, ageSeconds, snapshot: undefined };
    const { value } = reply;
    // The range of a key that has expired is empty.
    return Buffer.isBuffer(value) && value.length > 0 ? { id, ageSeconds, snapshot: value } : undefined;
  }

  /** @returns whether Redis has forgotten it. */
  async remove(id: string): Promise<boolean> {
    const reply = await this.#guard.write('remove', (client) =>
      client.call('eval', removeScript, 2, this.#keyOf(id), this.#index, id),
    );
    return 'value' in reply;
  }

  #keyOf(id: string): string {
    return this.#prefix + id;
  }
}

interface IndexEntry {
  readonly id: string;
  readonly ageSeconds: number;
}

interface Index {
  readonly entries: readonly IndexEntry[];
  /** Instances beyond those. */
  readonly further: number;
}

/** Times of the server are in milliseconds. */
function readIndex(reply: unknown): Index | undefined {
  if (!Array.isArray(reply)) return undefined;
  const [time, members, count] = reply as [unknown, unknown, unknown];
  const now = readTime(time);
  if (!Number.isFinite(now) || !Array.isArray(members)) return undefined;
  const entries: IndexEntry[] = [];
  for (let at = 0; at + 1 < members.length; at += 2)
    entries.push({ id: String(members[at]), ageSeconds: Math.max(0, now - Number(members[at + 1])) / 1000 });
  return { entries, further: Math.max(0, Number(count) - entries.length) || 0 };
}

/** The reply of `TIME`, seconds and microseconds, in milliseconds; `NaN` for anything else. */
function readTime(reply: unknown): number {
  if (!Array.isArray(reply) || reply.length !== 2) return Number.NaN;
  return Number(reply[0]) * 1000 + Number(reply[1]) / 1000;
}
