import { performance } from 'node:perf_hooks';
import { expect } from 'vitest';

/** Milliseconds. So short a time needs no comparison: what is quadratic takes more for 16 kB. */
const SHORT = 0.5;

/** Of each text, before it is measured again. */
const RUNS = 8;

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
    for (let run = 0; run < RUNS; run++) {
      slow = Math.min(slow, timeOf(read, long));
      if (slow < SHORT || slow / quick < 24) return;
      if (run > 0) continue;
      for (let i = 0; i < RUNS; i++) quick = Math.min(quick, timeOf(read, short));
      if (slow / quick < 24) return;
    }
  }
  expect(slow / quick, `${JSON.stringify(short.slice(0, 40))}… ${slow} ms`).toBeLessThan(24);
}

/** Milliseconds. */
function timeOf(read: (text: string) => unknown, text: string): number {
  const started = performance.now();
  read(text);
  return performance.now() - started;
}
