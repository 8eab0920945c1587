import { createHash } from 'node:crypto';
import { type Stamped, urlName } from '../stored-response.js';
import { ClientPurges } from './client-purges.js';

/** `purge`: what matches is never used again. `expire`: it is stale from now on. */
export type RecordKind = 'purge' | 'expire';

/**
 * Who decides what a record is about. `'client'`: it depends on a request, so clients can cause as many different ones
 * as they like. Their number never makes everything void; in return a purge may void more than was meant.
 */
export type Cause = 'app' | 'client';

/** What `limit` answers for an entry that a purge has made void. */
export const VOID = Number.NEGATIVE_INFINITY;

/** What a record is about; a `CompiledSelector` is one. */
export interface Target {
  readonly kind: 'tag' | 'url' | 'pattern' | 'all';
  /** For a URL, its `urlName`. */
  readonly value: string;
  /** Asked for patterns alone. */
  matches?(entry: Stamped): boolean;
}

/** Bounds of what the log keeps in memory. */
export interface LogBounds {
  /** Tags and URLs remembered, those purged and those expired. Default 100,000. */
  readonly maxNames?: number;
  /** Patterns remembered, of the app and of clients each. Default 1,000. */
  readonly maxPatterns?: number;
  /** Buckets for what clients have purged, 8 bytes each. Default 2^20. */
  readonly clientBuckets?: number;
  /** Key of the hash that chooses the bucket, 8 bytes. Default: random. */
  readonly clientHashKey?: Buffer;
}

/** The last positions at which something was purged and expired; -1 for never. */
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

/** Characters of a tag or URL from which its hash stands for it: visitors choose URLs, and they may be long. */
const LONG_NAME = 200;

/** Half of a pair: what UTF-8, and so Redis, can't carry. */
const LONE_SURROGATE = /[\ud800-\udfff]/u;

/** A name as it is remembered and recorded: of a bounded length. Two names that share one are purged together. */
export function shortName(value: string): string {
  if (value.length <= LONG_NAME && !LONE_SURROGATE.test(value)) return value;
  return `#${createHash('sha256').update(value).digest('base64url')}`;
}

/**
 * What the records of a log say together: for each tag, URL and pattern, and for everything, the last position
 * at which it was invalidated. Bounded; what is forgotten raises the floor, but for what clients have caused.
 *
 * Records may come out of order and more than once: the later position counts.
 */
export class LogIndex {
  /** What was stamped before this position is void: records about it were forgotten. */
  #floor = 0;
  /** The highest position of any record, and of the floor. */
  #latest = 0;
  /** Last positions by name, in the order of the last change. Numbers alone: there may be 100,000 of them. */
  readonly #purged = new Map<string, number>();
  readonly #expired = new Map<string, Expiry>();
  /** By their latest position, ascending. */
  #patterns: PatternMarks[] = [];
  #all: Marks = never();
  /** Whether a URL was recorded, and a URL on one host: only then are the names of entries computed. */
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

  /** @param at time of an expiry, on the clock of the entries' times. */
  apply(kind: RecordKind, target: Target, position: number, at: number, cause: Cause = 'app'): void {
    this.#latest = Math.max(this.#latest, position);
    if (target.kind === 'all') mark(this.#all, kind, position, at);
    else if (cause === 'client' && kind === 'purge') this.#applyClient(target, position);
    else if (target.kind === 'pattern') this.#applyPattern(kind, target, position, at);
    else this.#applyName(nameOf(target.kind, target.value), kind, position, at);
    if (target.kind !== 'url') return;
    this.#hasUrls = true;
    // A long name is a hash, so it may have a host.
    if (!target.value.startsWith('/')) this.#hasHosts = true;
  }

  /** Makes void what was stamped before the position: nobody can tell which records it has missed. */
  raiseFloor(position: number): void {
    this.#floor = Math.max(this.#floor, position);
    this.#latest = Math.max(this.#latest, position);
  }

  /** The same, when no record so far is about anything stamped later. */
  restart(position: number): void {
    this.#purged.clear();
    this.#expired.clear();
    this.#patterns = [];
    this.#all = never();
    this.#hasUrls = this.#hasHosts = false;
    this.#clients.clear();
    this.raiseFloor(position);
  }

  /** What is remembered: tags and URLs, and patterns; not what clients have purged, but for patterns. */
  get size(): number {
    return this.#purged.size + this.#expired.size + this.#patterns.length + this.#clients.patterns;
  }

  /**
   * Until when an entry may be fresh: `Infinity`, a time, or `VOID`.
   *
   * @param applied position up to which every record was applied. An entry that stood the check is stamped with
   * it, and no further: a record between it and a later one may be on its way.
   */
  limit(entry: Stamped, applied: number): number {
    const { stamp } = entry;
    // Nothing was invalidated since it was last looked at: the common case.
    if (stamp >= this.#latest) return Number.POSITIVE_INFINITY;
    if (stamp < this.#floor) return VOID;
    let limit = limitOf(this.#all, stamp);
    if (this.#hasUrls) limit = Math.min(limit, this.limitOfUrl(entry.url, stamp, entry));
    for (const tag of entry.tags) limit = Math.min(limit, this.#limitOfName('tag', tag, stamp));
    for (let i = this.#patterns.length - 1; i >= 0 && limit !== VOID; i--) {
      const marks = this.#patterns[i]!;
      if (latestOf(marks) <= stamp) break;
      if (marks.matches(entry)) limit = Math.min(limit, limitOf(marks, stamp));
    }
    if (limit !== VOID && this.#clients.hasPurgedPath(entry, stamp)) return VOID;
    if (limit === Number.POSITIVE_INFINITY && applied > stamp) entry.stamp = applied;
    return limit;
  }

  /**
   * The same of what was recorded of one URL alone.
   *
   * @param at read only where a URL on one host was recorded.
   */
  limitOfUrl(url: string, since: number, at: Pick<Stamped, 'host'> = {}): number {
    if (since < this.#floor) return VOID;
    if (since >= this.#latest || !this.#hasUrls) return Number.POSITIVE_INFINITY;
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
    // Deleted first, so that the order is that of the last change.
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

  /** Forgets the name that was changed longest ago. */
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
  // Joined, it is one string; added, or cut out of another, it would keep its parts in memory.
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
