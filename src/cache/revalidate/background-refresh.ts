import type { IncomingMessage } from 'node:http';
import { type Exchange, HeadOrder } from '../../exchange/exchange.js';
import { readHeaderText } from '../../exchange/headers.js';
import { parseRetryAfter } from '../../http/retry-after.js';
import { guarded } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import type { ResponseHead, StoredResponse } from '../../store/stored-response.js';
import type { PendingFill } from '../collapse/collapser.js';
import type { CacheRuleSettings } from '../options.js';
import type { CacheRequest, MiddlewareRequest } from '../request/cache-request.js';
import { headerOf, selectCookies } from '../request/key.js';
import { firstHost, trustsAddress } from '../request/origin.js';
import { type CacheState, countByWord } from '../state.js';
import { fetchRefreshed, newerThan } from './claim-refresh.js';
import {
  BodyTooLongError,
  Dispatcher,
  documentationAddress,
  type RequestListener,
} from './internal-request.js';
import { isVoided, judgeRefresh, reasonFor } from './refresh-outcome.js';
import type { QueuedWork } from './refresh-queue.js';

/** The time limit of a refresh if its rule has no `timeout`. Seconds. */
export const DEFAULT_REFRESH_TIMEOUT_SECONDS = 30;

/** Maximum routes that are remembered after their refused refresh was reported. */
const MOST_REPORTED = 1000;

interface App {
  parent?: App;
}

/** The response to refresh, and the circumstances. */
export interface RefreshGoal {
  /** The response to replace: a stored one, or one whose body was interrupted. `undefined` to fill an empty key. */
  readonly head: ResponseHead | undefined;
  /** The stored response, if there is one. The handler may revalidate it. */
  readonly entry: StoredResponse | undefined;
  /** This request has already read Redis, so the refresh does not read it again. */
  readonly hasReadRedis?: boolean;
  /** A client is about to wait for the outcome. */
  readonly isAwaited?: boolean;
  /** Called when the request has ended, or was never sent. */
  readonly onEnd?: () => void;
}

/**
 * One background refresh: an internal request that reproduces the request of its entry, and its outcome.
 *
 * From the client that triggered it, it gets only the header values that the key covers.
 */
export class Refresh {
  /** The request that triggered the refresh. Used for key, target and origin, never for other headers. */
  readonly request: CacheRequest;
  /** The key at the start of the refresh, which the fill keeps. */
  readonly key: string;
  /** The key by which a refused or failed refresh is remembered. */
  readonly markKey: string;
  readonly head: ResponseHead | undefined;
  readonly entry: StoredResponse | undefined;
  readonly pending: PendingFill;
  readonly #state: CacheState;
  readonly #report: (refresh: Refresh, reason: string) => void;
  readonly #controller = new AbortController();
  #status = 0;
  #retryAfter: number | undefined;
  #refusal: string | undefined;
  /** The refresh's own credential, from `refreshHeaders`. */
  credential: string | undefined;

  constructor(
    state: CacheState,
    request: CacheRequest,
    { head, entry }: RefreshGoal,
    pending: PendingFill,
    report: (refresh: Refresh, reason: string) => void,
  ) {
    this.#state = state;
    this.#report = report;
    this.request = request;
    this.key = request.key;
    this.markKey = head?.key ?? state.entries.keyFor(request.key, [], request.context.req);
    this.head = head;
    this.entry = entry;
    this.pending = pending;
  }

  /** Why the fill did not store the response. */
  get refusal(): string | undefined {
    return this.#refusal;
  }

  /** Aborted when the response is no longer needed. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get isSettled(): boolean {
    return this.pending.outcome !== undefined;
  }

  /** The request is about to be sent. */
  begin(): void {
    this.#state.counts.refreshes++;
  }

  abort(reason: Error): void {
    this.#controller.abort(reason);
  }

  /** Records the status as the app wrote it. */
  watch(exchange: Exchange): void {
    exchange.onHead(({ res }) => {
      this.#status = res.statusCode;
      this.#retryAfter = parseRetryAfter(readHeaderText(res, 'retry-after'));
    }, HeadOrder.capture);
  }

  /** Why the request that arrived differs from the request of the entry; `undefined` if it does not. */
  mismatch({ target, rewritten, keys, context }: CacheRequest): string | undefined {
    const { request } = this;
    if (target !== request.target || rewritten !== request.rewritten) return 'url';
    if (keys.exact !== request.keys.exact) return 'vary';
    if (!this.head) return undefined;
    return this.#state.equivalents.matches(keys, this.head, context.req) ? undefined : 'vary';
  }

  /** Whether another route responds than the one that made the entry. */
  isOtherRoute(template: string | undefined): boolean {
    return this.head !== undefined && template !== this.head.template;
  }

  /** The fill does not store the response. `conclude` decides the outcome when the response is complete. */
  notStored(reason: string): void {
    this.#refusal ??= reason;
  }

  /** The request that arrived differs from the request of the entry, so the handler does not run. */
  stop(reason: string): void {
    this.#end('refused', reason);
    this.abort(new Error(`the internal request differs from the request of its entry (${reason})`));
  }

