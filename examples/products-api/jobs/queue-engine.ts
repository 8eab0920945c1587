import { randomUUID } from 'node:crypto';
import type { Job, Queue } from 'bullmq';
import type { ForecastTask } from './forecast.js';
import { openQueueStore, QUEUE, type QueueStore } from './queue-store.js';
import type { JobSettings } from './settings.js';
import {
  ATTEMPTS,
  type JobEngine,
  type JobState,
  type JobStatus,
  JobsUnavailable,
  KEEP_MS,
  MAX_ENDED_JOBS,
  MAX_WAITING_JOBS,
  type Priority,
} from './types.js';

/** The data of a job. */
export interface QueuedForecast {
  readonly task: ForecastTask;
  readonly priority: Priority;
}

/** For bullmq, a smaller number is more urgent. 0 would be the same as none. */
const RANKS: Readonly<Record<Priority, number>> = { high: 1, normal: 10, low: 100 };

/** Longer than any server that is well needs. */
const PATIENCE_MS = 5_000;

const STATES: Readonly<Record<string, JobState>> = {
  active: 'running',
  completed: 'done',
  failed: 'failed',
};

/** Jobs on Redis or PostgreSQL, which processes of their own run: see worker.ts. */
export async function openQueueEngine(settings: JobSettings): Promise<JobEngine> {
  const store = await openQueueStore(settings, 'server');
  const { Queue } = await import('bullmq');
  const keep = { age: KEEP_MS / 1_000, count: MAX_ENDED_JOBS };
  const defaultJobOptions = {
    attempts: ATTEMPTS,
    backoff: { type: 'exponential', delay: settings.backoffSeconds * 1_000 },
    removeOnComplete: keep,
    removeOnFail: keep,
  };
  const queue = new Queue<QueuedForecast>(QUEUE, { ...store.options, defaultJobOptions }, store.backend);
  queue.on('error', () => {});
  return new QueueEngine(queue, store, settings);
}

class QueueEngine implements JobEngine {
  readonly #queue: Queue<QueuedForecast>;
  readonly #store: QueueStore;
  readonly #settings: JobSettings;
  #closing: Promise<void> | undefined;

  constructor(queue: Queue<QueuedForecast>, store: QueueStore, settings: JobSettings) {
    this.#queue = queue;
    this.#store = store;
    this.#settings = settings;
  }

  get kind() {
    return this.#store.kind;
  }

  submit(task: ForecastTask, priority: Priority): Promise<JobStatus> {
    return reached(async () => {
      const counts = await this.#queue.getJobCounts('waiting', 'prioritized', 'delayed');
      if (sum(Object.values(counts)) >= MAX_WAITING_JOBS) throw new JobsUnavailable('The queue is full.');
      const jobId = randomUUID();
      const job = await this.#queue.add('forecast', { task, priority }, { jobId, priority: RANKS[priority] });
      return statusOf(job, 'waiting', 0);
    });
  }

  status(id: string): Promise<JobStatus | undefined> {
    return reached(() => this.#status(id));
  }

  async #status(id: string): Promise<JobStatus | undefined> {
    const [job, { progress, outcome }] = await Promise.all([
      this.#queue.getJob(id),
      this.#store.records.read(id),
    ]);
    if (outcome?.kind === 'cancelled') return outcome.status;
    if (!job) return undefined;
    if (outcome) return { ...statusOf(job, 'done', 100), finishedAt: outcome.at };
    return statusOf(job, STATES[await job.getState()] ?? 'waiting', progress);
  }

  result(id: string) {
    return reached(async () => {
      const { outcome } = await this.#store.records.read(id);
      return outcome?.kind === 'result' ? outcome.result : undefined;
    });
  }

  cancel(id: string): Promise<JobStatus | undefined> {
    return reached(async () => {
      const status = await this.#status(id);
      if (status?.state !== 'waiting' && status?.state !== 'running') return status;
      const at = Date.now();
      const cancelled: JobStatus = { ...status, state: 'cancelled', finishedAt: at };
      // This is the flag that a worker reads at its next heartbeat. A result that came first remains.
      await this.#store.records.settle(id, { kind: 'cancelled', status: cancelled, at });
      const current = await this.#status(id);
      // A job that a worker has locked cannot be removed: the worker ends it.
      if (current?.state === 'cancelled') await this.#queue.remove(id).catch(() => 0);
      return current;
    });
  }

  figures() {
    return reached(async () => {
      const [counts, last, workers] = await Promise.all([
        this.#queue.getJobCounts('waiting', 'prioritized', 'delayed', 'active', 'completed', 'failed'),
        this.#queue.getJobs(['completed'], 0, 99),
        this.#store.records.workers(3_000 * this.#settings.heartbeatSeconds),
      ]);
      const { waiting = 0, prioritized = 0, delayed = 0, active = 0, completed = 0, failed = 0 } = counts;
      return {
        queue: QUEUE,
        waitingCount: waiting + prioritized,
        delayedCount: delayed,
        runningCount: active,
        completedCount: completed,
        failedCount: failed,
        // The clock of a worker may have been set back meanwhile.
        durationSeconds: last.flatMap(({ processedOn, finishedOn }) =>
          processedOn && finishedOn ? [Math.max(0, finishedOn - processedOn) / 1_000] : [],
        ),
        workers,
      };
    });
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      await this.#queue.close().catch(() => {});
      await this.#store.close();
    })();
    return this.#closing;
  }
}

function statusOf(job: Job<QueuedForecast>, state: JobState, progress: number): JobStatus {
  const { id, data, attemptsMade, timestamp, processedOn, finishedOn, failedReason } = job;
  return {
    id: id as string,
    state,
    progress: state === 'done' ? 100 : progress,
    priority: data.priority,
    input: data.task.input,
    // bullmq counts the run that succeeded too.
    failedAttempts: state === 'done' && finishedOn ? attemptsMade - 1 : attemptsMade,
    createdAt: timestamp,
    startedAt: processedOn ?? null,
    finishedAt: finishedOn ?? null,
    failure: state === 'failed' ? failureOf(failedReason) : null,
  };
}

/** bullmq keeps the message of an error; one of its own says that a job has lost too many workers. */
function failureOf(reason: string | undefined): JobStatus['failure'] {
  if (reason === 'timeout') return 'timeout';
  return reason?.includes('stalled') ? 'lost' : 'error';
}

/** A server that cannot be reached in time becomes an error that clients may see. */
async function reached<T>(task: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new JobsUnavailable('The queue does not respond.')), PATIENCE_MS);
  });
  try {
    return await Promise.race([task(), late]);
  } catch (error) {
    if (error instanceof JobsUnavailable) throw error;
    throw new JobsUnavailable('The queue cannot be reached.', { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, each) => all + each, 0);
}
