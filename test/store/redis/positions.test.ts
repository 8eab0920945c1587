import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Positions } from '../../../src/store/redis/positions.js';

describe('positions here and in the shared log', () => {
  it('H07 an own record that is acknowledged is the stamp, but records before it may still come', () => {
    const positions = new Positions();
    positions.adopt('e', 10);
    positions.acknowledge(13);
    const stamp = positions.stamp;
    expect(positions.settled).toBeLessThan(stamp);
    for (const record of [11, 12]) expect(positions.advance(record)).toBeLessThan(stamp);
    positions.advance(13);
    expect(positions.settled).toBe(stamp);
  });

  it('H07 what is purged here alone lies after all that is known, and before all that is to come', () => {
    const positions = new Positions();
    positions.adopt('e', 10);
    positions.acknowledge(13);
    const before = positions.stamp;
    const first = positions.addHere();
    const second = positions.addHere();
    expect([before < first, first < second]).toEqual([true, true]);
    expect(positions.advance(11)).toBeLessThan(before);
    expect(positions.acknowledge(14)).toBeGreaterThan(second);
    // In the shared log there is nothing between.
    for (const stamp of [before, first, second])
      expect(positions.toShared(stamp)).toEqual({ epoch: 'e', position: 13 });
    expect(positions.toShared(positions.stamp)).toEqual({ epoch: 'e', position: 14 });
  });

  it('G37 in another epoch, even of lower positions, every stamp is higher than any before', () => {
    const positions = new Positions();
    positions.adopt('one', 1000);
    positions.advance(1001);
    const before = positions.stamp;
    const floor = positions.adopt('two', 3);
    expect(floor).toBeGreaterThan(before);
    expect(positions.stamp).toBe(floor);
    expect(positions.advance(4)).toBeGreaterThan(floor);
    expect(positions.toShared(before)).toBeUndefined();
    expect(positions.toShared(floor)).toEqual({ epoch: 'two', position: 3 });
  });

  it.each([
    ['of another epoch', { epoch: 'old', position: 12 }],
    ['from before the log is known', { epoch: 'e', position: 9 }],
    ['that is no integer', { epoch: 'e', position: 12.5 }],
    ['that is no number', { epoch: 'e', position: Number.NaN }],
    ['beyond all numbers', { epoch: 'e', position: Number.POSITIVE_INFINITY }],
  ])('G11 a shared position %s is of no use', (_name, stamp) => {
    const positions = new Positions();
    positions.adopt('e', 10);
    positions.advance(15);
    expect(positions.fromShared(stamp)).toBeUndefined();
  });

  it('H08 an entry made with knowledge that is still on its way here counts as made now, not later', () => {
    const positions = new Positions();
    positions.adopt('e', 10);
    const stamp = positions.fromShared({ epoch: 'e', position: 12 })!;
    expect(stamp).toBe(positions.stamp);
    positions.addHere();
    expect(positions.advance(11)).toBeGreaterThan(stamp);
  });

  it('before the log was read nothing can be shared, and stamps grow all the same', () => {
    const positions = new Positions();
    const stamp = positions.addHere();
    expect(positions.toShared(stamp)).toBeUndefined();
    expect(positions.fromShared({ epoch: 'e', position: 1 })).toBeUndefined();
    expect(positions.adopt('e', 0)).toBeGreaterThan(stamp);
  });

  it('I-BOUND of purges that could not be written, the oldest are forgotten, and their entries are not used', () => {
    const positions = new Positions();
    positions.adopt('e', 0);
    for (let record = 1; record <= 5000; record++) {
      positions.addHere();
      positions.advance(record);
    }
    expect(positions.fromShared({ epoch: 'e', position: 10 })).toBeUndefined();
    expect(positions.fromShared({ epoch: 'e', position: 5000 })).toBe(positions.stamp);
  });

  it('H07 within an epoch the order is that of the shared log, whatever comes when; and there and back is not later', () => {
    const step = fc.constantFrom('next', 'ours', 'here');
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const positions = new Positions();
        positions.adopt('e', 5);
        const locals = new Map<number, number>();
        let last = 5;
        for (const each of steps) {
          const stamp = positions.stamp;
          if (each === 'here') expect(positions.addHere()).toBeGreaterThan(stamp);
          else if (each === 'ours') {
            last += 2;
            const local = positions.acknowledge(last);
            expect(local).toBeGreaterThan(stamp);
            locals.set(last, local);
          } else if (positions.applied < last) {
            const position = positions.applied + 1;
            const local = positions.advance(position);
            expect(locals.get(position) ?? local).toBe(local);
            locals.set(position, local);
          } else {
            last++;
            const local = positions.advance(last);
            expect(local).toBeGreaterThan(stamp);
            locals.set(last, local);
          }
          const shared = positions.toShared(positions.stamp)!;
          expect(positions.fromShared(shared)!).toBeLessThanOrEqual(positions.stamp);
        }
        const inOrder = [...locals].sort(([a], [b]) => a - b).map(([, local]) => local);
        expect(inOrder).toEqual([...inOrder].sort((a, b) => a - b));
        expect(new Set(inOrder).size).toBe(inOrder.length);
      }),
      { numRuns: 1000 },
    );
  });
});
