import { type KeyedHash, keyedHash } from '../../runtime/keyed-hash.js';
import type { Stamped } from '../stored-response.js';

/** Bounds of what is remembered. */
export interface ClientPurgeBounds {
  /** Default 1,000. */
  readonly maxPatterns?: number;
  /** Buckets of the table, 8 bytes each. Default 2^20. */
  readonly buckets?: number;
  /** Key of the hash, 8 bytes. Default: random. */
  readonly hashKey?: Buffer;
}

interface PatternPurge {
  readonly value: string;
  readonly matches: (entry: Stamped) => boolean;
  readonly position: number;
}

/** Segments at the beginning of a pattern by which it is remembered where there are too many. */
const MAX_SEGMENTS = 8;

/** A segment that stands for itself alone, in patterns as in paths, but for its case. */
const PLAIN_SEGMENT = /^[\w.~-]+$/;

/** A path that patterns see as it is, but for its case. */
const PLAIN_PATH = /^(?:\/[\w.~-]+)*\/?$/;

/**
 * Purges that clients cause: they may cause as many different ones as they like. Each is remembered by the position of
 * its bucket in a table of one size, so nothing has to be forgotten. Names that share a bucket are purged together: an
 * unrelated entry may become void, and none valid again. The hash has a key of the process's own, so a client can't
 * choose which names share a bucket.
 */
export class ClientPurges {
  readonly #hash: KeyedHash;
  readonly #buckets: number;
  readonly #maxPatterns: number;
  /** Made on first use: most caches never need it. */
  #table: Float64Array | undefined;
  /** The last position of any name, by kind; `path` is the beginning of a path. */
  #latest = { tag: 0, url: 0, path: 0 };
  /** By position, ascending. Where there are too many, the beginning of the oldest goes into the table. */
  #patterns: PatternPurge[] = [];

  constructor({ maxPatterns = 1000, buckets = 2 ** 20, hashKey }: ClientPurgeBounds = {}) {
    this.#hash = keyedHash(hashKey);
    this.#maxPatterns = maxPatterns;
    this.#buckets = buckets;
  }

  /** Patterns remembered each for itself. */
  get patterns(): number {
    return this.#patterns.length;
  }

  /** In any order, and more than once: the later position counts. */
  addName(kind: 'tag' | 'url', name: string, position: number): void {
    this.#set(kind, name, position);
  }

  /** As `addName`. */
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

  /** Whether a name was purged after the position, or one that shares its bucket. */
  hasPurged(kind: 'tag' | 'url', name: string, since: number): boolean {
    return this.#latest[kind] > since && this.#positionOf(name) > since;
  }

  /** Whether a pattern was purged after the position that matches the entry, or may have matched it. */
  hasPurgedPath(entry: Stamped, since: number): boolean {
    for (let i = this.#patterns.length - 1; i >= 0 && this.#patterns[i]!.position > since; i--) {
      if (this.#patterns[i]!.matches(entry)) return true;
    }
    if (this.#latest.path <= since) return false;
    // One path may be spelled in several ways: then it counts as any.
    if (!PLAIN_PATH.test(entry.path)) return true;
    return beginningsOf(entry.path.split('/', MAX_SEGMENTS + 1).slice(1)).some(
      (beginning) => this.#positionOf(beginning) > since,
    );
  }

  /** Forgets what is about nothing that was stamped later than all of it. */
  clear(): void {
    this.#latest = { tag: 0, url: 0, path: 0 };
    this.#patterns = [];
  }

  #set(kind: 'tag' | 'url' | 'path', name: string, position: number): void {
    this.#table ??= new Float64Array(this.#buckets);
    const bucket = this.#hash(name) % this.#buckets;
    this.#table[bucket] = Math.max(this.#table[bucket]!, position);
    this.#latest[kind] = Math.max(this.#latest[kind], position);
  }

  #positionOf(name: string): number {
    return this.#table?.[this.#hash(name) % this.#buckets] ?? 0;
  }
}

/** The segments with which every path begins that the pattern matches; none where a parameter comes first. */
function beginningOf(pattern: string): string {
  const segments = pattern.split('/', MAX_SEGMENTS + 1).slice(1);
  const end = segments.findIndex((segment) => !PLAIN_SEGMENT.test(segment));
  return beginningsOf(end < 0 ? segments : segments.slice(0, end)).at(-1)!;
}

/** The beginnings of a path, the shortest first, which is none; case does not matter to patterns. */
function beginningsOf(segments: readonly string[]): string[] {
  return ['p', ...segments.map((_, i) => `p/${segments.slice(0, i + 1).join('/')}`.toLowerCase())];
}
