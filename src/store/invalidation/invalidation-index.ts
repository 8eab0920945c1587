import { hash } from 'node:crypto';
import { type Stamped, urlName } from '../stored-response.js';
import { ClientPurges } from './client-purges.js';

/** `purge`: matching entries are never used again. `expire`: they are stale from now on. */
export type RecordKind = 'purge' | 'expire';

/**
 * The origin of a record's target. `'client'`: the target depends on a request, so clients can cause
 * any number of records. They never invalidate everything; instead, a purge may invalidate more than its
 * target.
 */
export type Cause = 'app' | 'client';

/** The result of `limit` for an entry that a purge has invalidated. */
export const VOID = Number.NEGATIVE_INFINITY;

/** The target of a record, such as a `CompiledSelector`. */
export interface Target {
  readonly kind: 'tag' | 'url' | 'pattern' | 'all';
  /** For a URL, the result of `urlName`. */
  readonly value: string;
  /** Used for patterns only. */
  matches?(entry: Stamped): boolean;
}

/** Limits of the log's memory. */
export interface LogBounds {
  /** Maximum number of tags and URLs, for purges and for expiries. Default: 100,000. */
  readonly maxNames?: number | undefined;
  /** Maximum number of patterns, for the app and for clients. Default: 1,000. */
  readonly maxPatterns?: number | undefined;
  /** Buckets for purges that clients cause, 8 bytes each. Default: 2^20. */
  readonly clientBuckets?: number | undefined;
  /** Key of the hash that chooses the bucket, 8 bytes. Default: random. */
  readonly clientHashKey?: Buffer | undefined;
}

/** The positions of the last purge and the last expiry; -1 for none. */
interface Marks {
  purged: number;
  expired: number;
  expiredAt: number;
}

/** The last expiry of a name. */
interface Expiry {
  readonly position: number;
  readonly at: number;
}

interface PatternMarks extends Marks {
  readonly value: string;
  readonly matches: (entry: Stamped) => boolean;
}

/** Names with more characters are kept as a hash, because clients choose URLs and can make them long. */
const LONG_NAME = 200;

/** Half of a surrogate pair, which UTF-8, and so Redis, cannot encode. */
const LONE_SURROGATE = /[\ud800-\udfff]/u;

/**
 * A name of bounded length, as the index and the log store it. Two names with the same short name are purged
 * together.
 */
export function shortName(value: string): string {
  if (value.length <= LONG_NAME && !LONE_SURROGATE.test(value)) return value;
  return `#${hash('sha256', value, 'base64url')}`;
}

/**
 * The combined effect of the records of a log: the position of the last invalidation of each tag, URL and
 * pattern, and of everything. The size is bounded. When names are dropped, the floor rises, except for purges
 * that clients cause.
 *
 * Records may arrive out of order and more than once; the latest position counts.
 */
export class LogIndex {
  /** Entries stamped before this position are invalid, because records about them were dropped. */
  #floor = 0;
  /** The highest position of any record, and of the floor. */
  #latest = 0;
  /** Last positions by name, in order of change. Plain numbers, because there may be 100,000 of them. */
  readonly #purged = new Map<string, number>();
  readonly #expired = new Map<string, Expiry>();
  /** In ascending order of their latest position. */
  #patterns: PatternMarks[] = [];
  #all: Marks = never();
  /**
   * Whether any URL was recorded, and any URL of one host. Without one, the names of entries are not
   * computed.
   */
  #hasUrls = false;
  #hasHosts = false;
  readonly #clients: ClientPurges;
  readonly #maxNames: number;
  readonly #maxPatterns: number;

  constructor(bounds: LogBounds = {}) {
    this.#maxNames = bounds.maxNames ?? 100_000;
    this.#maxPatterns = bounds.maxPatterns ?? 1000;
    const { maxPatterns, clientBuckets: buckets, clientHashKey: hashKey } = bounds;
    this.#clients = new ClientPurges({ maxPatterns, buckets, hashKey });
  }

