/**
 * Counts of durations in log-linear buckets: eight of equal width in each power of two, as in HdrHistogram. A duration
 * has an error of at most 1/16 (6.25 %). Buckets of two histograms of any process can be added; percentiles
 * cannot.
 *
 * The index of a bucket is read from the bits of the number itself: the exponent and the first three bits of the
 * fraction. The counts in between are kept for the powers of two that were met, so most histograms take 500 bytes.
 */

/** Buckets of one power of two. */
const PER_OCTAVE = 8;

/** The first bucket begins at 2^-10 ms, about 1 µs; shorter durations are in it too. */
const FIRST_EXPONENT = -10;

/** The last one ends at 2^22 ms, about 70 minutes; longer durations are in it too. */
const OCTAVES = 32;

/** Number of buckets. */
export const BUCKETS = OCTAVES * PER_OCTAVE;

const scratch = new Float64Array(1);
const halves = new Uint32Array(scratch.buffer);

/** Which half holds the exponent depends on the machine. */
const HIGH = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? 1 : 0;

/** The exponent and three bits of the fraction of the first bound. */
const BASE = (1023 + FIRST_EXPONENT) * PER_OCTAVE;

/** The bucket of a duration in milliseconds. */
export function bucketOf(milliseconds: number): number {
  scratch[0] = milliseconds;
  const at = (halves[HIGH]! >>> 17) - BASE;
  if (at > 0) return at < BUCKETS ? at : milliseconds > 0 ? BUCKETS - 1 : 0; // the sign is the highest bit
  return 0;
}

/** Where a bucket begins. Milliseconds. */
export function lowerBound(bucket: number): number {
  const octave = Math.floor(bucket / PER_OCTAVE);
  return 2 ** (octave + FIRST_EXPONENT) * (1 + (bucket % PER_OCTAVE) / PER_OCTAVE);
}

/** Buckets that are not empty: the distance from the one before, and the count, by turns. */
export type SparseBuckets = readonly number[];

const NO_COUNTS = new Float64Array(0);

/** How durations are distributed. */
export class DurationHistogram {
  /** Durations that were recorded. */
  count = 0;
  /** Milliseconds. */
  sum = 0;
  /** Milliseconds. */
  max = 0;
  /** From the bucket `#from` on. */
  #counts = NO_COUNTS;
  #from = 0;

  /** @param milliseconds not negative. */
  record(milliseconds: number): void {
    this.count++;
    this.sum += milliseconds;
    if (milliseconds > this.max) this.max = milliseconds;
    const bucket = bucketOf(milliseconds);
    const at = bucket - this.#from;
    if (at >= 0 && at < this.#counts.length) this.#counts[at]!++;
    else this.#addTo(bucket, 1);
  }

  /** Adds all that another has counted. */
  add(other: DurationHistogram): void {
    if (other.count === 0) return;
    this.count += other.count;
    this.sum += other.sum;
    if (other.max > this.max) this.max = other.max;
    const counts = other.#counts;
    this.#reach(other.#from);
    this.#reach(other.#from + counts.length - 1);
    const shift = other.#from - this.#from;
    for (let at = 0; at < counts.length; at++) this.#counts[at + shift]! += counts[at]!;
  }

  /**
   * The duration that a share of all does not exceed, by nearest rank: the middle of its bucket, and never more than
   * the longest. Milliseconds; `undefined` when nothing was recorded.
   *
   * @param share above 0, at most 1: 0.95 for p95.
   */
  percentile(share: number): number | undefined {
    if (this.count === 0) return undefined;
    const rank = Math.max(1, Math.ceil(share * this.count));
    let seen = 0;
    for (let at = 0; at < this.#counts.length; at++) {
      seen += this.#counts[at]!;
      if (seen < rank) continue;
      const bucket = this.#from + at;
      return Math.min(this.max, (lowerBound(bucket) + lowerBound(bucket + 1)) / 2);
    }
    return this.max;
  }

  /**
   * The durations from the bucket of a limit on. The bucket begins up to 12.5 % below the limit, so that none beyond it
   * is missed.
   */
  countFrom(milliseconds: number): number {
    let count = 0;
    const first = Math.max(0, bucketOf(milliseconds) - this.#from);
    for (let at = first; at < this.#counts.length; at++) count += this.#counts[at]!;
    return count;
  }

  /** Forgets everything, and keeps its memory. */
  clear(): void {
    this.count = this.sum = this.max = 0;
    this.#counts.fill(0);
  }

  /** For another process. */
  toSparse(): SparseBuckets {
    const sparse: number[] = [];
    let last = 0;
    this.#counts.forEach((count, at) => {
      if (count === 0) return;
      sparse.push(this.#from + at - last, count);
      last = this.#from + at;
    });
    return sparse;
  }

  /** Adds what another process has counted; what makes no sense is left out. */
  addSparse(sparse: SparseBuckets, sum: number, max: number): void {
    let bucket = 0;
    for (let at = 0; at + 1 < sparse.length; at += 2) {
      bucket += sparse[at]!;
      const count = sparse[at + 1]!;
      if (!(bucket >= 0 && bucket < BUCKETS && count > 0)) return;
      this.count += count;
      this.#addTo(bucket, count);
    }
    this.sum += sum;
    this.max = Math.max(this.max, max);
  }

  /** Memory of the counts. */
  get bytes(): number {
    return this.#counts.byteLength;
  }

  #addTo(bucket: number, count: number): void {
    this.#reach(bucket);
    this.#counts[bucket - this.#from]! += count;
  }

  /** Makes room for a bucket, in whole octaves. */
  #reach(bucket: number): void {
    if (bucket >= this.#from && bucket < this.#from + this.#counts.length) return;
    const octave = bucket - (bucket % PER_OCTAVE);
    const isEmpty = this.#counts.length === 0;
    const from = isEmpty ? octave : Math.min(this.#from, octave);
    const end = isEmpty ? 0 : this.#from + this.#counts.length;
    const counts = new Float64Array(Math.max(end, octave + PER_OCTAVE) - from);
    counts.set(this.#counts, isEmpty ? 0 : this.#from - from);
    this.#counts = counts;
    this.#from = from;
  }
}
