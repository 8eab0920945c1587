import type { JobFigures, JobWorkerFigures } from 'hotpath/admin';
import type { ForecastResult, ForecastTask } from './forecast.js';

/** Priorities, the most urgent first. */
export const PRIORITIES = ['high', 'normal', 'low'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** `cancelled` and `done` are final; so is `failed`, because retries come before it. */
export type JobState = 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';

/** A job as clients see it. Times are milliseconds since 1970. */
export interface JobStatus {
  readonly id: string;
  readonly state: JobState;
  /** Percent. It never decreases, although a job that another worker takes over begins again. */
  readonly progress: number;
  readonly priority: Priority;
  readonly input: ForecastTask['input'];
  /** Runs that ended with an error. */
  readonly failedAttempts: number;
  readonly createdAt: number;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
  /** Why the job failed, without details of the program. */
  readonly failure: 'timeout' | 'error' | 'lost' | null;
}

/** The end of a job. A job has one: the first that is stored. */
export type Outcome =
  | { readonly kind: 'result'; readonly result: ForecastResult; readonly at: number; readonly by: string }
  | { readonly kind: 'cancelled'; readonly status: JobStatus; readonly at: number };

/** Facts about jobs that outlive workers and that all processes share. */
export interface JobRecords {
  /** Raises the progress of a job; a lower one changes nothing. @returns whether the job has its outcome. */
  raise(id: string, progress: number): Promise<boolean>;
  /** Stores the outcome, unless there is one. @returns the stored one. */
  settle(id: string, outcome: Outcome): Promise<Outcome>;
  read(id: string): Promise<{ readonly progress: number; readonly outcome: Outcome | undefined }>;
  /** Announces a worker. */
  beat(worker: JobWorkerFigures): Promise<void>;
  leave(workerId: string): Promise<void>;
  /** Workers whose last heartbeat is not older than `milliseconds`. */
  workers(milliseconds: number): Promise<JobWorkerFigures[]>;
  /** Forgets jobs and workers that have not changed for this time. */
  sweep(milliseconds: number): Promise<void>;
}

/** A queue of jobs, whatever runs it. */
export interface JobEngine {
  /** `threads`: in this process, whose end is also that of its jobs. */
  readonly kind: 'redis' | 'postgres' | 'threads';
  /** @throws (rejects) JobsUnavailable if the queue is full, or cannot be reached. */
  submit(task: ForecastTask, priority: Priority): Promise<JobStatus>;
  /** @returns `undefined` for a job that does not exist, or no longer. */
  status(id: string): Promise<JobStatus | undefined>;
  result(id: string): Promise<ForecastResult | undefined>;
  /** Cancels a job, unless it has ended. @returns its status after that. */
  cancel(id: string): Promise<JobStatus | undefined>;
  figures(): Promise<JobFigures>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** The queue takes no job at the moment. */
export class JobsUnavailable extends Error {
  override readonly name = 'JobsUnavailable';
}

/** The time-out of a job, which no retry would keep either. */
export class JobTimeout extends Error {
  override readonly name = 'JobTimeout';
}

/** Another worker, or a client that cancelled, was first: this run is of no use. */
export class JobSettled extends Error {
  override readonly name = 'JobSettled';
}

/** The worker shuts down: another may run the job. */
export class JobReturned extends Error {
  override readonly name = 'JobReturned';
}

/** Jobs that may wait. */
export const MAX_WAITING_JOBS = 1_000;

/** Runs of a job that fails. */
export const ATTEMPTS = 3;

/** Ended jobs are kept for this time. */
export const KEEP_MS = 24 * 3_600_000;

/** Ended jobs that are kept at the most. */
export const MAX_ENDED_JOBS = 1_000;
