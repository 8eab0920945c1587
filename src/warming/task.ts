import { performance } from 'node:perf_hooks';
import { warmingEvents } from '../events/channels.js';
import { guarded, unawaited } from '../runtime/guard.js';
import { maskUrlCredentials } from '../runtime/mask-url-credentials.js';
import { messageOf } from '../runtime/report-fault.js';
import { sleep } from '../runtime/sleep.js';
import { warn } from '../runtime/warn.js';
import { UrlsFailedError } from './failures.js';
import type { WarmingContext, WarmingTaskSettings } from './options.js';
import { pauseWhileLate } from './timers.js';
import type { Turn, Turns } from './turns.js';

/** Share of `every` by which the time between two runs varies, so that instances do not all run at once. */
export const JITTER = 0.1;

/** A run of another instance within this share of `every` takes the place of a periodic run. */
const RECENT = 0.8;

/** First pause before a retry; it doubles. Milliseconds. */
const FIRST_BACKOFF_MS = 500;

const LONGEST_ERROR = 500;

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to keep out.
const UNPRINTABLE = /[\s\u0000-\u001f\u007f-\u009f]+/g;

/** The reason of the signal when warming stops. */
const STOPPED = new Error('warming was stopped');

/** The result of one run. */
export interface WarmingResult {
  readonly name: string;
  /** `skipped`: another instance ran the task lately. `stopped`: warming was stopped before the run had ended. */
  readonly state: 'succeeded' | 'failed' | 'skipped' | 'stopped';
  /** Why it has failed. */
  readonly error?: string | undefined;
  readonly seconds: number;
}

/** Figures of one task in this process. Times in milliseconds since 1970. */
export interface WarmingTaskFigures {
  readonly name: string;
  readonly critical: boolean;
  /** Runs that have begun. */
  readonly execution_count: number;
  readonly success_count: number;
  readonly failure_count: number;
  /** When the last run began; `null` before the first. */
  readonly last_run: number | null;
  /** When the last successful run ended. */
  readonly last_success: number | null;
  /** When another instance last ran it, as far as this one knows. */
  readonly last_run_elsewhere: number | null;
  /** Why the last run has failed; `null` if it has not. */
  readonly last_error: string | null;
  /** How long the last run took. */
  readonly last_duration_seconds: number | null;
  readonly running: boolean;
}

/** The work of a task in one run. */
export interface TaskWork {
  /** @param attempt 0, and more for each retry. */
  attempt(context: WarmingContext, attempt: number): unknown;
  /** URLs that were requested so far. */
  readonly requested: number;
}

/** The dependencies of a task. */
export interface TaskParts {
  readonly turns: Turns;
  /** Identifies the task among all instances. */
  readonly id: () => string;
  /** Makes the work of one run. */
  readonly begin: () => TaskWork;
}

/** How a run is made. */
export interface RunRequest {
  /** Whether a recent run of another instance makes this one needless. */
  readonly maySkip: boolean;
  /** Whether a caller waits, so that the run keeps the process alive. */
  readonly holds: boolean;
}

/** A registered task: runs it at most once at a time, within its time limit, and counts. */
export class WarmingTask {
  readonly settings: WarmingTaskSettings;
  readonly #parts: TaskParts;
  readonly #counts = { executions: 0, successes: 0, failures: 0 };
  #lastRun: number | undefined;
  #lastSuccess: number | undefined;
  #lastElsewhere: number | undefined;
  #lastError: string | undefined;
  #lastSeconds: number | undefined;
  #isRunning = false;
  #current: Promise<WarmingResult> | undefined;
  #abort: AbortController | undefined;
  /** The call of the task's function that has not settled, although its run may be over. Never rejects. */
  #unsettled: Promise<void> | undefined;

  constructor(settings: WarmingTaskSettings, parts: TaskParts) {
    this.settings = settings;
    this.#parts = parts;
  }

  get name(): string {
    return this.settings.name;
  }

