import { MessageChannel } from 'node:worker_threads';
import type { Piscina } from 'piscina';
import type { ForecastResult, ForecastTask } from './forecast.js';
import type { JobSettings } from './settings.js';
import { type JobRecords, JobSettled, JobTimeout } from './types.js';

/** A run of a job. */
export interface TaskRun {
  readonly id: string;
  readonly task: ForecastTask;
  readonly records: JobRecords;
  readonly threads: Piscina;
  readonly settings: Pick<JobSettings, 'timeoutSeconds' | 'heartbeatSeconds'>;
  /** Named in the result. */
  readonly by: string;
  /** Ends the run; its reason is thrown. */
  readonly signal: AbortSignal;
}

/** Progress is written as often as a person can follow it. */
const PROGRESS_MS = 500;

/**
 * Runs a job in a thread, and stores its result.
 *
 * On the event loop, a simulation would keep the worker from renewing its lock, and a second worker would begin the
 * job too. A loop needs no checks of its own: piscina ends a thread whose signal is aborted.
 *
 * @returns the stored result: that of another run, if that was first.
 * @throws (rejects) JobTimeout, JobSettled if the job was cancelled, the reason of `signal`, or the error of the task.
 */
export async function runTask(run: TaskRun): Promise<ForecastResult> {
  const { id, task, records, threads, settings, by } = run;
  const stop = new AbortController();
  const signal = AbortSignal.any([run.signal, stop.signal]);
  const timeout = setTimeout(() => stop.abort(new JobTimeout()), settings.timeoutSeconds * 1_000);
  const { port1: own, port2: port } = new MessageChannel();
  let progress = 0;
  let written = 0;
  let writtenAt = Date.now();
  own.on('message', (percent: number) => {
    progress = percent;
  });
  const heartbeatMs = settings.heartbeatSeconds * 1_000;
  const beat = async () => {
    const isDue = Date.now() - writtenAt >= heartbeatMs;
    if (progress === written && !isDue) return;
    written = progress;
    writtenAt = Date.now();
    // A beat that fails is made up for by the next one.
    const isSettled = await records.raise(id, progress).catch(() => false);
    if (isSettled) stop.abort(new JobSettled());
  };
  const timer = setInterval(beat, Math.min(heartbeatMs, PROGRESS_MS));
  try {
    // A client may have cancelled while the job waited.
    if (await records.raise(id, 0)) throw new JobSettled();
    signal.throwIfAborted();
    const result: ForecastResult = await threads.run({ task, port }, { signal, transferList: [port] });
    const outcome = await records.settle(id, { kind: 'result', result, at: Date.now(), by });
    if (outcome.kind === 'result') return outcome.result;
    throw new JobSettled();
  } catch (error) {
    // piscina rejects with an error of its own.
    throw signal.aborted ? signal.reason : error;
  } finally {
    clearTimeout(timeout);
    clearInterval(timer);
    own.close();
  }
}
