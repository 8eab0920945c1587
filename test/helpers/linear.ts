import { performance } from 'node:perf_hooks';
import { expect } from 'vitest';

/** Milliseconds. So short a time needs no comparison: what is quadratic takes more for 16 kB. */
const SHORT = 0.5;

/**
 * Expects the time that a text takes to grow with its length, and no faster: eight times the length takes eight
 * times as long where that is so, and 64 times where it is squared.
 *
 * What else runs on the machine only ever adds to a time. So the shortest of many is taken, and measured again
 * as long as it is too long: what is quadratic is so every time.
 */
export function expectLinear(read: (text: string) => unknown, hostile: (length: number) => string): void {
  const [short, long] = [hostile(2_048), hostile(16_384)];
  let quick = Number.POSITIVE_INFINITY;
  let slow = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < 5; attempt++) {
    slow = Math.min(slow, quickest(read, long, SHORT));
    if (slow < SHORT) return;
    quick = Math.min(quick, quickest(read, short, 0));
    if (slow / quick < 24) return;
  }
  expect(slow / quick, `${JSON.stringify(short.slice(0, 40))}… ${slow} ms`).toBeLessThan(24);
}

/** Milliseconds; the best of eight, or the first that is less than `enough`. */
function quickest(read: (text: string) => unknown, text: string, enough: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 8 && best >= enough; run++) {
    const started = performance.now();
    read(text);
    best = Math.min(best, performance.now() - started);
  }
  return best;
}