  /** Runs the task, or joins the run in progress. Never rejects. */
  run(request: RunRequest): Promise<WarmingResult> {
    this.#current ??= this.#run(request).finally(() => {
      this.#current = undefined;
    });
    return request.holds ? keepAlive(this.#current) : this.#current;
  }

  /** Aborts the run in progress. @returns when it has ended, and the task's function too. */
  async stop(): Promise<void> {
    this.#abort?.abort(STOPPED);
    await this.#current;
    await this.#unsettled;
  }

  /** How long entries must stay fresh: until the next run has come to them. Milliseconds. */
  get horizonMs(): number {
    const { every } = this.settings;
    return every === false ? 0 : (every * (1 + JITTER) + (this.#lastSeconds ?? 0)) * 1000;
  }

  figures(): WarmingTaskFigures {
    return {
      name: this.name,
      critical: this.settings.critical,
      execution_count: this.#counts.executions,
      success_count: this.#counts.successes,
      failure_count: this.#counts.failures,
      last_run: this.#lastRun ?? null,
      last_success: this.#lastSuccess ?? null,
      last_run_elsewhere: this.#lastElsewhere ?? null,
      last_error: this.#lastError ?? null,
      last_duration_seconds: this.#lastSeconds ?? null,
      running: this.#isRunning,
    };
  }

  async #run({ maySkip }: RunRequest): Promise<WarmingResult> {
    const { name, every, timeout } = this.settings;
    const abort = new AbortController();
    this.#abort = abort;
    const { signal } = abort;
    const recentMs = maySkip && every !== false ? every * RECENT * 1000 : 0;
    const { turns, id } = this.#parts;
    const turn = await turns.take(id(), { recentMs, waitMs: timeout * 1000, signal });
    if (!turn) return { name, state: 'stopped', seconds: 0 };
    if (!('ranAgoMs' in turn)) return await this.#runNow(turn, abort);
    this.#lastElsewhere = Date.now() - turn.ranAgoMs;
    return { name, state: 'skipped', seconds: 0 };
  }

  async #runNow(turn: Turn, abort: AbortController): Promise<WarmingResult> {
    const { name, every, timeout } = this.settings;
    const startedAt = performance.now();
    const late = guarded('warming', () => abort.abort(new Error(`did not end within ${timeout} s`)));
    const timer = setTimeout(late, timeout * 1000).unref();
    this.#counts.executions++;
    this.#lastRun = Date.now();
    this.#isRunning = true;
    const work = this.#parts.begin();
    this.#publish('started', work, startedAt);
    const failure = await this.#attempt(work, abort.signal);
    clearTimeout(timer);
    const seconds = (this.#lastSeconds = (performance.now() - startedAt) / 1000);
    this.#isRunning = false;
    const isStopped = abort.signal.reason === STOPPED;
    if (failure === undefined) this.#succeeded();
    else if (!isStopped) this.#failed(failure);
    this.#publish(failure === undefined ? 'finished' : 'failed', work, startedAt, failure);
    await turn.end(failure === undefined && every !== false ? every * 1000 : 0);
    if (failure === undefined) return { name, state: 'succeeded', seconds };
    return { name, state: isStopped ? 'stopped' : 'failed', error: failure, seconds };
  }

  /** @returns why it has failed. */
  async #attempt(work: TaskWork, signal: AbortSignal): Promise<string | undefined> {
    for (let attempt = 0; ; attempt++) {
      // Another call would run beside it.
      if (this.#unsettled) return 'its last call has not ended; let it end when `signal` aborts';
      try {
        await this.#call(work, signal, attempt);
        return undefined;
      } catch (error) {
        const isFinal = attempt >= this.settings.retries || signal.aborted;
        const isHopeless = error instanceof UrlsFailedError && !error.isRetryable;
        if (isFinal || isHopeless) return plainError(error);
        await sleep(FIRST_BACKOFF_MS * 2 ** attempt * (0.5 + Math.random()), signal);
      }
    }
  }

  /** Ends shortly after the signal has aborted, even if the work does not. */
  async #call(work: TaskWork, signal: AbortSignal, attempt: number): Promise<void> {
    signal.throwIfAborted();
    const isOver = new AbortController();
    const context = { signal, pause: () => pauseWhileLate(signal) };
    // In a later microtask, because work that throws at once is over before it is noted.
    const called = Promise.resolve()
      .then(() => work.attempt(context, attempt))
      .finally(() => {
        this.#unsettled = undefined;
        isOver.abort();
      });
    this.#unsettled = unawaited(called);
    await Promise.race([called, rejectAfterAbort(signal, isOver.signal)]);
  }

  #succeeded(): void {
    this.#counts.successes++;
    this.#lastSuccess = Date.now();
    this.#lastError = undefined;
  }

  #failed(failure: string): void {
    const isNew = this.#lastError !== failure;
    this.#counts.failures++;
    this.#lastError = failure;
    if (!this.settings.critical || !isNew) return;
    warn('HOTPATH_WARMING_FAILED', `the critical warming task "${this.name}" has failed: ${failure}`);
  }

  #publish(
    state: 'started' | 'finished' | 'failed',
    { requested }: TaskWork,
    startedAt: number,
    error?: string,
  ): void {
    if (!warmingEvents.hasSubscribers) return;
    const seconds = (performance.now() - startedAt) / 1000;
    warmingEvents.publish({ task: this.name, state, requested, seconds, error });
  }
}

/** How long work may take to end by itself, and say how far it came, after its signal has aborted. Milliseconds. */
const GRACE_MS = 100;

/** @throws (rejects) the reason of the signal, unless the work is over soon after it has aborted. */
function rejectAfterAbort(signal: AbortSignal, isOver: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const giveUp = () => {
      if (!isOver.aborted) reject(signal.reason);
    };
    const onAbort = guarded('warming', () => unawaited(sleep(GRACE_MS, isOver).then(giveUp)));
    const forget = guarded('warming', () => signal.removeEventListener('abort', onAbort));
    signal.addEventListener('abort', onAbort, { once: true });
    isOver.addEventListener('abort', forget, { once: true });
  });
}

/** Between two ticks of a timer that does nothing. Milliseconds. */
const TICK_MS = 60_000;

/** Keeps the process alive until a promise settles: neither a reply from Redis nor a time limit does. */
async function keepAlive<T>(promise: Promise<T>): Promise<T> {
  const timer = setInterval(
    guarded('warming', () => {}),
    TICK_MS,
  );
  try {
    return await promise;
  } finally {
    clearInterval(timer);
  }
}

/** One line of limited length, without credentials, which clients of databases put into their messages. */
function plainError(error: unknown): string {
  const line = messageOf(error)
    .slice(0, 10 * LONGEST_ERROR)
    .replace(UNPRINTABLE, ' ')
    .trim();
  const text = maskUrlCredentials(line);
  return text.length > LONGEST_ERROR
    ? `${text.slice(0, LONGEST_ERROR)}…`
    : text || 'an error without a message';
}
