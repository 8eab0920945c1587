import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { program } from '../helpers/program.js';
import type { CacheKind } from './app.js';
import type { Surroundings } from './app-config.js';
import type { Outcome } from './run.js';

/** A plan to run. */
export interface Job {
  readonly seed: number;
  readonly requests: number;
  readonly surroundings: Omit<Surroundings, 'prefix'>;
  /** Default: hotpath. */
  readonly kind?: CacheKind;
  /** Shortens the plan of a leak and describes it. */
  readonly describes?: boolean;
}

export interface Result {
  readonly outcome: Outcome;
  readonly description?: string;
}

/** Room for young objects: V8 would otherwise collect them many times per app. */
const FLAGS = ['--no-warnings', '--min-semi-space-size=16', '--max-semi-space-size=32'];

function start(): ChildProcess {
  const { file, execArgv } = program('test/leaks/program.ts');
  const stdio = ['ignore', 'inherit', 'pipe', 'ipc'] as const;
  return fork(file, { execArgv: [...execArgv, ...FLAGS], stdio: [...stdio] });
}

/** The end of what a process prints that is shown when it dies. Characters. */
const SHOWN = 4000;

/** A process that runs plans, one at a time: each app has its own clock, though most of its time is spent waiting. */
export class LeakProcess {
  #child = start();
  #printed = '';

  constructor() {
    this.#listen();
  }

  #listen(): void {
    this.#printed = '';
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#printed = (this.#printed + text).slice(-SHOWN);
    });
  }

  /** @throws when the process ends, as it does after an uncaught exception. The next run starts another. */
  async run(job: Job): Promise<Result> {
    if (!this.#child.connected) {
      this.#child = start();
      this.#listen();
    }
    const over = new AbortController();
    const { signal } = over;
    // After `close`, all of its last words have arrived.
    const ended = once(this.#child, 'close', { signal }).then(([code, killed]) => {
      throw new Error(
        `the process that runs seed ${job.seed} has ended with ${code ?? killed}:\n${this.#printed}`,
      );
    });
    const answered = once(this.#child, 'message', { signal });
    try {
      this.#child.send(job);
      const [result] = await Promise.race([answered, ended]);
      if (result.error !== undefined) throw new Error(`seed ${job.seed}: ${result.error}`);
      return result;
    } finally {
      ended.catch(() => {});
      answered.catch(() => {});
      over.abort();
    }
  }

  close(): void {
    this.#child.kill();
  }
}
