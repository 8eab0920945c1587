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

/** A process that runs plans, one at a time: each app has its own clock, though most of its time is spent waiting. */
export class LeakProcess {
  readonly #child: ChildProcess;

  constructor() {
    const { file, execArgv } = program('test/leaks/program.ts');
    this.#child = fork(file, { execArgv: [...execArgv, '--no-warnings'] });
  }

  /** @throws when the process ends, as it does after an uncaught exception. */
  async run(job: Job): Promise<Result> {
    const over = new AbortController();
    const { signal } = over;
    const ended = once(this.#child, 'exit', { signal }).then(([code]) => {
      throw new Error(`the process that runs seed ${job.seed} has ended with ${code}`);
    });
    const answered = once(this.#child, 'message', { signal });
    try {
      this.#child.send(job);
      const [result] = await Promise.race([answered, ended]);
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