  /** @param at time of an expiry, on the cache's clock. */
  apply(kind: RecordKind, target: Target, position: number, at: number, cause: Cause = 'app'): void {
    this.#latest = Math.max(this.#latest, position);
    if (target.kind === 'all') mark(this.#all, kind, position, at);
    else if (cause === 'client' && kind === 'purge') this.#applyClient(target, position);
    else if (target.kind === 'pattern') this.#applyPattern(kind, target, position, at);
    else this.#applyName(nameOf(target.kind, target.value), kind, position, at);
    if (target.kind !== 'url') return;
    this.#hasUrls = true;
    // A long name is a hash and may stand for a URL with a host.
    if (!target.value.startsWith('/')) this.#hasHosts = true;
  }

  /** Invalidates entries stamped before the position, because records about them may be missing. */
  raiseFloor(position: number): void {
    this.#floor = Math.max(this.#floor, position);
    this.#latest = Math.max(this.#latest, position);
  }

  /** Like `raiseFloor`, when no earlier record concerns entries stamped later. */
  restart(position: number): void {
    this.#purged.clear();
    this.#expired.clear();
    this.#patterns = [];
    this.#all = never();
    this.#hasUrls = this.#hasHosts = false;
    this.#clients.clear();
    this.raiseFloor(position);
  }

  /** Number of tags, URLs and patterns in memory. Of the purges that clients cause, only patterns count. */
  get size(): number {
    return this.#purged.size + this.#expired.size + this.#patterns.length + this.#clients.patterns;
  }

  /**
   * Until when an entry may be fresh: `Infinity`, a time, or `VOID`.
   *
   * @param applied position up to which all records were applied. The stamp of a valid entry moves forward to
   * this position and no further, because an earlier record may still arrive.
   */
  limit(entry: Stamped, applied: number): number {
    const { stamp } = entry;
    // The common case: no invalidation since the last check.
    if (stamp >= this.#latest) return Number.POSITIVE_INFINITY;
    if (stamp < this.#floor) return VOID;
    let limit = limitOf(this.#all, stamp);
    if (this.#hasUrls) limit = Math.min(limit, this.limitOfUrl(entry.url, stamp, entry));
    for (const tag of entry.tags) limit = Math.min(limit, this.#limitOfName('tag', tag, stamp));
    for (let i = this.#patterns.length - 1; i >= 0 && limit !== VOID; i--) {
      const marks = this.#patterns[i]!;
      if (latestOf(marks) <= stamp) break;
      if (entry.url !== '' && marks.matches(entry)) limit = Math.min(limit, limitOf(marks, stamp));
    }
    if (limit !== VOID && this.#clients.hasPurgedPath(entry, stamp) && entry.url !== '') return VOID;
    if (limit === Number.POSITIVE_INFINITY && applied > stamp) entry.stamp = applied;
    return limit;
  }

  /**
   * Like `limit`, for the records of one URL only.
   *
   * @param at read only if a URL of one host was recorded.
   */
  limitOfUrl(url: string, since: number, at: Pick<Stamped, 'host'> = {}): number {
    if (since < this.#floor) return VOID;
    if (since >= this.#latest || !this.#hasUrls || url === '') return Number.POSITIVE_INFINITY;
    const limit = this.#limitOfName('url', urlName(url), since);
    const host = this.#hasHosts ? at.host : undefined;
    return host === undefined ? limit : Math.min(limit, this.#limitOfName('url', urlName(url, host), since));
  }

  #limitOfName(kind: 'tag' | 'url', value: string, stamp: number): number {
    const name = nameOf(kind, value);
    if ((this.#purged.get(name) ?? -1) > stamp || this.#clients.hasPurged(kind, name, stamp)) return VOID;
    const expiry = this.#expired.get(name);
    return expiry && expiry.position > stamp ? expiry.at : Number.POSITIVE_INFINITY;
  }

  #applyClient(target: Target, position: number): void {
    const { kind, value, matches } = target;
    if (kind === 'pattern') this.#clients.addPattern(value, matches ?? (() => true), position);
    else if (kind !== 'all') this.#clients.addName(kind, nameOf(kind, value), position);
  }

  #applyName(name: string, kind: RecordKind, position: number, at: number): void {
    // Deleted first, so that the map stays in order of change.
    if (kind === 'purge') {
      const before = this.#purged.get(name) ?? -1;
      this.#purged.delete(name);
      this.#purged.set(name, Math.max(before, position));
    } else {
      const before = this.#expired.get(name);
      this.#expired.delete(name);
      this.#expired.set(name, before && before.position > position ? before : { position, at });
    }
    if (this.#purged.size + this.#expired.size > this.#maxNames) this.#forget();
  }

  /** Drops the name that was changed longest ago. */
  #forget(): void {
    const purged = this.#purged.entries().next().value ?? ['', Number.POSITIVE_INFINITY];
    const [name, expiry] = this.#expired.entries().next().value ?? ['', undefined];
    if (expiry && expiry.position < purged[1]) {
      this.#expired.delete(name);
      this.raiseFloor(expiry.position);
    } else {
      this.#purged.delete(purged[0]);
      this.raiseFloor(purged[1]);
    }
  }

  #applyPattern(kind: RecordKind, { value, matches }: Target, position: number, at: number): void {
    const patterns = this.#patterns;
    const known = patterns.findIndex((marks) => marks.value === value);
    const marks =
      known < 0 ? { ...never(), value, matches: matches ?? (() => true) } : patterns.splice(known, 1)[0]!;
    mark(marks, kind, position, at);
    let place = patterns.length;
    while (place > 0 && latestOf(patterns[place - 1]!) > latestOf(marks)) place--;
    patterns.splice(place, 0, marks);
    if (patterns.length > this.#maxPatterns) this.raiseFloor(latestOf(patterns.shift()!));
  }
}

function nameOf(kind: 'tag' | 'url', value: string): string {
  // `join` makes a flat string. A concatenation or a slice would keep its source in memory.
  return [kind[0], shortName(value)].join('');
}

function never(): Marks {
  return { purged: -1, expired: -1, expiredAt: 0 };
}

function mark(marks: Marks, kind: RecordKind, position: number, at: number): void {
  if (kind === 'purge') {
    marks.purged = Math.max(marks.purged, position);
  } else if (position >= marks.expired) {
    marks.expired = position;
    marks.expiredAt = at;
  }
}

function latestOf(marks: Marks): number {
  return Math.max(marks.purged, marks.expired);
}

function limitOf(marks: Marks, stamp: number): number {
  if (marks.purged > stamp) return VOID;
  return marks.expired > stamp ? marks.expiredAt : Number.POSITIVE_INFINITY;
}
