import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/setup/longest-first.js';

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

/** Tests of the cache that start other processes, or that take long for something unrelated to the front door. */
const NOT_AT_DOOR = ['collapse*', 'complete-bodies', 'encode-queue', 'keys-flood', 'keys-property'];

/**
 * The other tests of the cache run at the front door and inside the app. The cache does the same for both majors of
 * Express, so a file runs with one major at the door and with the other inside.
 */
const cacheTests = (place: 'inside' | 'front door of', major: '4' | '5', files: string) => ({
  extends: true as const,
  test: {
    name: `${place} Express ${major}`,
    include: [files],
    exclude: [`test/*/cache/{${NOT_AT_DOOR}}.test.ts`],
    isolate: false,
    env: { HOTPATH_EXPRESS: major, ...(place !== 'inside' && { HOTPATH_FRONT_DOOR: '1' }) },
  },
});

/** Checks of the package, and of the door by the public suite. CI runs them beside its other checks. */
const CHECKS = ['test/process/{package/package,conformance/front-door}.test.ts'];

/**
 * Files of test/services that need a process of their own: they fill its memory or measure it, or they hold Redis and
 * PostgreSQL to times.
 */
const OWN_PROCESS = [
  'test/services/{garbage,leaks/leaks}.test.ts',
  'test/services/assets/real-files.test.ts',
  'test/services/cache/{redis,redis-purge}.test.ts',
  'test/services/examples/{api,jobs,process,two}.test.ts',
  'test/services/faults/redis-faults.test.ts',
  'test/services/postgres/{builds,changes,report}.test.ts',
  'test/services/store/contract.test.ts',
  'test/services/store/redis/{chaos-real,log-real,store}.test.ts',
  'test/services/warming/redis.test.ts',
];
/** Files of test/process that change and measure only the processes that they start. */
const SHARED_PROCESS = [
  'test/process/{exit,purge-cluster}.test.ts',
  'test/process/cli/precompress.test.ts',
  'test/process/conformance/command.test.ts',
  'test/process/docs/{cache-status,fragments,one-source,options,warnings}.test.ts',
  'test/process/middleware/compression-late.test.ts',
  'test/process/telemetry/opentelemetry.test.ts',
];

export default defineConfig({
  resolve: {
    // Tests and the example import the package by its own name; here that is the source.
    alias: [
      { find: /^hotpath$/, replacement: source('index.ts') },
      { find: /^hotpath\/cache$/, replacement: source('cache/index.ts') },
      { find: /^hotpath\/postgres$/, replacement: source('postgres/index.ts') },
      { find: /^hotpath\/warming$/, replacement: source('warming/index.ts') },
      { find: /^hotpath\/admin$/, replacement: source('admin/index.ts') },
      { find: /^hotpath\/assets$/, replacement: source('assets/index.ts') },
      { find: /^hotpath\/(.+)$/, replacement: source('middleware/$1/index.ts') },
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
    // Otherwise each project transforms the files that it shares with the others.
    experimental: { fsModuleCache: true },
    projects: [
      {
        extends: true,
        test: {
          // Tests that change or measure what belongs to the whole process.
          name: 'isolated',
          include: ['test/process/**/*.test.ts', ...OWN_PROCESS],
          exclude: [...SHARED_PROCESS, ...CHECKS],
          // Finds Redis, PostgreSQL and Chromium, and builds the programs that tests start.
          globalSetup: ['test/setup/services.ts', 'test/setup/programs.ts'],
        },
      },
      {
        extends: true,
        test: {
          // Tests that start services and processes. One process for many files, as below.
          name: 'services',
          include: ['test/services/**/*.test.ts', ...SHARED_PROCESS],
          exclude: OWN_PROCESS,
          isolate: false,
          globalSetup: ['test/setup/services.ts', 'test/setup/programs.ts'],
        },
      },
      {
        extends: true,
        test: {
          name: 'compat',
          include: ['test/compat/**/*.test.ts'],
          // Installs the adapters and frameworks, which would make `npm install` of the project four times as long.
          globalSetup: ['test/setup/compat.ts', 'test/setup/services.ts', 'test/setup/programs.ts'],
        },
      },
      {
        extends: true,
        // One process for many files: starting a process takes longer than most of these files.
        test: {
          name: 'together',
          include: ['test/{unit,http}/**/*.test.ts'],
          exclude: [`test/http/cache/!(${NOT_AT_DOOR.join('|')}).test.ts`],
          isolate: false,
        },
      },
      cacheTests('inside', '4', 'test/http/cache/[a-j]*.test.ts'),
      cacheTests('inside', '5', 'test/http/cache/[k-z]*.test.ts'),
      cacheTests('front door of', '5', 'test/{http,process}/cache/[a-j]*.test.ts'),
      cacheTests('front door of', '4', 'test/{http,process}/cache/[k-z]*.test.ts'),
      {
        extends: true,
        test: { name: 'checks', include: CHECKS, globalSetup: ['test/setup/programs.ts'] },
      },
    ],
  },
});
