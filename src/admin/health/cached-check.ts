import { performance } from 'node:perf_hooks';
import { escapeForLog } from '../../middleware/request-log/line.js';
import { guarded, unawaited } from '../../runtime/guard.js';
import { maskUrlCredentials } from '../../runtime/mask-url-credentials.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import { messageOf } from '../../runtime/report-fault.js';
import type { CheckResult, CheckSettings } from './options.js';
import type { CheckReport } from './report.js';

/** A check that never settled is called again after this time. Milliseconds. */
const GIVE_UP = 60_000;

const LONGEST_REASON = 300;

/**
 * Runs one check: at most once at a time, within its time-out, and no more often than its result holds. It never
 * rejects.
 */
export class CachedCheck {
  readonly #settings: CheckSettings;
  #last: CheckReport | undefined;
  /** When `#last` came, on the clock of `performance`. */
  #lastAt = Number.NEGATIVE_INFINITY;
  #running: Promise<CheckReport> | undefined;
  /** When the call that has not settled began; it may be over its time-out. */
  #calledAt: number | undefined;

  constructor(settings: CheckSettings) {
    this.#settings = settings;
  }

  /** The result that still holds, or a promise of the next one, which all callers share. */
  read(): CheckReport | Promise<CheckReport> {
    const age = performance.now() - this.#lastAt;
    if (this.#last && age < this.#settings.cacheMs) return this.#last;
    return (this.#running ??= this.#run());
  }

  async #run(): Promise<CheckReport> {
    const startedAt = performance.now();
    const result = await this.#call(startedAt);
    const report = this.#judge(result, startedAt);
    this.#last = report;
    this.#lastAt = performance.now();
    this.#running = undefined;
    return report;
  }

  #call(startedAt: number): Promise<CheckResult> {
    const before = this.#calledAt;
    // Another call would wait for the same thing, and take one more connection with it.
    if (before !== undefined && startedAt - before < GIVE_UP) {
      return Promise.resolve(failed(`has not ended for ${((startedAt - before) / 1000).toFixed(1)} s`));
    }
    this.#calledAt = startedAt;
    return new Promise((resolve) => {
      const abort = new AbortController();
      const miss = guarded('health check', () => {
        resolve(failed(`did not end within ${this.#settings.timeoutMs / 1000} s`));
        abort.abort();
      });
      // If the event loop was blocked, the reply may have arrived already: it is read before `miss` runs.
      const timer = setTimeout(
        guarded('health check', () => setImmediate(miss)),
        this.#settings.timeoutMs,
      ).unref();
      const settled = (result: CheckResult) => {
        clearTimeout(timer);
        if (this.#calledAt === startedAt) this.#calledAt = undefined;
        resolve(result);
      };
      const called = callCheck(this.#settings.check, abort.signal).then(settled, (error: unknown) =>
        settled(failed(messageOf(error))),
      );
      void unawaited(called, 'health check');
    });
  }

  #judge({ status, reason }: CheckResult, startedAt: number): CheckReport {
    const { critical } = this.#settings;
    const report = {
      status: status === 'fail' && !critical ? ('warn' as const) : status,
      critical,
      seconds: Math.round(performance.now() - startedAt) / 1000,
      at: Date.now(),
    };
    return reason === undefined ? report : { ...report, reason: plainReason(reason) };
  }
}

/** It runs in the context of the module: its result is for all clients. */
function callCheck(check: CheckSettings['check'], signal: AbortSignal): Promise<CheckResult> {
  return runInOwnContext(async () => readResult(await check({ signal })));
}

function readResult(value: unknown): CheckResult {
  if (value === false) return failed('returned false');
  if (value instanceof Error) return failed(messageOf(value));
  const { status, reason, ok } = (value ?? {}) as Partial<CheckResult> & { ok?: unknown };
  if (ok === false) return failed(`returned a response with status ${String(status)}`);
  if (status !== 'warn' && status !== 'fail') return { status: 'pass' };
  return typeof reason === 'string' ? { status, reason } : { status, reason: `returned ${status}` };
}

function failed(reason: string): CheckResult {
  return { status: 'fail', reason };
}

/** One line without credentials. The cut comes last, so that it leaves no half of a URL. */
function plainReason(reason: string): string {
  const line = reason.slice(0, 10 * LONGEST_REASON).replace(/\s+/g, ' ');
  return escapeForLog(maskUrlCredentials(line), LONGEST_REASON);
}
