import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { hotpath } from 'hotpath';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openJobEngine } from '../../../examples/products-api/jobs/engine.js';
import type { ForecastTask } from '../../../examples/products-api/jobs/forecast.js';
import { type JobSettings, jobSettingsFromEnv } from '../../../examples/products-api/jobs/settings.js';
import { type RunningWorker, startWorker } from '../../../examples/products-api/jobs/start-worker.js';
import { openThreadEngine } from '../../../examples/products-api/jobs/thread-engine.js';
import type { JobEngine, JobStatus } from '../../../examples/products-api/jobs/types.js';
import { waitFor } from '../../helpers/http.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';
import { program } from '../../helpers/program.js';
import { RedisServer } from '../../helpers/redis.js';

const SIMULATION = new URL('../../examples/simulation.mjs', import.meta.url);
const HEARTBEAT = '0.25';

let redis: RedisServer;
let postgres: TestPostgres;
let databaseUrl: string;
let marks: string;
const children = new Set<ChildProcess>();
const closers: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  marks = mkdtempSync(join(tmpdir(), 'hotpath-jobs-'));
  process.env.TEST_MARKS = marks;
  [redis, postgres] = await Promise.all([RedisServer.start(), startPostgres()]);
  databaseUrl = await postgres.createDatabase('jobs');
});

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
  for (const close of closers.splice(0)) await close();
  await redis.command('FLUSHALL');
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query('DROP SCHEMA IF EXISTS hotpath_jobs CASCADE; DROP SCHEMA IF EXISTS bullmq CASCADE');
  await client.end();
});

afterAll(async () => {
  rmSync(marks, { recursive: true, force: true });
  await redis?.stop();
  await postgres?.stop();
});

type Kind = 'redis' | 'postgres';

function envOf(kind: Kind): Record<string, string> {
  return kind === 'redis' ? { JOBS_REDIS_URL: redis.url } : { DATABASE_URL: databaseUrl };
}

function settingsOf(kind: Kind | 'threads', env: Record<string, string> = {}): JobSettings {
  const where = kind === 'threads' ? {} : envOf(kind);
  const settings = jobSettingsFromEnv({ WORKER_HEARTBEAT_INTERVAL: HEARTBEAT, ...where, ...env });
  return { ...settings, backoffSeconds: 0.05 };
}

async function openEngine(kind: Kind | 'threads', env?: Record<string, string>): Promise<JobEngine> {
  const settings = settingsOf(kind, env);
  const engine = kind === 'threads' ? openThreadEngine(settings, SIMULATION) : await openJobEngine(settings);
  closers.push(() => engine.close());
  return engine;
}

/** A worker in this process, with the simulation of the tests. */
async function startTestWorker(kind: Kind, env: Record<string, string> = {}): Promise<RunningWorker> {
  const worker = await startWorker(settingsOf(kind, { WORKER_SHUTDOWN_TIMEOUT: '0.1', ...env }), {
    simulation: SIMULATION,
    report: () => {},
  });
  closers.unshift(() => worker.stop());
  return worker;
}

interface WorkerProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<unknown[]>;
}

