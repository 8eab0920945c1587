import { randomBytes } from 'node:crypto';
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
import { BodyTooLongError, Dispatcher, type RequestListener } from './internal-request.js';
import { judgeRefresh, reasonFor } from './refresh-outcome.js';
import type { QueuedWork } from './refresh-queue.js';

/** How long a refresh may take where its rule gives no `timeout`. Seconds. */
export const DEFAULT_REFRESH_TIMEOUT_SECONDS = 30;

/** Routes whose refused refreshes were reported that are remembered. */
const MOST_REPORTED = 1000;

interface App {
  parent?: App;
}

/** What a refresh is to bring. */
export interface RefreshGoal {
  /** The response that it replaces: a stored one, or one whose body broke off. */
  readonly head: ResponseHead;
  /** The stored response, where there is one: the handler may confirm it. */
  readonly entry: StoredResponse | undefined;
  /** Redis was read on the way here, so it is not read again. */
  readonly hasReadRedis?: boolean;
  /** A client is about to wait for its outcome. */
  readonly isAwaited?: boolean;
}

/**
 * One background refresh: a request of our own that reproduces the one its entry answers, and how it ends.
 *
 * It has nothing of the client that triggered it but the header values that the key covers.
 */
export class Refresh {
  /** The request that triggered it: for key, target and origin, never for headers. */
  readonly request: CacheRequest;
  /** The key at the start of the refresh, which the fill keeps. */
  readonly key: string;
  readonly head: ResponseHead;
  readonly entry: StoredResponse | undefined;
  readonly pending: PendingFill;
  readonly #state: CacheState;
  readonly #report: (refresh: Refresh, reason: string) => void;
  readonly #controller = new AbortController();
  #status = 0;
  #retryAfter: number | undefined;
  #refusal: string | undefined;
  /** A credential of its own, from `refreshHeaders`. */
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
    this.head = head;
    this.entry = entry;
    this.pending = pending;
  }

  /** Aborted when nobody needs the answer any more. */
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

  /** Notes the status as the app wrote it. */
  watch(exchange: Exchange): void {
    exchange.onHead(({ res }) => {
      this.#status = res.statusCode;
      this.#retryAfter = parseRetryAfter(readHeaderText(res, 'retry-after'));
    }, HeadOrder.capture);
  }

  /** Why the request that arrived is not the one that the entry answers; `undefined` where it is. */
  mismatch({ target, rewritten, keys, context }: CacheRequest): string | undefined {
    const { request } = this;
    if (target !== request.target || rewritten !== request.rewritten) return 'url';
    if (keys.exact !== request.keys.exact) return 'vary';
    return this.#state.equivalents.matches(keys, this.head, context.req) ? undefined : 'vary';
  }

  /** Whether the route that answers is another than the one that made the entry. */
  isOtherRoute(template: string | undefined): boolean {
    return template !== this.head.template;
  }

  /** The fill does not store the answer; what that means is judged once the answer is complete. */
  notStored(reason: string): void {
    this.#refusal ??= reason;
  }

  /** The request that arrived is another one, so the handler is not run. */
  stop(reason: string): void {
    this.#end('refused', reason);
    this.abort(new Error(`the refresh is another request than its entry answers (${reason})`));
  }

  stored(entry: StoredResponse, status: number | undefined): void {
    const { counts, collapser, refreshMarks } = this.#state;
    counts.refreshResults.stored++;
    // It may have another key than the response that it replaces, where it varies by more.
    refreshMarks.stored(this.head.key, true);
    refreshMarks.stored(entry.key, true);
    collapser.settle(this.key, this.pending, { kind: 'stored', entry, status });
  }

  /** It says nothing of the resource: the stale entry may be served, and the next refresh waits a while. */
  fail(): void {
    if (this.isSettled) return;
    const { counts, collapser, refreshMarks } = this.#state;
    const status = this.#status || undefined;
    counts.refreshResults.failed++;
    const isAsked = this.#status === 503 || this.#status === 429;
    refreshMarks.fail(this.head.key, String(status ?? 'broken'), isAsked ? this.#retryAfter : undefined);
    collapser.settle(this.key, this.pending, { kind: 'failed', status });
  }

  /** The answer is complete. */
  conclude(): void {
    if (this.isSettled) return;
    const answer = { status: this.#status, refusal: this.#refusal, credential: this.credential };
    const verdict = judgeRefresh(answer, this.#state.settings.refreshRefused === 'stale');
    if (verdict === 'failed') this.fail();
    else this.#end(verdict, reasonFor(answer));
  }

  /** It was not begun; that is no failure. */
  drop(): void {
    if (this.isSettled) return;
    this.#state.counts.refreshResults.dropped++;
    this.#state.collapser.settle(this.key, this.pending, { kind: 'failed' });
  }

  #end(verdict: 'ended' | 'refused', reason: string): void {
    const { counts, collapser, endedKeys, entries, refreshMarks } = this.#state;
    const { key } = this.head;
    counts.refreshResults[verdict]++;
    countByWord(counts.refreshRefusals, reason);
    const retryAfter = this.#status === 429 ? this.#retryAfter : undefined;
    refreshMarks.refuse(key, reason, entries.responseAt(key), retryAfter);
    endedKeys.note(this.key);
    collapser.settle(this.key, this.pending, { kind: 'not-refreshed' });
    if (verdict === 'refused' || isTemporaryRedirect(reason)) this.#report(this, reason);
  }
}

/** Where a login page is, most of the time: what answers so is likely to want a session. */
function isTemporaryRedirect(reason: string): boolean {
  return reason === '302' || reason === '303' || reason === '307';
}

/** Runs handlers again in requests of our own, for which no client's credentials are used, so many at once. */
export class BackgroundRefresher {
  readonly #state: CacheState;
  readonly #onExchange: (exchange: Exchange, refresh: Refresh) => void;
  readonly #dispatcher = new Dispatcher();
  readonly #reported = new Set<string>();

  /** @param onExchange called with the internal request's exchange before the app is. */
  constructor(state: CacheState, onExchange: (exchange: Exchange, refresh: Refresh) => void) {
    this.#state = state;
    this.#onExchange = onExchange;
  }

  /** Whether there is an app to send requests of our own into. */
  static canRefresh(req: IncomingMessage): boolean {
    return findListeningApp(req) !== undefined;
  }

  /**
   * Refreshes in the background.
   *
   * @param onDropped called where there were too many others, and no attempt was made.
   * @returns what its outcome comes through.
   */
  start(request: MiddlewareRequest, goal: RefreshGoal, onDropped?: () => void): PendingFill {
    const { collapser, settings } = this.#state;
    const pending = collapser.lead(request.key);
    const app = findListeningApp(request.exchange.req);
    const refresh = new Refresh(this.#state, request, goal, pending, (...all) => this.#reportRefusal(...all));
    const address = documentationAddress();
    const headers = buildRefreshHeaders(request, goal.head.vary, settings, address);
    const { rule } = request;
    let isAboutToWait = goal.isAwaited === true;
    const work: QueuedWork = {
      get isAwaited() {
        return isAboutToWait || pending.isAwaited;
      },
      run: () => this.#run(refresh, request, goal, () => this.#send(refresh, rule, app, headers, address)),
      drop: () => {
        refresh.drop();
        onDropped?.();
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
    const { shared, collapser, fault } = this.#state;
    try {
      const { entry } = goal;
      let newer = entry && newerThan(this.#state, request, entry);
      if (!newer && entry && !goal.hasReadRedis && shared?.isUsable) {
        newer = await fetchRefreshed(this.#state, shared, request, entry, refresh.pending);
      }
      if (newer) collapser.settle(refresh.key, refresh.pending, { kind: 'stored', entry: newer });
      else await send();
    } catch (error) {
      fault(error, 'refresh');
    } finally {
      refresh.fail(); // unless it is settled
    }
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
        discardsBody: true, // the fill keeps it
        signal: refresh.signal,
        onExchange: (exchange) => {
          refresh.watch(exchange);
          this.#onExchange(exchange, refresh);
        },
      });
      refresh.conclude();
    } catch (error) {
      if (refresh.isSettled) return;
      // It can't be stored, whether the handler or a gate before the cache has made it: no more of it was needed.
      if (error instanceof BodyTooLongError) return refresh.conclude();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Once for each route: a gate that turns refreshes away is a matter of the app's configuration. */
  #reportRefusal({ head, request }: Refresh, reason: string): void {
    const route = head.template ?? request.target.split('?', 1)[0]!;
    // All that no route has answered count as one, since their paths are the clients' choice.
    const name = head.template ?? '';
    if (this.#reported.has(name) || this.#reported.size >= MOST_REPORTED) return;
    this.#reported.add(name);
    this.#state.fault(
      new Error(
        `the app refused the background refresh of ${route} (${reason}), so its stale responses are not served; ` +
          'let requests with req.hotpath.internal through, or set cache.refreshHeaders',
      ),
      'refresh',
    );
  }
}

/**
 * A documentation address (RFC 3849) with bits 33 to 56 at random. Limits by address count IPv6 clients by network, of
 * 56 bits or more, so none of them stops a refresh or counts it as a client; and it is in no private range.
 */
function documentationAddress(): string {
  const random = randomBytes(3);
  const [third, fourth] = [random.readUInt16BE(0), random[2]! << 8];
  const network = fourth === 0 ? third.toString(16) : `${third.toString(16)}:${fourth.toString(16)}`;
  return `2001:db8:${network}::1`;
}

/** The app that listens: a sub-app sees requests only through its parents. */
function findListeningApp(req: IncomingMessage): RequestListener | undefined {
  let app = (req as IncomingMessage & { app?: App }).app;
  while (app?.parent) app = app.parent;
  return typeof app === 'function' ? (app as RequestListener) : undefined;
}

/** The headers that the key covers, where the request was sent, and those that the config adds. */
function buildRefreshHeaders(
  { exchange, origin, rule }: MiddlewareRequest,
  vary: readonly string[],
  { credentials, refreshHeaders }: CacheState['settings'],
  address: string,
): Record<string, string> {
  const { req } = exchange;
  const headers: Record<string, string> = { ...refreshHeaders };
  // A forwarded host counts only where the app trusts the address that it comes from.
  const isForwarded = origin.host !== origin.rawHost && trustsAddress(req, address);
  headers.host = isForwarded ? origin.rawHost : firstHost(origin.host);
  // Only what the app itself took from them: a client may send any.
  if (headerOf(req, 'x-forwarded-host') === origin.host) headers['x-forwarded-host'] = origin.host;
  if (headerOf(req, 'x-forwarded-proto') === origin.scheme) headers['x-forwarded-proto'] = origin.scheme;
  const named = vary.filter((name) => !credentials.includes(name));
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
