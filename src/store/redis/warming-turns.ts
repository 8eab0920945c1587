import type { CommandGuard } from './guard/command-guard.js';

/**
 * Takes the lease, unless another instance has it, or the task ran lately. The reply to an earlier attempt may have been
 * lost, so the token may have it already.
 */
const takeScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ranAt = redis.call('GET', KEYS[2])
if ranAt and now - ranAt < tonumber(ARGV[3]) then return now - ranAt end
if redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') then return -1 end
if redis.call('GET', KEYS[1]) == ARGV[1] then return -1 end
return -2`;

const renewScript =
  "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) else return 0 end";

/** Records the run if it has succeeded, and releases the lease. */
const endScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if tonumber(ARGV[2]) > 0 then redis.call('SET', KEYS[2], now, 'PX', ARGV[2]) end
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end`;

/** Maximum size of a list of URLs. Bytes. */
const LONGEST_LIST = 1024 ** 2;

/** The reply to an attempt to take a lease: taken, held by another instance, or how long ago the task ran. */
export type TurnReply = 'taken' | 'held' | { readonly ranAgoMs: number };

/**
 * Leases of warming tasks, the times of their last runs, and the list of the hottest URLs. Names are under one hash tag, so that
 * a cluster keeps them together. All goes through the guard, so nothing rejects; `undefined` means that Redis has not
 * answered.
 */
export class WarmingTurns {
  readonly #guard: CommandGuard;
  readonly #log: { readonly canShare: boolean };
  readonly #prefix: string;

  constructor(guard: CommandGuard, log: { readonly canShare: boolean }, prefix: string) {
    this.#guard = guard;
    this.#log = log;
    this.#prefix = `${prefix}{warming}:`;
  }

  /** Whether the instances may use each other's entries. */
  get canShare(): boolean {
    return this.#log.canShare;
  }

  /**
   * @param id of the task.
   * @param leaseMs after which the lease ends by itself.
   * @param recentMs a run within this time needs no other one.
   */
  async take(id: string, token: string, leaseMs: number, recentMs: number): Promise<TurnReply | undefined> {
    const answer = await this.#guard.write('warming', (client) =>
      client.call('eval', takeScript, 2, ...this.#namesOf(id), token, leaseMs, Math.ceil(recentMs)),
    );
    if (!('value' in answer)) return undefined;
    const reply = Number(answer.value);
    if (reply >= 0) return { ranAgoMs: reply };
    return reply === -1 ? 'taken' : 'held';
  }

  /** @returns whether the token still holds the lease. */
  async renew(id: string, token: string, leaseMs: number): Promise<boolean | undefined> {
    const answer = await this.#guard.write('warming', (client) =>
      client.call('eval', renewScript, 1, this.#namesOf(id)[0], token, leaseMs),
    );
    return 'value' in answer ? Number(answer.value) === 1 : undefined;
  }

  /** @param rememberMs how long the run is remembered; 0 if it has failed. */
  async end(id: string, token: string, rememberMs: number): Promise<void> {
    await this.#guard.write('warming', (client) =>
      client.call('eval', endScript, 2, ...this.#namesOf(id), token, Math.ceil(rememberMs)),
    );
  }

  async writeTopKeys(list: string, rememberMs: number): Promise<boolean> {
    const answer = await this.#guard.write(
      'warming',
      (client) => client.call('set', `${this.#prefix}top`, list, 'PX', rememberMs),
      list.length,
    );
    return 'value' in answer;
  }

  async readTopKeys(): Promise<string | undefined> {
    const answer = await this.#guard.read('warming', (client) =>
      client.getrangeBuffer(`${this.#prefix}top`, '0', String(LONGEST_LIST)),
    );
    return 'value' in answer && Buffer.isBuffer(answer.value) ? answer.value.toString() : undefined;
  }

  #namesOf(id: string): [lease: string, run: string] {
    return [`${this.#prefix}lease:${id}`, `${this.#prefix}run:${id}`];
  }
}
