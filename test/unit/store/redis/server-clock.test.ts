import { describe, expect, it } from 'vitest';
import { ServerClock } from '../../../../src/store/redis/server-clock.js';

describe('the clock of the Redis server', () => {
  it('is unknown before the first sample', () => {
    const clock = new ServerClock();
    expect(clock.isKnown).toBe(false);
    expect(clock.toShared(1)).toBeNaN();
    expect(clock.fromShared(1)).toBeNaN();
  });

  it('is taken from the middle of the round trip', () => {
    const clock = new ServerClock();
    clock.sample(100, 110, 5_000);
    expect(clock.toShared(105)).toBe(5_000);
    expect(clock.fromShared(5_000)).toBe(105);
  });

  it('uses the recent sample with the shortest round trip', () => {
    const clock = new ServerClock();
    clock.sample(0, 100, 1_050 + 40);
    clock.sample(200, 202, 1_201);
    expect(clock.toShared(0)).toBe(1_000);
    clock.sample(300, 380, 1_340 - 30);
    expect(clock.toShared(0)).toBe(1_000);
    for (let at = 1; at <= 8; at++) clock.sample(1000 * at, 1000 * at + 20, 1000 * at + 1_010 + 3);
    expect(clock.toShared(0), 'the best one has grown too old').toBe(1_003);
  });

  it('follows at once a clock that was set or belongs to another server [G36]', () => {
    const clock = new ServerClock();
    clock.sample(0, 2, 1_000_001);
    clock.sample(100, 150, 700_125);
    expect(clock.toShared(0)).toBe(700_000);
  });

  it('ignores invalid samples', () => {
    const clock = new ServerClock();
    clock.sample(0, 1, Number.NaN);
    clock.sample(2, 1, 5);
    expect(clock.isKnown).toBe(false);
  });
});
