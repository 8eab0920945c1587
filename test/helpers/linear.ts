import { performance } from 'node:perf_hooks';
import { expect } from 'vitest';

/** Milliseconds. Below this time no comparison is needed: quadratic code takes longer for 16 kB. */
const SHORT = 0.5;

/** Runs of each text before the next measurement. */
const RUNS = 8;

/**
 * Expects time linear in the length: eight times the length takes eight times as long, while quadratic code
 * takes 64 times as long.
 *
 * Other load on the machine only adds time. So the shortest of many runs counts, and a slow result is measured again:
 * quadratic code is slow every time.
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
