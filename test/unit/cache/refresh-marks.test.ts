import { describe, expect, it } from 'vitest';
import { RefreshMarks } from '../../../src/cache/revalidate/refresh-marks.js';

describe('the marks of keys without background refreshes', () => {
  function marksOf(refused = 120, failed = 1) {
    const time = { now: 1000.5 };
    const marks = new RefreshMarks({ refused, failed }, () => time.now);
    const useAt = (storedAt: number) => marks.useOf({ key: 'k', storedAt });
    return { time, marks, useAt };
  }

  it('distinguish entries from before and after a refused refresh, also after its pause [H11]', () => {
    const { time, marks, useAt } = marksOf();
    marks.refuse('k', '404');
    expect([useAt(0), useAt(1000)]).toEqual(['foreground', 'foreground']);
    time.now += 120_001;
    expect([useAt(0), useAt(1000)]).toEqual(['foreground', 'refresh']);
    marks.stored('k', false);
    expect(useAt(0)).toBe('foreground');
    marks.stored('k', true);
    expect([useAt(0), marks.size]).toEqual(['refresh', 0]);
  });

  it('count a response as older that was stored while the refused refresh ran [H11]', () => {
    const { time, marks, useAt } = marksOf();
    marks.refuse('k', '404', { storedAt: 1000 });
    time.now += 120_001;
    expect([useAt(1000), useAt(1001)]).toEqual(['foreground', 'refresh']);
  });

  it('remain when another run fails meanwhile, and outlive a later failure', () => {
    const { time, marks, useAt } = marksOf();
    marks.refuse('k', '403');
    marks.fail('k', '500');
    expect(useAt(2000)).toBe('foreground');
    time.now += 120_001;
    marks.fail('k', '500');
    expect([useAt(2000), useAt(0)]).toEqual(['wait', 'foreground']);
    marks.stored('k', false);
    expect([useAt(2000), useAt(0)]).toEqual(['refresh', 'foreground']);
  });

  it('double the back-off from 1 s to 30 s, and restart it after a success', () => {
    const { time, marks, useAt } = marksOf();
    for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
      marks.fail('k', '500');
      time.now += seconds * 1000 - 1;
      expect(useAt(0)).toBe('wait');
      time.now += 1;
      expect(useAt(0)).toBe('refresh');
    }
    marks.stored('k', false);
    marks.fail('k', '500');
    time.now += 1000;
    expect(useAt(0)).toBe('refresh');
  });

  it('make no pause when the back-off is 0', () => {
    const { marks, useAt } = marksOf(120, 0);
    marks.fail('k', '500');
    expect(useAt(0)).toBe('refresh');
  });

  it('are bounded for any number and length of keys [B14]', () => {
    const { marks } = marksOf();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < 50_000; i++) marks.refuse(`${'k'.repeat(2000)}${i}`, '403');
    expect(marks.size).toBe(20_000);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(60 * 1024 ** 2);
  });
});
