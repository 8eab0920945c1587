import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import type { JobFigures } from 'hotpath/admin';
import type { Piscina } from 'piscina';
import type { ForecastTask } from './forecast.js';
import { memoryRecords } from './records/memory.js';
import { runTask } from './run-task.js';
import type { JobSettings } from './settings.js';
import { startThreads } from './threads.js';
import {
  ATTEMPTS,
  type JobEngine,
  JobSettled,
  type JobStatus,
  JobsUnavailable,
  JobTimeout,
  MAX_ENDED_JOBS,
  MAX_WAITING_JOBS,
  PRIORITIES,
  type Priority,
} from './types.js';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

type ThreadSettings = Pick<
  JobSettings,
  'maxConcurrentJobs' | 'timeoutSeconds' | 'heartbeatSeconds' | 'backoffSeconds'
>;

interface ThreadJob {
  readonly task: ForecastTask;
  readonly status: Mutable<JobStatus>;
}

/** The last durations that are kept. */
const DURATIONS = 100;

/** @param simulation runs in place of that of the shop. */
export function openThreadEngine(settings: ThreadSettings, simulation?: URL): JobEngine {
  return new ThreadEngine(settings, simulation);
}

/** Runs jobs in threads of this process. They die with it. */
class ThreadEngine implements JobEngine {
  readonly kind = 'threads';
  readonly #settings: ThreadSettings;
  readonly #maxThreads: number;
  readonly #simulation: URL | undefined;
  readonly #records = memoryRecords();
  readonly #stop = new AbortController();
  /** The oldest first. */
  readonly #jobs = new Map<string, ThreadJob>();
  readonly #ended: string[] = [];
  readonly #durations: number[] = [];
  readonly #delayed = new Set<NodeJS.Timeout>();
  #waiting: ThreadJob[] = [];
  #running = 0;
  #counts = { completed: 0, failed: 0 };
  /** Started by the first job. */
  #threads: Promise<Piscina> | undefined;

  constructor(settings: ThreadSettings, simulation: URL | undefined) {
    this.#settings = settings;
    // One core is left to the requests.
    this.#maxThreads = Math.min(settings.maxConcurrentJobs, Math.max(1, availableParallelism() - 1));
    this.#simulation = simulation;
  }

  async submit(task: ForecastTask, priority: Priority): Promise<JobStatus> {
    if (this.#stop.signal.aborted) throw new JobsUnavailable('The server shuts down.');
    if (this.#waiting.length + this.#delayed.size >= MAX_WAITING_JOBS)
      throw new JobsUnavailable('The queue is full.');
    const id = randomUUID();
    const status: Mutable<JobStatus> = {
      id,
      state: 'waiting',
      progress: 0,
      priority,
      input: task.input,
      failedAttempts: 0,
      createdAt: Date.now(),
      startedAt: null,
      finishedAt: null,
      failure: null,
    };
    const job = { task, status };
    this.#jobs.set(id, job);
    this.#enqueue(job);
    return { ...status };
  }

  async status(id: string): Promise<JobStatus | undefined> {
    const job = this.#jobs.get(id);
    if (!job) return undefined;
    const { progress } = await this.#records.read(id);
    return { ...job.status, progress: job.status.state === 'done' ? 100 : progress };
  }

  async result(id: string) {
    const { outcome } = await this.#records.read(id);
    return outcome?.kind === 'result' ? outcome.result : undefined;
  }

  async cancel(id: string): Promise<JobStatus | undefined> {
    const status = this.#jobs.get(id)?.status;
    if (status?.state === 'waiting' || status?.state === 'running') {
      const outcome = { kind: 'cancelled', status: { ...status }, at: Date.now() } as const;
      if ((await this.#records.settle(id, outcome)) === outcome) {
        status.state = 'cancelled';
        this.#end(status);
        this.#waiting = this.#waiting.filter((job) => job.status !== status);
      }
    }
    return this.status(id);
  }

  async figures(): Promise<JobFigures> {
    const { completed, failed } = this.#counts;
    return {
      queue: 'forecasts',
      waitingCount: this.#waiting.length,
      delayedCount: this.#delayed.size,
      runningCount: this.#running,
      completedCount: completed,
      failedCount: failed,
      durationSeconds: [...this.#durations],
      workers: [],
    };
  }

  async close(): Promise<void> {
    this.#stop.abort(new JobsUnavailable('The server shuts down.'));
    for (const timer of this.#delayed) clearTimeout(timer);
    this.#delayed.clear();
    this.#waiting = [];
    await (await this.#threads)?.destroy();
  }

  #enqueue(job: ThreadJob): void {
    this.#waiting.push(job);
    this.#startNext();
  }

  /** Starts as many jobs as there are threads: the most urgent, and of these the oldest. */
  #startNext(): void {
    while (this.#running < this.#maxThreads && this.#waiting.length > 0 && !this.#stop.signal.aborted) {
      const rank = (job: ThreadJob) => PRIORITIES.indexOf(job.status.priority);
      const next = this.#waiting.reduce((best, job) => (rank(job) < rank(best) ? job : best));
      this.#waiting.splice(this.#waiting.indexOf(next), 1);
      void this.#run(next);
    }
  }

  async #run({ task, status }: ThreadJob): Promise<void> {
    this.#running += 1;
    status.state = 'running';
    const startedAt = Date.now();
    status.startedAt ??= startedAt;
    try {
      this.#threads ??= startThreads(this.#maxThreads, { simulation: this.#simulation, niceIncrement: 10 });
      await runTask({
        id: status.id,
        task,
        records: this.#records,
        threads: await this.#threads,
        settings: this.#settings,
        by: String(process.pid),
        signal: this.#stop.signal,
      });
      status.state = 'done';
      this.#counts.completed += 1;
      this.#durations.unshift((Date.now() - startedAt) / 1_000);
      this.#durations.length = Math.min(this.#durations.length, DURATIONS);
      this.#end(status);
    } catch (error) {
      this.#fail({ task, status }, error);
    } finally {
      this.#running -= 1;
      this.#startNext();
    }
  }

  #fail(job: ThreadJob, error: unknown): void {
    const { status } = job;
    // Cancelled, or the process ends. A cancelled run may fail before it notices.
    if (error instanceof JobSettled || status.state === 'cancelled' || this.#stop.signal.aborted) return;
    status.failedAttempts += 1;
    if (error instanceof JobTimeout || status.failedAttempts >= ATTEMPTS) {
      status.state = 'failed';
      status.failure = error instanceof JobTimeout ? 'timeout' : 'error';
      this.#counts.failed += 1;
      this.#end(status);
      return;
    }
    status.state = 'waiting';
    const timer = setTimeout(
      () => {
        this.#delayed.delete(timer);
        if (status.state === 'waiting') this.#enqueue(job);
      },
      this.#settings.backoffSeconds * 1_000 * 2 ** (status.failedAttempts - 1),
    ).unref();
    this.#delayed.add(timer);
  }

  #end(status: Mutable<JobStatus>): void {
    status.finishedAt = Date.now();
    this.#ended.push(status.id);
    if (this.#ended.length <= MAX_ENDED_JOBS) return;
    const oldest = this.#ended.shift() as string;
    this.#jobs.delete(oldest);
    this.#records.forget(oldest);
  }
}
