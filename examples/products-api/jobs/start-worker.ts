import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { type Job, UnrecoverableError, WaitingError, Worker } from 'bullmq';
import type { Piscina } from 'piscina';
import type { QueuedForecast } from './queue-engine.js';
import { openQueueStore, QUEUE, type QueueStore } from './queue-store.js';
import { runTask } from './run-task.js';
import type { JobSettings } from './settings.js';
import { startThreads } from './threads.js';
import { JobReturned, JobSettled, JobTimeout, KEEP_MS } from './types.js';

export interface RunningWorker {
  readonly id: string;
  readonly kind: 'redis' | 'postgres';
  /**
   * Takes no further job, and waits for the running ones. Those that have not ended in time go back to the queue.
   * Idempotent.
   */
  stop(): Promise<void>;
}

export interface WorkerSetup {
  /** Runs in place of the simulation of the shop. */
  simulation?: URL;
  /** Called with faults that are not those of a job. Default: the console. */
  report?: (error: Error) => void;
}

/** Outcomes and records are forgotten after the jobs. */
const FORGET_MS = KEEP_MS + 3_600_000;

/** The reason of a job that a client has cancelled. */
const CANCELLED = 'cancelled';

/** Runs the jobs of the queue until it is stopped. */
export async function startWorker(settings: JobSettings, setup: WorkerSetup = {}): Promise<RunningWorker> {
  const { simulation, report = (error) => console.error('worker:', error.message) } = setup;
  const store = await openQueueStore(settings, 'worker');
  const threads = await startThreads(settings.maxConcurrentJobs, { simulation });
  const id = `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`;
  const returning = new AbortController();
  const heartbeatMs = settings.heartbeatSeconds * 1_000;
  let runningCount = 0;
  const worker = new Worker<QueuedForecast>(
    QUEUE,
    // The third parameter tells bullmq that the run can be aborted.
    async (job, token, lost) => {
      runningCount += 1;
      try {
        const signal = AbortSignal.any([returning.signal, lost as AbortSignal]);
        await runJob({ job, token, signal, store, threads, settings, id });
      } finally {
        runningCount -= 1;
      }
    },
    {
      ...store.options,
      concurrency: settings.maxConcurrentJobs,
      // bullmq renews a lock when half of its time is over: once a heartbeat.
      lockDuration: 2 * heartbeatMs,
      stalledInterval: heartbeatMs,
      // With 1, the default, a job whose worker is killed twice has failed.
      maxStalledCount: 10,
    },
    store.backend,
  );
  worker.on('error', report);
  // Its outcome is in the records, and it is no failure.
  worker.on('failed', (job, error) => {
    if (error.message === CANCELLED) job?.remove().catch(() => {});
  });
  // Another worker has the job now.
  worker.on('lockRenewalFailed', (ids: string[]) => {
    for (const jobId of ids) worker.cancelJob(jobId, 'lock lost');
  });
  const heart = startHeart({ store, heartbeatMs, id, settings, runningCount: () => runningCount });
  await worker.waitUntilReady();
  let stopping: Promise<void> | undefined;
  const stop = async () => {
    const late = setTimeout(() => returning.abort(new JobReturned()), settings.shutdownSeconds * 1_000);
    await worker.close();
    clearTimeout(late);
    await heart.stop();
    await threads.destroy();
    await store.close();
  };
  return {
    id,
    kind: store.kind,
    stop: () => {
      stopping ??= stop();
      return stopping;
    },
  };
}

interface JobRun {
  readonly job: Job<QueuedForecast>;
  readonly token: string | undefined;
  readonly signal: AbortSignal;
  readonly store: QueueStore;
  readonly threads: Piscina;
  readonly settings: JobSettings;
  /** Of the worker. */
  readonly id: string;
}

/** Runs one job, and translates its end for bullmq. */
async function runJob({ job, token, signal, store, threads, settings, id }: JobRun): Promise<void> {
  const { records } = store;
  try {
    await runTask({
      id: job.id as string,
      task: job.data.task,
      records,
      threads,
      settings,
      by: id,
      signal,
    });
  } catch (error) {
    if (error instanceof JobReturned) {
      await job.moveToWait(token);
      throw new WaitingError();
    }
    // A second run would take as long.
    if (error instanceof JobTimeout) throw new UnrecoverableError('timeout');
    if (!(error instanceof JobSettled)) throw error;
    const { outcome } = await records.read(job.id as string);
    // Another worker was faster.
    if (outcome?.kind === 'result') return;
    throw new UnrecoverableError(CANCELLED);
  }
}

interface HeartOptions {
  readonly store: QueueStore;
  readonly heartbeatMs: number;
  readonly id: string;
  readonly settings: JobSettings;
  runningCount(): number;
}

/** Announces the worker at each heartbeat, and forgets old records. */
function startHeart({ store, heartbeatMs, id, settings, runningCount }: HeartOptions) {
  const { records } = store;
  let cpu = process.cpuUsage();
  let measuredAt = performance.now();
  const beat = async () => {
    const { user, system } = process.cpuUsage(cpu);
    const now = performance.now();
    const cpuCores = (user + system) / 1_000 / Math.max(1, now - measuredAt);
    cpu = process.cpuUsage();
    measuredAt = now;
    const figures = {
      id,
      host: hostname(),
      pid: process.pid,
      cpuCores,
      memoryBytes: process.memoryUsage.rss(),
    };
    await records.beat({
      ...figures,
      runningCount: runningCount(),
      maxCount: settings.maxConcurrentJobs,
      beatAt: Date.now(),
    });
    await records.sweep(FORGET_MS);
  };
  // A beat that fails is made up for by the next one.
  let last = beat().catch(() => {});
  const timer = setInterval(() => {
    last = beat().catch(() => {});
  }, heartbeatMs);
  return {
    async stop(): Promise<void> {
      clearInterval(timer);
      await last;
      await records.leave(id).catch(() => {});
    },
  };
}
