import { type KeyedHash, keyedHash } from '../../runtime/keyed-hash.js';
import type { Stamped } from '../stored-response.js';

/** Limits of the purges that are kept. */
export interface ClientPurgeBounds {
  /** Default: 1,000. */
  readonly maxPatterns?: number | undefined;
  /** Buckets of the table, 8 bytes each. Default: 2^20. */
  readonly buckets?: number | undefined;
  /** Key of the hash, 8 bytes. Default: random. */
  readonly hashKey?: Buffer | undefined;
}

interface PatternPurge {
  readonly value: string;
  readonly matches: (entry: Stamped) => boolean;
  readonly position: number;
}

/** Leading segments of a pattern that are kept when there are too many patterns. */
const MAX_SEGMENTS = 8;

/** Buckets of one part of the table. */
const PART = 4096;

/** A path segment without escapes or parameters. Patterns compare it without case. */
const PLAIN_SEGMENT = /^[\w.~-]+$/;

/** A path without escapes. Patterns compare it without case. */
const PLAIN_PATH = /^(?:\/[\w.~-]+)*\/?$/;

/**
 * Purges that clients cause: a client can cause any number of them. Each purge is kept as a position in a
 * bucket of a fixed-size table, so none is ever dropped. Names that share a bucket are purged together: a
 * purge may invalidate an unrelated entry, and never revives one. The hash has a key that is private to the
 * process, so a client cannot choose names that share a bucket.
 */
export class ClientPurges {
  readonly #hash: KeyedHash;
  readonly #buckets: number;
  readonly #maxPatterns: number;
  /** The table in parts, each created on first use: most caches need none, and 32 KiB are zeroed sooner than 8 MiB. */
  readonly #table: (Float64Array | undefined)[] = [];
  /** The last position of any name, by kind. `path` is for leading segments. */
  #latest = { tag: 0, url: 0, path: 0 };
  /**
   * In ascending order of position. When there are too many, the leading segments of the oldest go into the
   * table.
   */
  #patterns: PatternPurge[] = [];

  constructor({ maxPatterns = 1000, buckets = 2 ** 20, hashKey }: ClientPurgeBounds = {}) {
    this.#hash = keyedHash(hashKey);
    this.#maxPatterns = maxPatterns;
    this.#buckets = buckets;
  }

  /** Number of patterns that are kept in full. */
  get patterns(): number {
    return this.#patterns.length;
  }

  /** Accepts names in any order and more than once; the latest position counts. */
  addName(kind: 'tag' | 'url', name: string, position: number): void {
    this.#set(kind, name, position);
  }

  /** Like `addName`, for a pattern. */
  addPattern(value: string, matches: (entry: Stamped) => boolean, position: number): void {
    const patterns = this.#patterns;
    const known = patterns.findIndex((pattern) => pattern.value === value);
    if (known >= 0 && patterns[known]!.position >= position) return;
    if (known >= 0) patterns.splice(known, 1);
    let place = patterns.length;
    while (place > 0 && patterns[place - 1]!.position > position) place--;
    patterns.splice(place, 0, { value, matches, position });
    if (patterns.length <= this.#maxPatterns) return;
    const oldest = patterns.shift()!;
    this.#set('path', beginningOf(oldest.value), oldest.position);
  }

  /** Whether the name, or one that shares its bucket, was purged after the position. */
  hasPurged(kind: 'tag' | 'url', name: string, since: number): boolean {
    return this.#latest[kind] > since && this.#positionOf(name) > since;
  }

  /** Whether a pattern that matches the entry, or may match it, was purged after the position. */
  hasPurgedPath(entry: Stamped, since: number): boolean {
    for (let i = this.#patterns.length - 1; i >= 0 && this.#patterns[i]!.position > since; i--) {
      if (this.#patterns[i]!.matches(entry)) return true;
    }
    if (this.#latest.path <= since) return false;
    // A path with escapes may be spelled in several ways, so it is treated as matching.
    if (!PLAIN_PATH.test(entry.path)) return true;
    return beginningsOf(entry.path.split('/', MAX_SEGMENTS + 1).slice(1)).some(
      (beginning) => this.#positionOf(beginning) > since,
    );
  }

  /** Drops the purges that cannot concern entries stamped after all of them. */
  clear(): void {
    this.#latest = { tag: 0, url: 0, path: 0 };
    this.#patterns = [];
  }

  #set(kind: 'tag' | 'url' | 'path', name: string, position: number): void {
    const bucket = this.#hash(name) % this.#buckets;
    this.#table[Math.floor(bucket / PART)] ??= new Float64Array(PART);
    const part = this.#table[Math.floor(bucket / PART)]!;
    part[bucket % PART] = Math.max(part[bucket % PART]!, position);
    this.#latest[kind] = Math.max(this.#latest[kind], position);
  }

  #positionOf(name: string): number {
    const bucket = this.#hash(name) % this.#buckets;
    return this.#table[Math.floor(bucket / PART)]?.[bucket % PART] ?? 0;
  }
}

/** The literal segments at the start of a pattern; empty if a parameter comes first. */
function beginningOf(pattern: string): string {
  const segments = pattern.split('/', MAX_SEGMENTS + 1).slice(1);
  const end = segments.findIndex((segment) => !PLAIN_SEGMENT.test(segment));
  return beginningsOf(end < 0 ? segments : segments.slice(0, end)).at(-1)!;
}

/**
 * The leading segments of a path, shortest first, beginning with none. In lower case, as patterns ignore
 * case.
 */
function beginningsOf(segments: readonly string[]): string[] {
  return ['p', ...segments.map((_, i) => `p/${segments.slice(0, i + 1).join('/')}`.toLowerCase())];
}
