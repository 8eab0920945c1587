import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LogPositions } from '../../../../src/store/redis/log/log-positions.js';

describe('local positions and positions in the shared log', () => {
  it('use an acknowledged own record as the stamp, and expect earlier records later [H07]', () => {
    const positions = new LogPositions();
    positions.adopt('e', 10);
    positions.acknowledge(13);
    const stamp = positions.stamp;
    expect(positions.settled).toBeLessThan(stamp);
    for (const record of [11, 12]) expect(positions.advance(record)).toBeLessThan(stamp);
    positions.advance(13);
    expect(positions.settled).toBe(stamp);
  });

  it('put a local purge after all known records, and before all later ones [H07]', () => {
    const positions = new LogPositions();
    positions.adopt('e', 10);
    positions.acknowledge(13);
    const before = positions.stamp;
    const first = positions.addHere();
    const second = positions.addHere();
    expect([before < first, first < second]).toEqual([true, true]);
    expect(positions.advance(11)).toBeLessThan(before);
    expect(positions.acknowledge(14)).toBeGreaterThan(second);
    // The shared log has no position in between.
    for (const stamp of [before, first, second])
      expect(positions.toShared(stamp)).toEqual({ epoch: 'e', position: 13 });
    expect(positions.toShared(positions.stamp)).toEqual({ epoch: 'e', position: 14 });
  });

  it('exceed every earlier stamp in a new epoch, even with lower positions [G37]', () => {
    const positions = new LogPositions();
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
  ])('ignore a shared position %s [G11]', (_name, stamp) => {
    const positions = new LogPositions();
    positions.adopt('e', 10);
    positions.advance(15);
    expect(positions.fromShared(stamp)).toBeUndefined();
  });

  it('treat an entry made with newer records than were read as made now, not later [H08]', () => {
    const positions = new LogPositions();
    positions.adopt('e', 10);
    const stamp = positions.fromShared({ epoch: 'e', position: 12 })!;
    expect(stamp).toBe(positions.stamp);
    positions.addHere();
    expect(positions.advance(11)).toBeGreaterThan(stamp);
  });

  it('share nothing before the log was read, and grow all the same', () => {
    const positions = new LogPositions();
    const stamp = positions.addHere();
    expect(positions.toShared(stamp)).toBeUndefined();
    expect(positions.fromShared({ epoch: 'e', position: 1 })).toBeUndefined();
    expect(positions.adopt('e', 0)).toBeGreaterThan(stamp);
  });

  it('forget the oldest unwritten purges, and use no entries of that time [I-BOUND]', () => {
    const positions = new LogPositions();
    positions.adopt('e', 0);
    for (let record = 1; record <= 5000; record++) {
      positions.addHere();
      positions.advance(record);
    }
    expect(positions.fromShared({ epoch: 'e', position: 10 })).toBeUndefined();
    expect(positions.fromShared({ epoch: 'e', position: 5000 })).toBe(positions.stamp);
  });

  it('keep the order of the shared log within an epoch, and never return later stamps [H07]', () => {
    const step = fc.constantFrom('next', 'ours', 'here');
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const positions = new LogPositions();
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
