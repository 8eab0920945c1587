import { HotpathError } from '../options/errors.js';
import { guarded, unawaited } from '../runtime/guard.js';
import { Load } from './load.js';
import type { Runner } from './runner.js';
import { currentScope, type Run, runInScope } from './scope.js';

/** A function that loads many values at once: in the order of the ids, or by id. */
export type LoadMany = (ids: readonly unknown[]) => unknown;

/** An id that waits for its batch. */
interface BatchMember {
  readonly id: unknown;
  readonly run: Run | undefined;
  readonly load: Load | undefined;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** Collects the ids that are missing, and loads them by one run of the function. */
export class Batcher {
  readonly #fn: LoadMany;
  readonly #runner: Runner;
  #members: BatchMember[] = [];

  constructor(fn: LoadMany, runner: Runner) {
    this.#fn = fn;
    this.#runner = runner;
  }

  /** Loads the value of one id, with those that are missing in the same turn of the event loop. */
  load(id: unknown): Promise<unknown> {
    const { run, load } = currentScope() ?? {};
    return new Promise((resolve, reject) => {
      this.#members.push({ id, run, load, resolve, reject });
      // After the replies of Redis that have arrived together.
      if (this.#members.length === 1) setImmediate(guarded('function', () => this.#flush()));
    });
  }

  #flush(): void {
    const members = this.#members;
    this.#members = [];
    void unawaited(this.#runBatch(members), this.#runner.place);
  }

  async #runBatch(members: readonly BatchMember[]): Promise<void> {
    const { counts, parts } = this.#runner;
    const { clock, log } = parts;
    const run = this.#runner.createRun();
    const startedAt = clock();
    // Stands for all members, so that a call of the function by itself is noticed.
    const load = new Load({ key: '', stamp: log.position, startedAt, tags: undefined, replaces: undefined });
    for (const member of members) member.load?.waitsFor.add(load);
    let hasFailed = false;
    const countFailure = () => {
      if (!hasFailed) counts.errors++;
      hasFailed = true;
    };
    if (this.#runner.settings.timeout !== undefined) abortWith(run, members, countFailure);
    counts.runs++;
    try {
      const ids = members.map(({ id }) => id);
      const loaded = await runInScope({ used: run.used, run, load }, () => this.#fn(ids));
      const values = this.#valuesOf(ids, loaded);
      for (const [at, member] of members.entries()) {
        inherit(run, member.run);
        member.resolve(values[at]);
      }
    } catch (error) {
      countFailure();
      for (const member of members) member.reject(error);
    } finally {
      run.end();
      counts.runSeconds += (clock() - startedAt) / 1000;
      for (const member of members) member.load?.waitsFor.delete(load);
    }
  }

  #valuesOf(ids: readonly unknown[], loaded: unknown): readonly unknown[] {
    if (loaded instanceof Map) return ids.map((id) => loaded.get(id));
    if (Array.isArray(loaded) && loaded.length === ids.length) return loaded;
    throw new HotpathError(
      'HOTPATH_RESULT_INVALID',
      `${this.#runner.place}: expected a Map by id, or an array of ${ids.length} values in the order of the ids`,
    );
  }
}

/** The hints of a batch are those of each of its results. */
function inherit(run: Run, member: Run | undefined): void {
  if (!member) return;
  member.used.add(run.used, run.used.refusal);
  member.ttlSeconds = run.ttlSeconds;
  member.isSkipped = run.isSkipped;
}

/** The members reach their timeouts together. */
function abortWith(run: Run, [first]: readonly BatchMember[], onAbort: () => void): void {
  const signal = first?.run?.signal;
  signal?.addEventListener(
    'abort',
    guarded('function', () => {
      onAbort();
      run.abort(signal.reason);
    }),
    { once: true },
  );
}
