import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BUCKETS,
  bucketOf,
  DurationHistogram,
  lowerBound,
} from '../../../src/telemetry/requests/histogram.js';

const durations = fc.double({ min: 0.001, max: 4_000_000, noNaN: true });

function histogramOf(values: readonly number[]): DurationHistogram {
  const histogram = new DurationHistogram();
  for (const value of values) histogram.record(value);
  return histogram;
}

/** Nearest rank, of the values themselves. */
function exact(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.max(1, Math.ceil(share * values.length)) - 1]!;
}

describe('a histogram of durations', () => {
  it('puts each duration between the bounds of its bucket', () => {
    fc.assert(
      fc.property(durations, (value) => {
        const bucket = bucketOf(value);
        expect(lowerBound(bucket)).toBeLessThanOrEqual(value);
        expect(lowerBound(bucket + 1)).toBeGreaterThan(value);
      }),
    );
  });

  it('has buckets that are at most an eighth wide', () => {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      expect(lowerBound(bucket + 1) / lowerBound(bucket)).toBeLessThanOrEqual(1.125);
      expect(bucketOf(lowerBound(bucket))).toBe(bucket);
    }
  });

  it.each([0, -1, Number.NaN, 1e-9, Number.MIN_VALUE])('takes %s as the shortest duration', (value) => {
    expect(bucketOf(value)).toBe(0);
  });

  it.each([1e9, Number.MAX_VALUE, Number.POSITIVE_INFINITY])('takes %s as the longest duration', (value) => {
    expect(bucketOf(value)).toBe(BUCKETS - 1);
  });

  it('tells every percentile with an error of at most 10 %', () => {
    fc.assert(
      fc.property(
        fc.array(durations, { minLength: 1, maxLength: 300 }),
        fc.constantFrom(0.01, 0.5, 0.95, 0.99, 1),
        (values, share) => {
          const told = histogramOf(values).percentile(share)!;
          const truth = exact(values, share);
          expect(Math.abs(told - truth) / truth).toBeLessThanOrEqual(0.1);
        },
      ),
    );
  });

  it('tells nothing of no durations', () => {
    expect(new DurationHistogram().percentile(0.5)).toBeUndefined();
  });

  it('merges buckets: the sum of two is the histogram of both', () => {
    fc.assert(
      fc.property(fc.array(durations), fc.array(durations), (a, b) => {
        const added = histogramOf(a);
        added.add(histogramOf(b));
        const sparse = histogramOf(a);
        const other = histogramOf(b);
        sparse.addSparse(JSON.parse(JSON.stringify(other.toSparse())), other.sum, other.max);
        const both = histogramOf([...a, ...b]);
        for (const merged of [added, sparse]) {
          expect(merged.count).toBe(both.count);
          expect(merged.max).toBe(both.max);
          for (const share of [0.5, 0.95, 0.99])
            expect(merged.percentile(share)).toBe(both.percentile(share));
        }
      }),
    );
  });

  it('leaves out what another process cannot have counted', () => {
    const histogram = new DurationHistogram();
    histogram.addSparse([-5, 1], 0, 0);
    histogram.addSparse([BUCKETS, 1], 0, 0);
    histogram.addSparse([0, Number.NaN], 0, 0);
    expect(histogram.count).toBe(0);
  });

  it('takes at most 2 kB, whatever is recorded', () => {
    const histogram = new DurationHistogram();
    for (let at = 0; at < 100_000; at++) histogram.record(Math.random() ** 10 * 1e9);
    expect(histogram.bytes).toBeLessThanOrEqual(BUCKETS * 8);
  });
});
