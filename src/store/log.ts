import type { Stamped } from './entry.js';
import type { CompiledSelector } from './selector.js';

/** `purge`: what matches is never used again. `expire`: it is stale from now on. */
export type RecordKind = 'purge' | 'expire';

/** What `limit` answers for an entry that a purge has made void. */
export const VOID = Number.NEGATIVE_INFINITY;

/**
 * The ordered log of invalidations. Every entry is stamped with the position of the log *before* its
 * computation began; it is valid if no later record matches it. So a purge costs the same however much is
 * stored, and a fill that races with a purge loses, without a lock.
 */
export interface InvalidationLog {
  /** Position of the last record: the stamp of what is computed from now on. */
  readonly position: number;
  /** The record's position, once it is acknowledged and applied here: at once, where there is no one to ask. */
  append(kind: RecordKind, selector: CompiledSelector): number | Promise<number>;
  /** Until when the log lets an entry be fresh, on its clock: `Infinity`, a time, or `VOID`. */
  limit(entry: Stamped): number;
  /** The same of what was recorded of one URL alone, for an entry of another URL that answers for this one too. */
  limitOfUrl(url: string, since: number): number;
}

interface Marks {
  purged: number;
  expired: number;
  expiredAt: number;
}

interface PatternRecord {
  readonly position: number;
  readonly kind: RecordKind;
  readonly at: number;
  readonly selector: CompiledSelector;
}

/** Bounds of what the log keeps in memory. */
export interface LogBounds {
  /** Tags and URLs remembered. Default 100,000. */
  readonly maxNames?: number;
  /** Patterns remembered. Default 1,000. */
  readonly maxPatterns?: number;
}

/** The log of one process: a counter, and the last position at which each name was invalidated. */
export class MemoryLog implements InvalidationLog {
  #position = 0;
  /** What was stamped before this position is void: records about it were forgotten. */
  #floor = 0;
  readonly #names = new Map<string, Marks>();
  readonly #patterns: PatternRecord[] = [];
  readonly #all: Marks = { purged: -1, expired: -1, expiredAt: 0 };
  readonly #maxNames: number;
  readonly #maxPatterns: number;
  readonly #clock: () => number;

  /** @param clock milliseconds, monotonic: the clock that entries' times are on. */
  constructor(clock: () => number, bounds: LogBounds = {}) {
    this.#clock = clock;
    this.#maxNames = bounds.maxNames ?? 100_000;
    this.#maxPatterns = bounds.maxPatterns ?? 1000;
  }

  get position(): number {
    return this.#position;
  }

  append(kind: RecordKind, selector: CompiledSelector): number {
    const position = ++this.#position;
    const at = this.#clock();
    if (selector.kind === 'all') mark(this.#all, kind, position, at);
    else if (selector.kind === 'pattern') this.#addPattern({ position, kind, at, selector });
    else this.#addName(nameOf(selector.kind, selector.value), kind, position, at);
    return position;
  }

  limit(entry: Stamped): number {
    // Nothing was invalidated since it was last looked at: the common case.
    if (entry.stamp === this.#position) return Number.POSITIVE_INFINITY;
    const { stamp } = entry;
    if (stamp < this.#floor) return VOID;
    let limit = limitOf(this.#all, stamp);
    limit = Math.min(limit, limitOf(this.#names.get(nameOf('url', entry.url)), stamp));
    for (const tag of entry.tags)
      limit = Math.min(limit, limitOf(this.#names.get(nameOf('tag', tag)), stamp));
    if (limit === VOID) return VOID;
    for (let i = this.#patterns.length - 1; i >= 0; i--) {
      const record = this.#patterns[i]!;
      if (record.position <= stamp) break;
      if (!record.selector.matches(entry)) continue;
      if (record.kind === 'purge') return VOID;
      limit = Math.min(limit, record.at);
    }
    // Every record so far was looked at, so only later ones need be.
    if (limit === Number.POSITIVE_INFINITY) entry.stamp = this.#position;
    return limit;
  }

  limitOfUrl(url: string, since: number): number {
    return since < this.#floor ? VOID : limitOf(this.#names.get(nameOf('url', url)), since);
  }

  #addName(name: string, kind: RecordKind, position: number, at: number): void {
    const marks = this.#names.get(name) ?? { purged: -1, expired: -1, expiredAt: 0 };
    mark(marks, kind, position, at);
    this.#names.delete(name); // so that the order is that of the last change
    this.#names.set(name, marks);
    if (this.#names.size <= this.#maxNames) return;
    const [oldest, forgotten] = this.#names.entries().next().value as [string, Marks];
    this.#names.delete(oldest);
    this.#floor = Math.max(this.#floor, forgotten.purged, forgotten.expired);
  }

  #addPattern(record: PatternRecord): void {
    this.#patterns.push(record);
    if (this.#patterns.length <= this.#maxPatterns) return;
    this.#floor = Math.max(this.#floor, this.#patterns.shift()!.position);
  }
}

function nameOf(kind: 'tag' | 'url', value: string): string {
  return `${kind}:${value}`;
}

function mark(marks: Marks, kind: RecordKind, position: number, at: number): void {
  if (kind === 'purge') {
    marks.purged = position;
  } else {
    marks.expired = position;
    marks.expiredAt = at;
  }
}

function limitOf(marks: Marks | undefined, stamp: number): number {
  if (!marks) return Number.POSITIVE_INFINITY;
  if (marks.purged > stamp) return VOID;
  return marks.expired > stamp ? marks.expiredAt : Number.POSITIVE_INFINITY;
}
