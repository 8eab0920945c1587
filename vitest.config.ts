import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/setup/longest-first.js';

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

/**
 * Tests that leave their process as it was: they start no other, change nothing that belongs to all of it, such as its
 * clock, its warnings or its modules, and look at nothing that others have left in it: its memory, its CPU time, the
 * hidden classes of V8.
 */
const together = [
  'test/architecture.test.ts',
  'test/bench/report.test.ts',
  'test/cache/!(redis*|complete-bodies|complete-time|hints).test.ts',
  'test/compat/*.test.ts',
  'test/config/!(errors).test.ts',
  'test/conformance/{judge,proxy}.test.ts',
  'test/docs/{figures,metrics,security}.test.ts',
  'test/examples/compose.test.ts',
  'test/exchange/!(exchange|faults|hidden-class).test.ts',
  'test/front/!(redis|shape).test.ts',
  'test/http/!(hostile).test.ts',
  'test/middleware/!(*-cost|compression|compression-edges|size-limit-connection|timing).test.ts',
  'test/scripts/*.test.ts',
  'test/store/{admission,client-purges,codec,compact,key-parts,log,log-index,selector,under-way}.test.ts',
  'test/store/redis/{chaos,faults,log,positions,records}.test.ts',
  'test/telemetry/tally.test.ts',
];

/**
 * What the cache promises, it promises at the front door: its tests once more, with one before each app. Those that
 * start other processes, or take long for what has nothing to do with it, are not among them. The door does the same
 * for both majors of Express: it is before the one for some files, and before the other for the rest.
 */
const atDoor = (major: '4' | '5', files: string) => ({
  extends: true as const,
  test: {
    name: `front door of Express ${major}`,
    include: [files],
    exclude: ['test/cache/{redis*,collapse*,complete-bodies,encode-queue,keys-flood,keys-property}.test.ts'],
    isolate: false,
    env: { HOTPATH_FRONT_DOOR: major },
  },
});

export default defineConfig({
  resolve: {
    // Tests and the example import the package by its own name; here that is the source.
    alias: [
      { find: /^hotpath$/, replacement: source('index.ts') },
      { find: /^hotpath\/(.+)$/, replacement: source('entries/$1.ts') },
    ],
  },
  test: {
    // The checks (scripts/check.mjs) count the tests from this report.
    reporters: process.env.TEST_REPORT
      ? ['default', ['json', { outputFile: process.env.TEST_REPORT }]]
      : ['default'],
    // Only how long it takes until a failure is told: long enough for a machine that is busy with other things.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    maxWorkers: 2,
    // Packages are imported as Node does it: no Proxy around each, which every use of an import would go through.
    deps: { interopDefault: false },
    // Of tests that say of themselves that they may run beside each other.
    maxConcurrency: 2,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: {
          name: 'tests',
          include: ['test/**/*.test.ts'],
          exclude: together,
          // Brings what tests start beside Node (Redis, PostgreSQL and Chromium), and builds what they start with it.
          globalSetup: ['test/setup/services.ts', 'test/setup/programs.ts'],
        },
      },
      {
        extends: true,
        // One process for many files: a process each takes longer than what most of these do in it.
        test: { name: 'together', include: together, isolate: false },
      },
      atDoor('5', 'test/cache/[a-j]*.test.ts'),
      atDoor('4', 'test/cache/[k-z]*.test.ts'),
    ],
  },
});
