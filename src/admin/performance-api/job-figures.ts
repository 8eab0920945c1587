import * as v from 'valibot';
import { guarded } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import { reportFault } from '../../runtime/report-fault.js';

/** A process that runs jobs. */
export interface JobWorkerFigures {
  readonly id: string;
  readonly host: string;
  readonly pid: number;
  /** Jobs that it runs at the moment. */
  readonly runningCount: number;
  /** Jobs that it runs at the most. */
  readonly maxCount: number;
  /** Cores in use since the heartbeat before; `null`: unknown. */
  readonly cpuCores: number | null;
  /** Resident memory; `null`: unknown. */
  readonly memoryBytes: number | null;
  /** Its last heartbeat. Milliseconds since 1970. */
  readonly beatAt: number;
}

/** The figures of a queue of background jobs. */
export interface JobFigures {
  /** The name of the queue. */
  readonly queue: string;
  readonly waitingCount: number;
  /** Jobs that wait for their next attempt, or for a time. */
  readonly delayedCount: number;
  readonly runningCount: number;
  /** Of the jobs that are kept. */
  readonly completedCount: number;
  readonly failedCount: number;
  /** Of the last completed jobs, in any order. */
  readonly durationSeconds: readonly number[];
  /** Processes that run jobs; none where the app runs them itself. */
  readonly workers: readonly JobWorkerFigures[];
}

/** Reads the figures of the app's queue: `jobs` of `performanceApi`. */
export type ReadJobFigures = () => JobFigures | Promise<JobFigures>;

/** The figures as `/jobs` shows them. */
export interface ShownJobFigures extends Omit<JobFigures, 'durationSeconds'> {
  /** Workers of which 100 are shown. */
  readonly workerCount: number;
  /** `null`: no job has completed. Seconds. */
  readonly durations: {
    readonly count: number;
    readonly mean: number;
    readonly p50: number;
    readonly p95: number;
    readonly max: number;
  } | null;
}

/** A queue that does not respond within this time is shown as unavailable. Milliseconds. */
const PATIENCE_MS = 2_000;
const MOST_WORKERS = 100;
const MOST_DURATIONS = 1_000;
const MOST_CHARACTERS = 200;

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const measure = v.pipe(v.number(), v.finite(), v.minValue(0));
const text = v.pipe(
  v.string(),
  v.transform((value) => value.slice(0, MOST_CHARACTERS)),
);

/** Without a look at the items, of which there may be millions. */
const array = v.custom<readonly unknown[]>(Array.isArray);

const figuresSchema = v.object({
  queue: text,
  waitingCount: count,
  delayedCount: count,
  runningCount: count,
  completedCount: count,
  failedCount: count,
  durationSeconds: array,
  workers: array,
});

const durationsSchema = v.array(measure);

const workersSchema = v.array(
  v.object({
    id: text,
    host: text,
    pid: count,
    runningCount: count,
    maxCount: count,
    cpuCores: v.nullable(measure),
    memoryBytes: v.nullable(measure),
    beatAt: measure,
  }),
);

/** Calls the app's function for the performance API: one call at a time, with a limit, and never with an exception. */
export class JobFigureReader {
  readonly #read: ReadJobFigures;
  /** A call that has not ended, so that a queue that hangs gets no further ones. */
  #pending: Promise<ShownJobFigures | undefined> | undefined;

  constructor(read: ReadJobFigures) {
    this.#read = read;
  }

  /** @returns `undefined` if the function fails, takes too long, or returns anything else. Never rejects. */
  async read(): Promise<ShownJobFigures | undefined> {
    // Several clients share a call, so it is in the context of none.
    this.#pending ??= runInOwnContext(() => this.#call());
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      const giveUp = guarded('jobs of the performance API', () => resolve(undefined));
      timer = setTimeout(giveUp, PATIENCE_MS).unref();
    });
    try {
      return await Promise.race([this.#pending, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #call(): Promise<ShownJobFigures | undefined> {
    try {
      // Later, so that a function that throws at once finds its call pending.
      await Promise.resolve();
      return readFigures(await this.#read());
    } catch (error) {
      reportFault('jobs of the performance API', error);
      return undefined;
    } finally {
      this.#pending = undefined;
    }
  }
}

/** Only as many items are looked at as are shown. @throws TypeError that names the wrong figure. */
function readFigures(given: unknown): ShownJobFigures {
  const { durationSeconds, workers, ...counts } = parse(figuresSchema, given, '');
  const durations = parse(durationsSchema, durationSeconds.slice(0, MOST_DURATIONS), 'durationSeconds.');
  return {
    ...counts,
    durations: summarize(durations),
    workers: parse(workersSchema, workers.slice(0, MOST_WORKERS), 'workers.'),
    workerCount: workers.length,
  };
}

function parse<Schema extends v.GenericSchema>(schema: Schema, value: unknown, path: string) {
  const { success, issues, output } = v.safeParse(schema, value);
  if (success) return output;
  const name = `${path}${v.getDotPath(issues[0]) ?? ''}`;
  throw new TypeError(
    `the figures of \`jobs\` have a wrong or missing ${name === '' ? 'value' : `"${name}"`}`,
  );
}

function summarize(durations: readonly number[]): ShownJobFigures['durations'] {
  if (durations.length === 0) return null;
  const sorted = durations.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] as number;
  const sum = sorted.reduce((all, each) => all + each, 0);
  return { count: sorted.length, mean: sum / sorted.length, p50: at(0.5), p95: at(0.95), max: at(1) };
}
