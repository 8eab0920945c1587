import { isVoided } from '../cache/revalidate/refresh-outcome.js';
import type { WarmRequests, WarmResult, WarmTarget } from '../cache/revalidate/warm-requests.js';
import { messageOf } from '../runtime/report-fault.js';
import { isRefused, judgeWarmed, MOST_NAMED, type UrlFailure, UrlsFailedError } from './failures.js';
import type { WarmingContext } from './options.js';
import { runLimited } from './run-limited.js';
import { formatTarget } from './targets.js';
import type { TaskWork } from './task.js';

/**
 * Requests for a URL in one attempt, while purges come during each of them. A purge is no fault of the URL, so it uses up
 * no retry. The limit spares the app if purges come faster than its handler responds.
 */
const MOST_FILLS = 3;

/** How the URLs of a run are warmed. */
export interface UrlWorkSetup {
  readonly requests: WarmRequests;
  readonly concurrency: number;
  /** How long entries must stay fresh. Milliseconds. */
  readonly freshForMs: number;
  /** The targets of the run. */
  readonly list: (context: WarmingContext) => readonly WarmTarget[] | Promise<readonly WarmTarget[]>;
  /** Whether the app has named the URLs; others may have changed since they were remembered. */
  readonly isNamed: boolean;
}

/** Warms a list of URLs. A retry requests only those that have failed, and may succeed. */
export class UrlWork implements TaskWork {
  requested = 0;
  readonly #setup: UrlWorkSetup;
  #remaining: readonly WarmTarget[] | undefined;
  #all = 0;
  /** Failures that no retry would change. */
  #hopeless = 0;
  readonly #hopelessReasons: string[] = [];

  constructor(setup: UrlWorkSetup) {
    this.#setup = setup;
  }

  /** @throws UrlsFailedError (rejects) */
  async attempt(context: WarmingContext): Promise<void> {
    const targets = (this.#remaining ??= await this.#setup.list(context));
    this.#all ||= targets.length;
    const failed: WarmTarget[] = [];
    const reasons: string[] = [];
    let done = 0;
    await runLimited(targets, this.#setup.concurrency, context.signal, async (target) => {
      const failure = await this.#warm(target, context);
      if (failure && context.signal.aborted) return;
      done++;
      if (!failure) return;
      if (failure.isRetryable) failed.push(target);
      else this.#hopeless++;
      const named = failure.isRetryable ? reasons : this.#hopelessReasons;
      if (named.length < MOST_NAMED) named.push(failure.reason);
    });
    if (context.signal.aborted) {
      const { reason } = context.signal;
      throw new Error(`${messageOf(reason)}: ${done} of ${targets.length} URLs were done`, { cause: reason });
    }
    this.#remaining = failed;
    const count = failed.length + this.#hopeless;
    if (count === 0) return;
    throw new UrlsFailedError([...this.#hopelessReasons, ...reasons], count, this.#all, failed.length > 0);
  }

  async #warm(target: WarmTarget, context: WarmingContext): Promise<UrlFailure | undefined> {
    try {
      const result = await this.#request(target, context);
      const failure = judgeWarmed(target, result);
      return failure && (this.#setup.isNamed || isRefused(result)) ? failure : undefined;
    } catch (error) {
      return { reason: `${formatTarget(target)} → ${messageOf(error)}`, isRetryable: true };
    }
  }

  async #request(target: WarmTarget, { pause, signal }: WarmingContext): Promise<WarmResult> {
    const { requests, freshForMs } = this.#setup;
    for (let fills = 1; ; fills++) {
      await pause();
      this.requested++;
      const result = await requests.warm(target, { freshForMs, signal });
      if (!isVoided(result.refusal) || fills >= MOST_FILLS) return result;
    }
  }
}
