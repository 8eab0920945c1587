import { HeadOrder } from '../../exchange/exchange.js';
import { readHeaderText } from '../../exchange/headers.js';
import { guarded } from '../../runtime/guard.js';
import type { StoredResponse } from '../../store/stored-response.js';
import type { CacheState } from '../state.js';
import { DEFAULT_REFRESH_TIMEOUT_SECONDS } from './background-refresh.js';
import {
  BodyTooLongError,
  Dispatcher,
  documentationAddress,
  type RequestListener,
} from './internal-request.js';
import { WarmGoal } from './warm-goal.js';

/** The entry to warm, by its request. */
export interface WarmTarget {
  readonly scheme: 'http' | 'https';
  readonly host: string;
  /** Path and query. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface WarmOptions {
  /** An entry that stays fresh for this time is left alone. Milliseconds. */
  readonly freshForMs: number;
  readonly signal: AbortSignal;
}

/** The result of a warming request. */
export interface WarmResult {
  /** `fresh`: the entry stays fresh for long enough, so no handler ran. */
  readonly outcome: 'fresh' | 'stored' | 'not-stored';
  /** The status as the app wrote it; 0 without a response. */
  readonly status: number;
  /** `Location` of the response. */
  readonly location?: string | undefined;
  /** Why the response was not stored; absent if it never reached the cache. */
  readonly refusal?: string | undefined;
}

/** The longest time for one URL, as for a refresh without a `timeout` of its rule. Seconds. */
const LONGEST_SECONDS = DEFAULT_REFRESH_TIMEOUT_SECONDS;

/** Sends warming requests through an app: without credentials of any client, and counted nowhere. */
export class WarmRequests {
  readonly #state: CacheState;
  readonly #app: RequestListener;
  readonly #codings: readonly string[];
  readonly #dispatcher = new Dispatcher();

  /** @param codings the content codings of which forms are made. */
  constructor(state: CacheState, app: RequestListener, codings: readonly string[]) {
    this.#state = state;
    this.#app = app;
    this.#codings = codings;
  }

  /**
   * Fills the entry of a URL if it is missing or expires too early, and waits until its body exists in every coding.
   *
   * @throws (rejects) if there is no complete response, or the signal aborts.
   */
  async warm(target: WarmTarget, { freshForMs, signal }: WarmOptions): Promise<WarmResult> {
    signal.throwIfAborted();
    const limit = new AbortController();
    const abort = guarded('warming', () => limit.abort(signal.reason));
    signal.addEventListener('abort', abort, { once: true });
    const late = guarded('warming', () => limit.abort(new Error(`no response within ${LONGEST_SECONDS} s`)));
    const timer = setTimeout(late, LONGEST_SECONDS * 1000).unref();
    try {
      return await this.#fillAndEncode(target, freshForMs, limit.signal);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
  }

  async #fillAndEncode(target: WarmTarget, freshForMs: number, signal: AbortSignal): Promise<WarmResult> {
    const goal = new WarmGoal(freshForMs);
    const head = await this.#fill(target, goal, signal);
    const outcome = goal.refresh?.pending.outcome;
    const entry = goal.served ?? (outcome?.kind === 'stored' ? outcome.entry : undefined);
    if (!entry || goal.scope === undefined)
      return { ...head, outcome: 'not-stored', refusal: goal.refresh?.refusal ?? goal.bypass };
    await this.#encode(target, entry, goal.scope, signal);
    return { ...head, outcome: goal.served ? 'fresh' : 'stored' };
  }

  async #fill(
    target: WarmTarget,
    goal: WarmGoal,
    signal: AbortSignal,
  ): Promise<Pick<WarmResult, 'status' | 'location'>> {
    try {
      return await this.#send(target, goal, signal);
    } finally {
      goal.refresh?.fail(); // has no effect if it is settled
    }
  }

  async #send(
    { scheme, host, target, headers }: WarmTarget,
    goal: WarmGoal,
    signal: AbortSignal,
  ): Promise<Pick<WarmResult, 'status' | 'location'>> {
    let status = 0;
    let location: string | undefined;
    const { maxEntryBytes, refreshHeaders } = this.#state.settings;
    try {
      await this.#dispatcher.dispatch(this.#app, {
        target,
        // Some apps read the scheme from this field alone, and redirect without it.
        headers: {
          ...refreshHeaders,
          ...(scheme === 'https' && { 'x-forwarded-proto': scheme }),
          ...headers,
          host,
        },
        scheme,
        remoteAddress: documentationAddress(),
        maxBytes: maxEntryBytes,
        discardsResponse: true, // the fill keeps it
        signal,
        onExchange: (exchange) => {
          exchange.setData(this.#state, goal);
          exchange.onHead(({ res }) => {
            status = res.statusCode;
            location = readHeaderText(res, 'location');
          }, HeadOrder.capture);
        },
      });
    } catch (error) {
      if (!(error instanceof BodyTooLongError)) throw error;
    }
    goal.refresh?.conclude();
    return { status, location };
  }

  /** Requests the stored body in each coding that it does not have yet; the middlewares decide which ones apply. */
  async #encode(
    target: WarmTarget,
    { key }: StoredResponse,
    scope: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { encodings, entries } = this.#state;
    for (const coding of this.#codings) {
      const entry = entries.responseAt(key);
      if (!entry || entry.encoded?.get(coding)) continue;
      const headers = { ...target.headers, 'accept-encoding': coding };
      await this.#send({ ...target, headers }, new WarmGoal(0, scope), signal);
    }
    await rejectOnAbort(encodings.whenMade(key), signal);
  }
}

/** @throws (rejects) the reason of the signal, if it aborts first. */
async function rejectOnAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let reject = (_reason: unknown) => {};
  const aborted = new Promise<never>((_resolve, rejectIt) => {
    reject = rejectIt;
  });
  const onAbort = guarded('warming', () => reject(signal.reason));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
