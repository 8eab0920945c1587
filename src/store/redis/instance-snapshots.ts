import type { CommandGuard } from './guard/command-guard.js';

/** Instances that are read. */
const MOST_INSTANCES = 100;

/**
 * Leaves a snapshot and an entry in the index, whose score is the time of the server. Entries of instances that are gone
 * go with the next publication of any.
 */
const publishScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return redis.call('ZCARD', KEYS[2])`;

const listScript = `return {redis.call('TIME'), redis.call('ZREVRANGE', KEYS[1], 0, ARGV[1], 'WITHSCORES')}`;

const removeScript = `redis.call('ZREM', KEYS[2], ARGV[1]) return redis.call('DEL', KEYS[1])`;

/** A snapshot of an instance, as Redis has it. */
export interface RedisSnapshot {
  readonly id: string;
  /** Since it was written, by the clock of the server. */
  readonly ageSeconds: number;
  readonly snapshot: Buffer;
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

  /** @returns the number of instances whose snapshots are there; `undefined` where Redis has not answered. */
  async publish(id: string, snapshot: Buffer, ttlMs: number): Promise<number | undefined> {
    const answer = await this.#guard.write(
      'publish',
      (client) => client.call('eval', publishScript, 2, this.#keyOf(id), this.#index, snapshot, ttlMs, id),
      snapshot.length,
    );
    return 'value' in answer ? Number(answer.value) : undefined;
  }

  /** @returns those of the instances that were heard last; `undefined` where Redis cannot say. */
  async list(): Promise<readonly RedisSnapshot[] | undefined> {
    const answer = await this.#guard.read('instances', (client) =>
      client.call('eval', listScript, 1, this.#index, MOST_INSTANCES - 1),
    );
    const index = 'value' in answer ? readIndex(answer.value) : undefined;
    if (!index) return undefined;
    const snapshots = await Promise.all(
      index.map(async ({ id, ageSeconds }): Promise<RedisSnapshot | undefined> => {
        const found = await this.#guard.read('instance', (client) =>
          client.getrangeBuffer(this.#keyOf(id), '0', '-1'),
        );
        const snapshot = 'value' in found ? found.value : undefined;
        // The range of a key that has expired is empty.
        return Buffer.isBuffer(snapshot) && snapshot.length > 0 ? { id, ageSeconds, snapshot } : undefined;
      }),
    );
    return snapshots.filter((snapshot) => snapshot !== undefined);
  }

  /** @returns whether Redis has forgotten it. */
  async remove(id: string): Promise<boolean> {
    const answer = await this.#guard.write('remove', (client) =>
      client.call('eval', removeScript, 2, this.#keyOf(id), this.#index, id),
    );
    return 'value' in answer;
  }

  #keyOf(id: string): string {
    return this.#prefix + id;
  }
}

/** Times of the server are in milliseconds. */
function readIndex(answer: unknown): { id: string; ageSeconds: number }[] | undefined {
  if (!Array.isArray(answer)) return undefined;
  const [time, members] = answer as [unknown, unknown];
  const now = readTime(time);
  if (!Number.isFinite(now) || !Array.isArray(members)) return undefined;
  const index: { id: string; ageSeconds: number }[] = [];
  for (let at = 0; at + 1 < members.length; at += 2)
    index.push({ id: String(members[at]), ageSeconds: Math.max(0, now - Number(members[at + 1])) / 1000 });
  return index;
}

/** The reply of `TIME`, seconds and microseconds, in milliseconds; `NaN` for anything else. */
function readTime(reply: unknown): number {
  if (!Array.isArray(reply) || reply.length !== 2) return Number.NaN;
  return Number(reply[0]) * 1000 + Number(reply[1]) / 1000;
}
