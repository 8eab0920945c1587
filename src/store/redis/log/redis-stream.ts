import { randomBytes } from 'node:crypto';
import type { RedisClient } from '../connection/ioredis-client.js';
import type { RedisLink } from '../connection/reconnecting-link.js';
import { headOf, type RecordBody } from './log-records.js';
import { ANY_EPOCH, appendScript, beginScript, type ReplicaWait, stateScript } from './lua-scripts.js';

/** The state of the stream and of its server. */
export interface StreamState {
  /** Position of the last record. */
  readonly last: number;
  /** The epoch of the last record; '' if there is no stream, or another program wrote its last entry. */
  readonly epoch: string;
  readonly first: number;
  /** The record at the requested position; '' if it is absent. */
  readonly record: string;
  /** Identifies the server process and its replication history; '' if the access rules forbid asking. */
  readonly server: string;
  /** `master`, `slave`, or '' if the access rules forbid asking. */
  readonly role: string;
  /** The server's clock. Milliseconds. */
  readonly time: number;
}

/** An entry of the stream. */
export interface StreamEntry {
  readonly id: string;
  readonly position: number;
  readonly text: string;
}

/** The positions of appended records, or the reason why they were not written. */
export type AppendAnswer =
  | {
      readonly result: 'ok' | 'new';
      readonly position: number;
      readonly epoch: string;
      replicas?: number | undefined;
    }
  | { readonly result: 'epoch' | 'behind' };

/** The commands of the log, each atomic. Replies have no deadline here. */
export interface LogStream {
  state(applied: number): Promise<StreamState>;
  /**
   * @param expected `undefined` for any epoch.
   * @returns the record that begins the epoch; `undefined` if another epoch than the expected one is in
   * force.
   */
  begin(expected: string | undefined, known: number): Promise<StreamEntry | undefined>;
  /** @param known the highest position that the caller knows. A stream that ends before it lost records. */
  append(epoch: string, known: number, records: readonly RecordBody[]): Promise<AppendAnswer>;
  /** @param block milliseconds to wait for an entry; 0 returns immediately. */
  read(after: string, count: number, block: number): Promise<StreamEntry[]>;
}

/** A connection to the stream that reconnects, like `RedisLink`. */
export interface StreamLink {
  readonly stream: LogStream | undefined;
  onReady(listener: (stream: LogStream) => void): () => void;
  onLost(listener: () => void): () => void;
  restart(): void;
  close(): void;
}

/** Limits of the stream. */
export interface StreamBounds {
  /** Records kept; up to a hundred more may exist. Default: 100,000. */
  readonly maxRecords?: number;
  /**
   * Waits after each append until replicas have it. Must be shorter than the append's deadline. Default:
   * none.
   */
  readonly wait?: ReplicaWait | undefined;
}

/** A log that nobody has read or written for this long expires, and invalidates the entries stored before. */
const LIFETIME = 30 * 24 * 3600 * 1000;

/** The stream, over an ioredis client. */
export class RedisStream implements LogStream {
  readonly #client: RedisClient;
  readonly #key: string;
  readonly #maxRecords: number;
  readonly #wait: StreamBounds['wait'];

  constructor(client: RedisClient, key: string, bounds: StreamBounds = {}) {
    this.#client = client;
    this.#key = key;
    this.#maxRecords = bounds.maxRecords ?? 100_000;
    this.#wait = bounds.wait;
  }

  async state(applied: number): Promise<StreamState> {
    const reply = await stateScript.run(this.#client, this.#key, applied, LIFETIME);
    const [last, epoch, first, record, server, role, time] = strings(reply, 7);
    return {
      last: Number(last),
      epoch: epoch!,
      first: Number(first),
      record: record!,
      server: server!,
      role: role!,
      time: Number(time),
    };
  }

  async begin(expected: string | undefined, known: number): Promise<StreamEntry | undefined> {
    const args = [expected ?? ANY_EPOCH, known, randomName(), this.#maxRecords, LIFETIME];
    const [position, text] = strings(await beginScript.run(this.#client, this.#key, ...args), 0);
    if (position === undefined || text === undefined) return undefined;
    return { id: `${position}-0`, position: Number(position), text };
  }

  async append(epoch: string, known: number, records: readonly RecordBody[]): Promise<AppendAnswer> {
    const args = [epoch, known, randomName(), this.#maxRecords, LIFETIME];
    const bodies = records.flatMap((body) => [headOf(body), body.value]);
    const all = [...args, ...bodies];
    const [reply, replicas] = this.#wait
      ? await appendScript.runAndWait(this.#client, this.#key, this.#wait, ...all)
      : [await appendScript.run(this.#client, this.#key, ...all)];
    const [result, position, inForce] = strings(reply, 1);
    if (result === 'epoch' || result === 'behind') return { result };
    if (result !== 'ok' && result !== 'new')
      throw new Error('unexpected reply to a command of the invalidation log');
    return { result, position: Number(position), epoch: inForce!, replicas };
  }

  async read(after: string, count: number, block: number): Promise<StreamEntry[]> {
    const waiting = block > 0 ? ['BLOCK', block] : [];
    return entriesOf(
      await this.#client.call('XREAD', 'COUNT', count, ...waiting, 'STREAMS', this.#key, after),
    );
  }
}

/** The stream over a Redis connection. */
export function streamLink(link: RedisLink, key: string, bounds: StreamBounds = {}): StreamLink {
  const streamOf = (client: RedisClient) => new RedisStream(client, key, bounds);
  return {
    get stream() {
      const { client } = link;
      return client && streamOf(client);
    },
    onReady: (listener) => link.onReady((client) => listener(streamOf(client))),
    onLost: (listener) => link.onLost(listener),
    restart: () => link.restart(),
    close: () => link.close(),
  };
}

function randomName(): string {
  return randomBytes(9).toString('base64url');
}

/** Checks that a reply is a list of strings, as the scripts return it. */
function strings(reply: unknown, atLeast: number): string[] {
  if (!Array.isArray(reply) || reply.length < atLeast)
    throw new Error('unexpected reply to a command of the invalidation log');
  return reply.map(String);
}

/** Entries of one stream, from the three reply formats: a list of pairs, a flat list, or a map by name. */
export function entriesOf(reply: unknown): StreamEntry[] {
  if (typeof reply !== 'object' || reply === null) return [];
  const of = reply instanceof Map ? [...reply.entries()][0] : Object.entries(reply)[0];
  // RESP2; RESP3 as ioredis 6 flattens it; a map.
  const nested: unknown = Array.isArray(reply) && Array.isArray(reply[0]) ? reply[0] : reply;
  const list: unknown = Array.isArray(nested) ? nested[1] : of?.[1];
  return Array.isArray(list) ? list.map(entryOf) : [];
}

function entryOf(entry: unknown): StreamEntry {
  const [id, fields] = Array.isArray(entry) ? entry : [];
  const list: unknown[] = Array.isArray(fields) ? fields : [];
  const text = list.length === 2 && list[0] === 'r' ? String(list[1]) : '';
  return { id: String(id), position: Number.parseInt(String(id), 10), text };
}
