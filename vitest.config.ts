import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

export default defineConfig({
  resolve: {
    // Tests and the example import the package by its own name; here that is the source.
    alias: [
      { find: /^hotpath$/, replacement: source('index.ts') },
      { find: /^hotpath\/(.+)$/, replacement: source('entries/$1.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    // Brings what tests start beside Node: PostgreSQL and Chromium.
    globalSetup: ['test/setup/services.ts'],
    // The checks (scripts/check.mjs) count the tests from this report.
    reporters: process.env.TEST_REPORT
      ? ['default', ['json', { outputFile: process.env.TEST_REPORT }]]
      : ['default'],
    // Only how long it takes until a failure is told: long enough for a machine that is busy with other things.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
});