  stored(entry: StoredResponse, status: number | undefined): void {
    const { counts, collapser, refreshMarks } = this.#state;
    counts.refreshResults.stored++;
    // The key may differ from that of the replaced response, if the new one varies by more headers.
    refreshMarks.stored(this.markKey, true);
    refreshMarks.stored(entry.key, true);
    collapser.settle(this.key, this.pending, { kind: 'stored', entry, status });
  }

  /**
   * The refresh failed, which shows nothing about the resource. The stale entry may be served; the next refresh is
   * delayed, unless the app has responded well and a purge came meanwhile.
   */
  fail(): void {
    if (this.isSettled) return;
    const { counts, collapser, refreshMarks } = this.#state;
    const status = this.#status || undefined;
    counts.refreshResults.failed++;
    const isVoid = isVoided(this.#refusal);
    if (!isVoid) {
      const hasRetryAfter = this.#status === 503 || this.#status === 429;
      const retryAfter = hasRetryAfter ? this.#retryAfter : undefined;
      refreshMarks.fail(this.markKey, String(status ?? 'broken'), retryAfter);
    }
    collapser.settle(this.key, this.pending, { kind: 'failed', status, isVoided: isVoid });
  }

  /** The response is complete. */
  conclude(): void {
    if (this.isSettled) return;
    const response = { status: this.#status, refusal: this.#refusal, credential: this.credential };
    const verdict = judgeRefresh(response, this.#state.settings.refreshRefused === 'stale');
    if (verdict === 'failed') this.fail();
    else this.#end(verdict, reasonFor(response));
  }

  /** The refresh was not started, which does not count as a failure. */
  drop(): void {
    if (this.isSettled) return;
    this.#state.counts.refreshResults.dropped++;
    this.#state.collapser.settle(this.key, this.pending, { kind: 'failed' });
  }

  #end(verdict: 'ended' | 'refused', reason: string): void {
    const { counts, collapser, endedKeys, entries, refreshMarks } = this.#state;
    const { markKey } = this;
    counts.refreshResults[verdict]++;
    countByWord(counts.refreshRefusals, reason);
    const retryAfter = this.#status === 429 ? this.#retryAfter : undefined;
    refreshMarks.refuse(markKey, reason, entries.responseAt(markKey), retryAfter);
    // A gate that refuses to fill an empty key does not end the fills of clients.
    if (this.head || verdict === 'ended') endedKeys.add(this.key);
    collapser.settle(this.key, this.pending, { kind: 'not-refreshed' });
    if (verdict === 'refused' || isTemporaryRedirect(reason)) this.#report(this, reason);
  }
}

/** Whether the response is likely to be a redirect to a login page: the app expects a session. */
function isTemporaryRedirect(reason: string): boolean {
  return reason === '302' || reason === '303' || reason === '307';
}

/** Runs handlers again with internal requests that carry no client's credentials. Limits how many run at once. */
export class BackgroundRefresher {
  readonly #state: CacheState;
  readonly #onExchange: (exchange: Exchange, refresh: Refresh) => void;
  readonly #dispatcher = new Dispatcher();
  readonly #reported = new Set<string>();

  /** @param onExchange called with the exchange of the internal request before the app runs. */
  constructor(state: CacheState, onExchange: (exchange: Exchange, refresh: Refresh) => void) {
    this.#state = state;
    this.#onExchange = onExchange;
  }

  /** Whether there is an app that can handle internal requests. */
  static canRefresh(req: IncomingMessage): boolean {
    return findListeningApp(req) !== undefined;
  }

  /**
   * Starts a background refresh.
   *
   * @param onDropped called if the queue is full, so that the refresh is not attempted.
   * @returns the pending fill, which gets the outcome.
   */
  start(request: MiddlewareRequest, goal: RefreshGoal, onDropped?: () => void): PendingFill {
    const { collapser, settings } = this.#state;
    const pending = collapser.lead(request.key);
    const app = findListeningApp(request.exchange.req);
    const refresh = new Refresh(this.#state, request, goal, pending, (...all) => this.#reportRefusal(...all));
    const address = documentationAddress();
    const headers = buildRefreshHeaders(request, this.#namesFor(request, goal), settings, address);
    const { rule } = request;
    let isAboutToWait = goal.isAwaited === true;
    const work: QueuedWork = {
      isAwaited: () => isAboutToWait || pending.isAwaited,
      run: () => this.#run(refresh, request, goal, () => this.#send(refresh, rule, app, headers, address)),
      drop: () => {
        refresh.drop();
        onDropped?.();
        goal.onEnd?.();
      },
    };
    runInOwnContext(() => this.#state.refreshQueue.add(work));
    isAboutToWait = false;
    return pending;
  }

  /** Never rejects. */
  async #run(
    refresh: Refresh,
    request: CacheRequest,
    goal: RefreshGoal,
    send: () => Promise<void>,
  ): Promise<void> {
    const { redisLookups, collapser, fault } = this.#state;
    try {
      const { entry } = goal;
      let newer = goal.head === entry ? newerThan(this.#state, request, entry) : undefined;
      if (!newer && goal.head === entry && !goal.hasReadRedis && redisLookups?.isUsable) {
        newer = await fetchRefreshed(this.#state, redisLookups, request, entry, refresh.pending);
      }
      if (newer) collapser.settle(refresh.key, refresh.pending, { kind: 'stored', entry: newer });
      else await send();
    } catch (error) {
      fault(error, 'refresh');
    } finally {
      refresh.fail(); // has no effect if it is settled
      goal.onEnd?.();
    }
  }

  /**
   * The request headers that choose a response of the key, as far as stored responses have named them. Until one has, a
   * fill sends those of content negotiation.
   */
  #namesFor({ key }: CacheRequest, { head }: RefreshGoal): readonly string[] {
    return head?.vary ?? this.#state.entries.variantsOf(key)?.names ?? NEGOTIATION;
  }

  async #send(
    refresh: Refresh,
    rule: CacheRuleSettings | undefined,
    app: RequestListener | undefined,
    headers: Readonly<Record<string, string>>,
    remoteAddress: string,
  ): Promise<void> {
    if (!app) return;
    const { settings } = this.#state;
    const seconds = rule?.timeout ?? DEFAULT_REFRESH_TIMEOUT_SECONDS;
    const late = guarded('refresh', () => refresh.abort(new Error(`no response within ${seconds} s`)));
    const timer = setTimeout(late, seconds * 1000).unref();
    refresh.begin();
    try {
      await this.#dispatcher.dispatch(app, {
        target: refresh.request.target,
        headers,
        scheme: refresh.request.origin.scheme === 'https' ? 'https' : 'http',
        remoteAddress,
        maxBytes: settings.maxEntryBytes,
        discardsResponse: true, // the fill keeps it
        signal: refresh.signal,
        onExchange: (exchange) => {
          refresh.watch(exchange);
          this.#onExchange(exchange, refresh);
        },
      });
      refresh.conclude();
    } catch (error) {
      if (refresh.isSettled) return;
      // The body is too long to be stored, whether the handler or an access check before the cache made it.
      if (error instanceof BodyTooLongError) return refresh.conclude();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Reports once for each route: an access check that rejects refreshes needs a change of the app's configuration. */
  #reportRefusal({ head, request }: Refresh, reason: string): void {
    const route = head?.template ?? request.target.split('?', 1)[0]!;
    // All paths without a route count as one, because clients choose them.
    const name = head?.template ?? request.pattern ?? '';
    if (this.#reported.has(name) || this.#reported.size >= MOST_REPORTED) return;
    this.#reported.add(name);
    this.#state.fault(
      new Error(
        (head
          ? `the app refused the background refresh of ${route} (${reason}), so its stale responses are not served; `
          : `the app refused the background refresh of ${route} without cookies (${reason}), so requests with cookies are not ` +
            `answered from the cache (cookies: 'ignore'); `) +
          'let requests with req.hotpath.internal through, or set cache.refreshHeaders',
      ),
      'refresh',
    );
  }
}

/** The app that listens. A sub-app gets requests only through its parents. */
function findListeningApp(req: IncomingMessage): RequestListener | undefined {
  let app = (req as IncomingMessage & { app?: App }).app;
  while (app?.parent) app = app.parent;
  return typeof app === 'function' ? (app as RequestListener) : undefined;
}

/** Request headers that choose among representations (RFC 9110 §12.5). */
const NEGOTIATION = ['accept', 'accept-encoding', 'accept-language'] as const;

/** The headers that the key covers, the host of the entry, and the headers from the config. */
function buildRefreshHeaders(
  { exchange, origin, rule }: MiddlewareRequest,
  vary: readonly string[],
  { credentials, refreshHeaders }: CacheState['settings'],
  address: string,
): Record<string, string> {
  const { req } = exchange;
  const headers: Record<string, string> = { ...refreshHeaders };
  // The app reads a forwarded host only if it trusts the address that sends it.
  const isForwarded = origin.host !== origin.rawHost && trustsAddress(req, address);
  headers.host = isForwarded ? origin.rawHost : firstHost(origin.host);
  // Only values that the app itself read from these headers, because a client may send any.
  if (headerOf(req, 'x-forwarded-host') === origin.host) headers['x-forwarded-host'] = origin.host;
  if (headerOf(req, 'x-forwarded-proto') === origin.scheme) headers['x-forwarded-proto'] = origin.scheme;
  const isAnonymous = rule?.cookies === 'ignore';
  if (isAnonymous) delete headers.cookie;
  const named = vary.filter((name) => !credentials.includes(name) && !(isAnonymous && name === 'cookie'));
  for (const name of [...named, ...(rule?.vary.headers ?? [])]) {
    const value = headerOf(req, name);
    if (value !== undefined) headers[name] = String(value);
  }
  if (rule?.vary.cookies?.length) {
    const covered = selectCookies(req.headers.cookie, rule.vary.cookies);
    const all = [headers.cookie, covered].filter((cookie) => cookie !== undefined);
    if (all.length > 0) headers.cookie = all.join('; ');
  }
  return headers;
}
