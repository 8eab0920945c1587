import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/setup/longest-first.js';

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

/** Tests of the cache that start other processes, or that take long for something unrelated to the front door. */
const NOT_AT_DOOR = ['collapse*', 'complete-bodies', 'encode-queue', 'keys-flood', 'keys-property'];

/**
 * The other tests of the cache run at the front door and inside the app. The cache does the same for both majors of
 * Express, so a file runs with one major at the door and with the other inside (test/setup/express-major.ts).
 */
const cacheTests = (name: 'inside' | 'front door', folders: string) => ({
  extends: true as const,
  test: {
    name,
    include: [`test/${folders}/cache/*.test.ts`],
    exclude: [`test/*/cache/{${NOT_AT_DOOR}}.test.ts`],
    isolate: false,
    setupFiles: ['test/setup/express-major.ts'],
    env: name === 'front door' ? { HOTPATH_FRONT_DOOR: '1' } : {},
  },
});

/** Tests that take long, one at a time. CI runs them beside a check that mostly waits. */
const LONG = [
  'test/process/conformance/front-door.test.ts',
  'test/process/middleware/{compression,size-limit}-cost.test.ts',
  'test/process/package/package.test.ts',
];

/**
 * Files that need a process of their own: they fill its memory or measure it, they count what was reported once, or they
 * hold Redis and PostgreSQL to times.
 */
const OWN_PROCESS = [
  'test/process/cache/complete-{bodies,time}.test.ts',
  'test/process/exchange/hidden-class.test.ts',
  'test/process/compiler.test.ts',
  'test/process/store/memory.test.ts',
  'test/process/telemetry/{gauges,process,system}.test.ts',
  'test/services/{garbage,leaks/leaks}.test.ts',
  'test/services/cache/{redis,redis-purge}.test.ts',
  'test/services/examples/{api,jobs,process,two}.test.ts',
  'test/services/faults/redis-faults.test.ts',
  'test/services/postgres/{builds,changes}.test.ts',
  'test/services/store/contract.test.ts',
  'test/services/store/redis/{chaos-real,log-real,store}.test.ts',
  'test/services/warming/redis.test.ts',
];

/** Files whose packages change the classes of Node for good. */
const COMPAT_ALONE = ['test/compat/{light-my-request,telemetry}.test.ts'];

/** Tests with frameworks and adapters. One process for many files: starting one takes longer than most of them. */
const compatTests = (name: string, files: { include?: string[]; exclude?: string[]; isolate?: boolean }) => ({
  extends: true as const,
  test: {
    name,
    include: ['test/compat/*.test.ts'],
    // Installs the adapters and frameworks, which would make `npm install` of the project four times as long.
    globalSetup: ['test/setup/compat.ts', 'test/setup/services.ts', 'test/setup/programs.ts'],
    setupFiles: ['test/setup/compat-installed.ts'],
    ...files,
  },
});

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
      {
        find: /^typescript$/,
        replacement: fileURLToPath(new URL('./test/setup/typescript.ts', import.meta.url)),
      },
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
    // Many tests wait for servers and timers meanwhile.
    maxWorkers: availableParallelism() + 2,
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
          name: 'isolated',
          include: OWN_PROCESS,
          // Finds Redis, PostgreSQL and Chromium, and builds the programs that tests start.
          globalSetup: ['test/setup/services.ts', 'test/setup/programs.ts'],
        },
      },
      {
        extends: true,
        test: {
          // The others that start services and processes, or change what belongs to the process until they end. One process
          // for many files: starting a process takes longer than most of these files.
          name: 'shared',
          include: ['test/{process,services}/**/*.test.ts'],
          exclude: [...OWN_PROCESS, ...LONG],
          isolate: false,
          globalSetup: ['test/setup/services.ts', 'test/setup/programs.ts'],
        },
      },
      compatTests('compat', { exclude: COMPAT_ALONE, isolate: false }),
      compatTests('compat, alone', { include: COMPAT_ALONE }),
      {
        extends: true,
        test: {
          // Without services.
          name: 'together',
          include: ['test/{unit,http}/**/*.test.ts'],
          exclude: [`test/http/cache/!(${NOT_AT_DOOR.join('|')}).test.ts`],
          isolate: false,
        },
      },
      cacheTests('inside', 'http'),
      cacheTests('front door', '{http,process}'),
      {
        extends: true,
        test: {
          name: 'long',
          include: LONG,
          fileParallelism: false,
          globalSetup: ['test/setup/programs.ts'],
        },
      },
    ],
  },
});
