import { describe, expect, it } from 'vitest';
import { advisePool, sizeFor, waitingShare } from '../../../src/postgres/report/pool-advice.js';

const step = (checkouts: number, useSeconds: number, seconds = 10) => ({
  seconds,
  checkouts,
  useSeconds,
  waitSeconds: 0,
});

describe('advice about a pool', () => {
  it.each([
    // One server: the share that waits is the load. Others are from tables of Erlang C.
    [1, 0.5, 0.5],
    [2, 1, 1 / 3],
    [10, 8, 0.409],
    [5, 5, 1],
  ])('knows the share of callers that wait for %i connections with %f in use', (size, inUse, share) => {
    expect(waitingShare(size, inUse)).toBeCloseTo(share, 3);
  });

  it('suggests the smallest size with which at most one caller in a hundred waits', () => {
    for (const inUse of [0, 0.1, 1, 7.5, 40]) {
      expect(waitingShare(sizeFor(inUse), inUse)).toBeLessThanOrEqual(0.01);
      if (sizeFor(inUse) > 1) expect(waitingShare(sizeFor(inUse) - 1, inUse)).toBeGreaterThan(0.01);
    }
  });

  it('takes the busiest step, and weighs instances against the connections of the server', () => {
    const steps = [step(10, 1), step(1000, 40), step(500, 5)];
    const base = { steps, size: 10, instances: 1, available: 97 };
    expect(advisePool(base)).toMatchObject({
      verdict: 'enough',
      arrivalRate: 100,
      inUse: 4,
      meanUseSeconds: 0.04,
    });
    expect(advisePool({ ...base, size: 5 }).verdict).toBe('grow');
    expect(advisePool({ ...base, size: 50 }).verdict).toBe('shrink');
    expect(advisePool({ ...base, instances: 20 })).toMatchObject({ verdict: 'server-limit', wanted: 200 });
    expect(advisePool({ ...base, steps: [step(50, 40)] })).toMatchObject({
      verdict: 'unknown',
      suggested: null,
    });
  });
});
