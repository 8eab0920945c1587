import { randomUUID } from 'node:crypto';
import type { CommandGuard } from './guard/command-guard.js';

/**
 * The name of the cache that instances share in Redis, and a mark that one of them polls the database. Both go with the
 * data of Redis: an empty Redis is another cache. All goes through the guard, so nothing rejects.
 */
export class CacheIdentity {
  readonly #guard: CommandGuard;
  readonly #name: string;
  readonly #mark: string;

  constructor(guard: CommandGuard, prefix: string) {
    this.#guard = guard;
    this.#name = `${prefix}changes:name`;
    this.#mark = `${prefix}changes:polled`;
  }

  /** Creates the name if there is none. @returns `undefined` where Redis has not replied. */
  async read(): Promise<string | undefined> {
    await this.#guard.write('changes', (client) => client.call('set', this.#name, randomUUID(), 'NX'));
    const reply = await this.#guard.read('changes', (client) => client.call('get', this.#name));
    return 'value' in reply && reply.value !== null ? String(reply.value) : undefined;
  }

  /** Marks for this time that the changes of the database are read, for a mapping of its tables. */
  async markPolled(mapping: string, milliseconds: number): Promise<void> {
    await this.#guard.write('changes', (client) =>
      client.call('set', `${this.#mark}:${mapping}`, '1', 'PX', Math.ceil(milliseconds)),
    );
  }

  /** For how long the mark still holds. Milliseconds; 0 without a mark. */
  async polledFor(mapping: string): Promise<number> {
    const reply = await this.#guard.read('changes', (client) =>
      client.call('pttl', `${this.#mark}:${mapping}`),
    );
    return 'value' in reply ? Math.max(0, Number(reply.value) || 0) : 0;
  }
}