/** `npm run start:worker`. */
async function startWorkerProcess(kind: Kind, env: Record<string, string> = {}): Promise<WorkerProcess> {
  const { execArgv, file } = program('examples/products-api/jobs/worker.ts');
  const child = spawn(process.execPath, [...execArgv, file], {
    env: { PATH: process.env.PATH, WORKER_HEARTBEAT_INTERVAL: HEARTBEAT, ...envOf(kind), ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  const exited = once(child, 'exit');
  for await (const line of createInterface({ input: child.stdout! })) {
    expect(line).toContain(`from ${kind}`);
    return { child, exited };
  }
  throw new Error('the worker ended before it was ready');
}

let seed = 0;
function taskOf(productId: number, runs = 1_000): ForecastTask {
  const input = { productId, days: 30, runs };
  return { input, sales: [1, 2, 1, 3], observedDays: 365, stock: 5, seed: ++seed };
}

const stateOf = async (engine: JobEngine, { id }: JobStatus) => (await engine.status(id))?.state;

/** Waits for the end of a job. */
async function ended(engine: JobEngine, { id }: JobStatus): Promise<JobStatus> {
  await waitFor(async () => /done|failed|cancelled/.test((await engine.status(id))?.state ?? 'done'));
  return (await engine.status(id))!;
}

/**
 * Kills two workers while they run a job: it has one result, and its progress never falls.
 *
 * @returns the worker that is left.
 */
async function killTwo(kind: Kind, engine: JobEngine, workers: WorkerProcess[]): Promise<WorkerProcess> {
  const job = await engine.submit(taskOf(7, 1_000_000), 'normal');
  const seen: number[] = [];
  const look = async () => {
    const status = (await engine.status(job.id))!;
    seen.push(status.progress);
    return status;
  };
  const killed: number[] = [];
  while (killed.length < 2) {
    let pid: number | undefined;
    await waitFor(async () => {
      const { progress } = await look();
      const busy = (await engine.figures()).workers.find(
        (worker) => worker.runningCount > 0 && !killed.includes(worker.pid),
      );
      pid = busy?.pid;
      return busy && progress >= 3;
    });
    const { child, exited } = workers.find((worker) => worker.child.pid === pid)!;
    child.kill('SIGKILL');
    await exited;
    killed.push(pid!);
  }
  await waitFor(async () => (await look()).state === 'done', 60_000);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  expect(seen.at(-1)).toBe(100);
  expect(seen.filter((progress) => progress > 0 && progress < 100)).not.toEqual([]);
  expect((await engine.status(job.id))?.failedAttempts).toBe(0);
  const outcomes = await storedOutcomes(kind);
  expect(outcomes).toHaveLength(1);
  const [, pid] = /:(\d+):/.exec(outcomes[0]!.by)!;
  expect(killed).not.toContain(Number(pid));
  expect((await engine.result(job.id))?.mean).toHaveLength(30);
  return workers.find((worker) => !killed.includes(worker.child.pid!))!;
}

/** A worker that gets SIGTERM finishes its job; one that would take too long for that returns it to the queue. */
async function finishOrReturn(kind: Kind, engine: JobEngine, patient: WorkerProcess): Promise<void> {
  const short = await engine.submit(taskOf(7, 1_000_000), 'normal');
  await waitFor(async () => (await stateOf(engine, short)) === 'running');
  const next = await engine.submit(taskOf(7, 50_000_000), 'normal');
  const hurried = await startWorkerProcess(kind, { WORKER_SHUTDOWN_TIMEOUT: '0.1' });
  patient.child.kill('SIGTERM');
  await waitFor(async () => (await stateOf(engine, next)) === 'running');
  hurried.child.kill('SIGTERM');
  expect(await hurried.exited).toEqual([0, null]);
  const returned = (await engine.status(next.id))!;
  expect([returned.state, returned.failedAttempts]).toEqual(['waiting', 0]);
  await engine.cancel(next.id);
  expect(await patient.exited).toEqual([0, null]);
  expect(await stateOf(engine, short)).toBe('done');
  expect((await engine.figures()).workers).toEqual([]);
}

describe.each(['redis', 'postgres'] as const)('jobs on %s', (kind) => {
  test('survive two workers that are killed; the third finishes or returns its job at SIGTERM', async () => {
    const engine = await openEngine(kind);
    const workers = await Promise.all(
      [1, 2, 3].map(() => startWorkerProcess(kind, { MAX_CONCURRENT_JOBS: '1' })),
    );
    // A process takes a second of CPU time to start, so the one that is left ends as the next ones do.
    await finishOrReturn(kind, engine, await killTwo(kind, engine, workers));
  });

  test('run in the order of their priorities', async () => {
    const engine = await openEngine(kind);
    const jobs = [];
    for (const priority of ['low', 'normal', 'high'] as const)
      jobs.push(await engine.submit(taskOf(1), priority));
    expect(await engine.figures()).toMatchObject({ waitingCount: 3, runningCount: 0, workers: [] });
    await startTestWorker(kind, { MAX_CONCURRENT_JOBS: '1' });
    const statuses = await Promise.all(jobs.map((job) => ended(engine, job)));
    const started = statuses.toSorted((a, b) => a.startedAt! - b.startedAt! || a.finishedAt! - b.finishedAt!);
    expect(started.map(({ priority }) => priority)).toEqual(['high', 'normal', 'low']);
    // The result is stored a moment before the queue knows of it.
    await waitFor(async () => (await engine.figures()).durationSeconds.length === 3);
    const figures = await engine.figures();
    expect(figures).toMatchObject({ waitingCount: 0, runningCount: 0, completedCount: 3, failedCount: 0 });
    expect(figures.workers).toMatchObject([{ maxCount: 1, pid: process.pid }]);
  });

  test('store one result when two runs end, the first', async () => {
    const { openQueueStore } = await import('../../../examples/products-api/jobs/queue-store.js');
    const store = await openQueueStore(settingsOf(kind), 'worker');
    closers.push(() => store.close());
    const outcome = (by: string) => ({ kind: 'result', result: {} as never, at: 1, by }) as const;
    expect(await store.records.raise('x', 30)).toBe(false);
    const stored = await Promise.all(['a', 'b'].map((by) => store.records.settle('x', outcome(by))));
    expect(stored[0]).toEqual(stored[1]);
    expect(await store.records.raise('x', 10)).toBe(true);
    expect(await store.records.read('x')).toEqual({ progress: 30, outcome: stored[0] });
    await store.records.sweep(60_000);
    expect((await store.records.read('x')).progress).toBe(30);
    await store.records.sweep(-60_000);
    expect(await store.records.read('x')).toEqual({ progress: 0, outcome: undefined });
  });
});

describe.each(['redis', 'postgres'] as const)('the figures of workers on %s', (kind) => {
  test('list those with a wrong clock, and not those that have ended', async () => {
    const { openQueueStore } = await import('../../../examples/products-api/jobs/queue-store.js');
    const store = await openQueueStore(settingsOf(kind), 'server');
    closers.push(() => store.close());
    const figures = { host: 'h', pid: 1, runningCount: 0, maxCount: 1, cpuCores: null, memoryBytes: null };
    for (const [id, hours] of [
      ['slow', -2],
      ['fast', 2],
    ] as const) {
      await store.records.beat({ ...figures, id, beatAt: Date.now() + hours * 3_600_000 });
    }
    const idsWithin = async (ms: number) => (await store.records.workers(ms)).map(({ id }) => id);
    expect(await idsWithin(60_000)).toEqual(['fast', 'slow']);
    await waitFor(async () => (await idsWithin(1)).length === 0);
    await store.records.sweep(1);
    expect(await idsWithin(60_000)).toEqual([]);
  });
});

describe.each(['redis', 'postgres', 'threads'] as const)('a job on %s', (kind) => {
  test('is retried, fails for good after three runs, and ends at its time-out', async () => {
    const env = { JOB_TIMEOUT: '1' };
    const engine = await openEngine(kind, env);
    if (kind !== 'threads') await startTestWorker(kind, env);
    const [flaky, broken, endless] = await Promise.all(
      [3, 2, 4].map((productId) => engine.submit(taskOf(productId), 'normal')),
    );
    expect(await ended(engine, flaky!)).toMatchObject({ state: 'done', failedAttempts: 1, progress: 100 });
    expect((await engine.result(flaky!.id))?.mean).toEqual([3]);
    expect(await ended(engine, broken!)).toMatchObject({
      state: 'failed',
      failedAttempts: 3,
      failure: 'error',
    });
    expect(await ended(engine, endless!)).toMatchObject({
      state: 'failed',
      failedAttempts: 1,
      failure: 'timeout',
    });
    await waitFor(async () => (await engine.figures()).runningCount === 0);
    expect(await engine.figures()).toMatchObject({ completedCount: 1, failedCount: 2 });
  });

  test('can be cancelled while it waits and while it runs, and not after its end', async () => {
    const env = { MAX_CONCURRENT_JOBS: '1' };
    const engine = await openEngine(kind, env);
    const running = await engine.submit(taskOf(4), 'high');
    const waiting = await engine.submit(taskOf(1), 'low');
    expect(await engine.cancel(waiting.id)).toMatchObject({ state: 'cancelled', id: waiting.id });
    if (kind !== 'threads') await startTestWorker(kind, env);
    await waitFor(async () => (await stateOf(engine, running)) === 'running');
    expect(await engine.cancel(running.id)).toMatchObject({ state: 'cancelled' });
    const last = await engine.submit(taskOf(1), 'normal');
    // The thread of the cancelled job has ended.
    expect(await ended(engine, last)).toMatchObject({ state: 'done' });
    expect(await engine.cancel(last.id)).toMatchObject({ state: 'done' });
    for (const { id } of [running, waiting]) {
      expect(await engine.status(id)).toMatchObject({ state: 'cancelled' });
      expect(await engine.result(id)).toBeUndefined();
    }
    await waitFor(async () => (await engine.figures()).runningCount === 0);
    expect(await engine.figures()).toMatchObject({ waitingCount: 0, completedCount: 1, failedCount: 0 });
    expect(await engine.status('00000000-0000-0000-0000-000000000000')).toBeUndefined();
    expect(await engine.cancel('00000000-0000-0000-0000-000000000000')).toBeUndefined();
  });

  test('stays cancelled when its run fails before it notices', async () => {
    const engine = await openEngine(kind);
    if (kind !== 'threads') await startTestWorker(kind);
    const job = await engine.submit(taskOf(5), 'normal');
    await waitFor(async () => (await stateOf(engine, job)) === 'running');
    expect(await engine.cancel(job.id)).toMatchObject({ state: 'cancelled' });
    await waitFor(async () => {
      const { runningCount, waitingCount, delayedCount, failedCount } = await engine.figures();
      // A queue lists it as failed until the worker has removed it.
      return runningCount + waitingCount + delayedCount + failedCount === 0;
    });
    expect(await engine.status(job.id)).toMatchObject({ state: 'cancelled', failedAttempts: 0 });
    expect((await engine.figures()).completedCount).toBe(0);
  });
});

describe('the Redis servers of docker-compose.yml', () => {
  const compose = readFileSync(
    join(import.meta.dirname, '../../../examples/products-api/docker-compose.yml'),
    'utf8',
  );

  /** The flags of a service, as settings of `redis.conf`. */
  function settingsOfService(name: string): Record<string, string> {
    const [, flags = ''] = new RegExp(`^  ${name}:\n(?:    .*\n)*?    command: redis-server (.+)$`, 'm').exec(
      compose,
    )!;
    return Object.fromEntries(
      [...flags.matchAll(/--([\w-]+) (\S+)/g)].map(([, key, value]) => [key!, value!.replace(/^""$/, '')]),
    );
  }

  test.each([
    ['each on its own', 'jobs-redis'],
    ['both on the cache server', 'redis'],
  ])('lose no job to a cache that fills its memory: %s', async (_, service) => {
    const cacheServer = await RedisServer.start({
      settings: { ...settingsOfService('redis'), maxmemory: '16mb' },
    });
    closers.push(() => cacheServer.stop());
    let jobServer = cacheServer;
    if (service !== 'redis') {
      jobServer = await RedisServer.start({ settings: settingsOfService(service) });
      closers.push(() => jobServer.stop());
    }
    const settings = jobSettingsFromEnv({ REDIS_URL: cacheServer.url, JOBS_REDIS_URL: jobServer.url });
    const engine = await openJobEngine(settings);
    closers.unshift(() => engine.close());
    const jobs = await Promise.all(Array.from({ length: 200 }, () => engine.submit(taskOf(1), 'normal')));
    const perf = hotpath({ cache: { redis: { url: cacheServer.url }, memory: { maxBytes: '1mb' } } });
    closers.unshift(() => perf.close());
    // hotpath itself fills the server, with keys as it writes them.
    const evicted = async () => Number((await cacheServer.info('stats')).get('evicted_keys'));
    for (let page = 0; (await evicted()) < 200; page++) {
      const pages = Array.from({ length: 50 }, (_, at) => `page:${page}:${at}`);
      await Promise.all(pages.map((key) => perf.cache.set(key, key.repeat(2_000), { ttl: '1h' })));
    }
    expect((await engine.figures()).waitingCount).toBe(200);
    for (const job of jobs) expect(await engine.status(job.id)).toMatchObject({ state: 'waiting' });
    expect(settingsOfService('redis')['maxmemory-policy']).toBe('volatile-lru');
    expect(settingsOfService('jobs-redis')['maxmemory-policy']).toBe('noeviction');
  });
});

async function storedOutcomes(kind: Kind): Promise<{ by: string }[]> {
  if (kind === 'redis') {
    const values = (await redis.command('HVALS', 'products-api:forecasts:outcomes')) as string[];
    return values.map((value) => JSON.parse(value));
  }
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const { rows } = await client.query('SELECT outcome FROM hotpath_jobs.forecasts WHERE outcome IS NOT NULL');
  await client.end();
  return rows.map(({ outcome }) => outcome);
}
