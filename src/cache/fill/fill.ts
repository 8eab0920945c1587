import { isHttp2 } from '../../exchange/connection.js';
import { HeadOrder } from '../../exchange/exchange.js';
import { readHeaderText } from '../../exchange/headers.js';
import { onDestroy } from '../../exchange/on-destroy.js';
import { pathOf } from '../../http/request-target.js';
import { guarded } from '../../runtime/guard.js';
import { copyToOwnMemory } from '../../runtime/owned-memory.js';
import { hostOf, type ResponseHead } from '../../store/stored-response.js';
import { StreamingFill } from '../collapse/streaming-fill.js';
import { addGroupTags } from '../invalidate/cache-groups.js';
import { cameWithBody } from '../request/bypass.js';
import type { MiddlewareRequest } from '../request/cache-request.js';
import { findCredential, hasIgnoredCookie } from '../request/credentials.js';
import { readHints } from '../request/handler-hints.js';
import { isKeyedByHeaders } from '../request/key.js';
import { isSameOrigin, originOf } from '../request/origin.js';
import { evaluateTags, nameRule } from '../request/rule-functions.js';
import { visibleKey } from '../serve/cache-status.js';
import { answerConditions, applyNotModified, finishHeaders, replaceError } from '../serve/serve-stored.js';
import {
  hasUpstreamHeaders,
  omittedByRule,
  selectStoredHeaders,
  upstreamHeaders,
} from '../serve/stored-headers.js';
import { type CacheState, countByWord } from '../state.js';
import type { FillPlan } from './fill-plan.js';
import { generateEtag } from './generated-etag.js';
import { compareWithHead, makeStale } from './head-revalidation.js';
import { isClientGone, isPartialResponse, mayBeIncomplete } from './incomplete.js';
import { limitLifetime } from './inherited.js';
import { isAnsweredByOtherRoute } from './matched-route.js';
import { exceedsMemory } from './memory-limit.js';
import { warnOfRuleChange } from './received-headers.js';
import { isFailure, isForClientAlone, isForRequestAlone, isSuperseding } from './refusal-scope.js';
import { reportFill } from './report-fill.js';
import type { Snapshot } from './snapshot.js';
import {
  captureDecided,
  type DecidedHeaders,
  decideStorable,
  findLateRefusal,
  type Refused,
  type Storable,
} from './storable.js';

const HEADER_CHANGED: Refused = { refusal: 'header-changed' };

/** Records one response while it is sent, and stores it if it is complete and storable. */
export class Fill {
  readonly #state: CacheState;
  readonly #request: MiddlewareRequest;
  readonly #plan: FillPlan;
  readonly #stamp: number;
  /** The last end of a stored response when the fill began. */
  readonly #lastEnd: number;
  readonly #before: ReadonlyMap<string, string>;
  /** When the handler started, on the cache's clock. */
  readonly #startedAt: number;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #snapshot: Snapshot | undefined;
  #decidedHeaders: DecidedHeaders | undefined;
  #isOver = false;
  /** The response replaces the stored response once it is complete, although it is not stored itself. */
  #supersedes = false;
  #streaming: StreamingFill | undefined;
  /** The handler's status. */
  #handlerStatus: number | undefined;
  /** Computed at the response's head. */
  #tags: readonly string[] | undefined;
  /** `Cache-Status` has `stored`. */
  #saysStored = false;
  readonly #capture = (chunk: Buffer) => this.#onChunk(chunk);
  /**
   * Ends a fill whose client has disconnected. It references the request and its response, so it is cleared when the
   * fill is over.
   */
  #timer: NodeJS.Timeout | undefined;
  /** Ends the time in which other requests may start to follow the body. */
  #joinTimer: NodeJS.Timeout | undefined;

  constructor(state: CacheState, request: MiddlewareRequest, plan: FillPlan) {
    this.#state = state;
    this.#request = request;
    this.#plan = plan;
    // Taken before the handler starts: later purges may concern data that the handler is about to read.
    this.#stamp = state.log.position;
    this.#lastEnd = state.endedKeys.position;
    this.#startedAt = state.clock();
    const { exchange } = request;
    this.#before = upstreamHeaders(exchange.res);
    exchange.onHead(() => this.#onHead(), HeadOrder.capture);
    exchange.onHead(() => this.#onSeal(), HeadOrder.seal);
    exchange.onSent(() => this.#onSent());
    exchange.onEnd(() => this.#onEnd());
    exchange.onClose(() => this.#onClose());
    // No response will come, so no request may wait for one.
    if (plan.pending) onDestroy(exchange, () => this.#finish('failed'));
  }

  /** Stops recording, because a `cache.route()` beside the handler has taken over. */
  cancel(): void {
    this.#plan.overrides?.restore();
    this.#finish('refused');
  }

  /**
   * Responds to the client with `serve`, because the handler takes too long. The handler's output is ignored from now
   * on. The fill stays pending: requests that wait for it get the stale response too, each after its own timeout.
   */
  giveUp(serve: () => void): void {
    const { exchange } = this.#request;
    const { res } = exchange;
    if (this.#isOver) return;
    this.#setOver();
    // The client's own conditions apply to the stale response.
    this.#plan.overrides?.restore();
    exchange.lock();
    exchange.respond(() => {
      this.#removeAppHeaders();
      // If an error handler runs too late, it destroys the connection. Other requests must not be pending on it.
      if (!isHttp2(exchange.req)) res.setHeader('Connection', 'close');
      serve();
    });
  }

  /** Removes the headers that the app has set since the request reached the cache. */
  #removeAppHeaders(): void {
    const { res } = this.#request.exchange;
    for (const name of res.getHeaderNames()) if (!this.#before.has(name)) res.removeHeader(name);
  }

  #onHead(): void {
    if (this.#isOver) return;
    const { exchange, key, rule } = this.#request;
    const { mode, found, received, overrides, refresh } = this.#plan;
    const { res } = exchange;
    // Sending the headers may have failed, and the app sends another response.
    this.#snapshot = undefined;
    exchange.offChunk(this.#capture);
    const { revalidates, compares } = mode;
    const standIn = refresh ? undefined : mode.standIn;
    this.#handlerStatus = res.statusCode;
    this.#state.rangeUnits.note(key, received.headers.range);
    if (standIn && res.statusCode >= 500 && res.statusCode < 600) {
      this.#refuse('status');
      const status = { fwd: found.forward, key: visibleKey(this.#state, this.#request) };
      replaceError(this.#state, exchange, standIn, rule, this.#before, status);
      return;
    }
    const isRevalidated = (revalidates && res.statusCode === 304) || this.#isRevalidatedByHead();
    const revalidated = isRevalidated ? (revalidates ?? compares) : undefined;
    if (revalidated) applyNotModified(exchange, revalidated);
    // A refresh replaces a stored response only with a 2xx. A redirect may apply to the refresh alone.
    const isWrong = refresh && (res.statusCode < 200 || res.statusCode > 299);
    const verdict = isWrong ? { refusal: 'status' } : this.#decide(revalidated ? 'GET' : exchange.req.method);
    if (verdict.refusal === undefined) {
      const declared = readHeaderText(res, 'content-length');
      const keepsCookies = this.#state.settings.profile === 'rfc9111';
      const { headers, removed } = selectStoredHeaders(
        res,
        this.#before,
        verdict.omitted,
        keepsCookies,
        this.#state.storedNames,
        omittedByRule(rule),
      );
      this.#snapshot = {
        storable: verdict,
        status: res.statusCode,
        headers,
        removed,
        date: readHeaderText(res, 'date') ?? this.#state.dates.format(Date.now()),
        etag: readHeaderText(res, 'etag'),
        lastModified: readHeaderText(res, 'last-modified'),
        declaredLength: declared === undefined ? undefined : Number(declared),
        at: this.#state.clock(),
        isClientGone: isClientGone(exchange),
        revalidated,
        tags: exchange.isWhole ? this.#tags : undefined,
      };
      exchange.onChunk(this.#capture);
    }
    if (overrides) answerConditions(exchange, overrides.conditions);
    this.#report(verdict, revalidated !== undefined);
    if (verdict.refusal !== undefined) this.#refuse(verdict.refusal);
  }

  #decide(method: string | undefined): Storable | Refused {
    const { exchange, rule, origin, pattern, directives, target } = this.#request;
    const { received, refresh } = this.#plan;
    const { res, req } = exchange;
    const { settings } = this.#state;
    const verdict = decideStorable(res, {
      settings,
      rule,
      hints: readHints(res, settings.lifetimes),
      // A later middleware may have derived a credential from other data, such as a token in the query.
      credential: this.#request.credential ?? findCredential(req, rule, settings),
      method,
      crossOrigin: req.headers.origin !== undefined,
      range: received.headers.range ?? req.headers.range,
      length: exchange.length,
      requested: { origin, target, rule },
      changed: cameWithBody(req) ? 'body' : this.#ruleChange(),
      broken: mayBeIncomplete(exchange),
      otherRoute:
        isAnsweredByOtherRoute(pattern, exchange) || refresh?.isOtherRoute(exchange.template) === true,
      otherOrigin: !isSameOrigin(origin, originOf(exchange.arrived)),
      hasRequestNoStore: directives?.noStore === true && !refresh,
      now: Date.now(),
    });
    if (verdict.refusal !== undefined) return verdict;
    const { used } = this.#plan;
    if (used?.refusal) return { refusal: used.refusal };
    if (this.#isHeaderChanged(verdict)) return HEADER_CHANGED;
    if (!this.#state.entries.accepts(this.#request.key, verdict.vary)) return { refusal: 'vary-invalid' };
    this.#tags = this.#computeTags(verdict);
    if (!this.#tags) return { refusal: 'rule' };
    if (exceedsMemory(this.#state, this.#request, this.#tags)) return { refusal: 'too-large' };
    // Last, so that `Cache-Status` names a reason that holds for requests without cookies too.
    if (this.#hasIgnoredCookie) return { refusal: this.#plan.detail ?? 'anonymous-fill' };
    return used ? limitLifetime(verdict, used, this.#state.clock()) : verdict;
  }

  /** `undefined` if the rule's function throws, or returns no list: a response that cannot be purged is not stored. */
  #computeTags({ groups }: Storable): readonly string[] | undefined {
    const { exchange, rule, context, pattern } = this.#request;
    try {
      return addGroupTags(
        evaluateTags(
          rule,
          context,
          readHints(exchange.res, this.#state.settings.lifetimes),
          this.#plan.used?.tags,
        ),
        groups,
        context,
        rule,
      );
    } catch (error) {
      this.#state.fault(error, `tags of ${nameRule(pattern)}`);
      return undefined;
    }
  }

  get #hasIgnoredCookie(): boolean {
    return hasIgnoredCookie(this.#request.exchange.req, this.#request.rule);
  }

  /** Whether the handler saw other header values than those in the key. */
  #isHeaderChanged({ vary }: Storable): boolean {
    const { rule, exchange } = this.#request;
    const { received, overrides } = this.#plan;
    if (vary.length === 0 && !isKeyedByHeaders(rule)) return false;
    return received.isChanged(vary, rule, overrides?.headersWithout() ?? exchange.req.headers);
  }

  /** The reason why the rule's functions would now return another key, or none. */
  #ruleChange(): string | undefined {
    const { rule, pattern } = this.#request;
    const { received, refresh } = this.#plan;
    const change = received.ruleChange(this.#state, this.#request);
    if (change && rule && !refresh) warnOfRuleChange(change, rule, pattern);
    return change;
  }

  /** Only a response that would be storable if it were a response to GET can revalidate. */
  #isRevalidatedByHead(): boolean {
    const { compares } = this.#plan.mode;
    const { res, req } = this.#request.exchange;
    if (!compares || req.method !== 'HEAD' || res.statusCode !== 200) return false;
    if (!this.#state.entries.holds(compares) || this.#decide('GET').refusal !== undefined) return false;
    const comparison = compareWithHead(this.#state, res, compares);
    if (comparison === 'differs') {
      makeStale(this.#state, compares);
      this.#recordEnd();
    }
    return comparison === 'same';
  }

  #onSeal(): void {
    const { res } = this.#request.exchange;
    finishHeaders(res, this.#request.rule);
    // Set here because Node would add `Date` unseen. A response that already has a header also shows the headers that
    // a patched `writeHead` passes to Node.
    if (this.#snapshot && res.sendDate && !res.hasHeader('date')) res.setHeader('Date', this.#snapshot.date);
    if (this.#snapshot) this.#decidedHeaders = captureDecided(res, this.#state.settings);
  }

  #onSent(): void {
    if (!this.#snapshot || !this.#decidedHeaders) return;
    const refusal =
      findLateRefusal(
        this.#request.exchange.res,
        this.#decidedHeaders,
        this.#state.settings,
        this.#request.rule,
      ) ??
      this.#ruleChange() ??
      (this.#isHeaderChanged(this.#snapshot.storable) ? HEADER_CHANGED.refusal : undefined);
    if (refusal) this.#refuse(refusal);
    else this.#offer(this.#snapshot);
  }

  /** Lets waiting requests follow the body from now on, unless it is sent in one piece. */
  #offer(snapshot: Snapshot): void {
    const { exchange, key, keys } = this.#request;
    const { pending } = this.#plan;
    const { declaredLength: length, status, revalidated } = snapshot;
    // Without a declared length, the body may grow too large to be stored, and its followers could not be served.
    if (!pending || !length || status === 204 || revalidated || exchange.isWhole) return;
    const begin = guarded('fill', () => {
      if (this.#snapshot !== snapshot) return;
      const { collapser, equivalents, settings } = this.#state;
      const home = equivalents.homeFor(keys, snapshot.storable.variance);
      const head = this.#headOf(snapshot, home, []);
      // Only here: V8 is slow to create an object literal with a getter. Stored responses derive their host
      // themselves.
      Object.defineProperty(head, 'host', { get: () => hostOf(head), enumerable: true });
      this.#streaming = new StreamingFill(head, length, this.#chunks);
      pending.begin(this.#streaming);
      // Followers depend on the speed of the leader, which may be slow or stop. So no request may join late.
      const late = guarded('fill', () => {
        collapser.release(key, pending);
        if (exchange.res.writableNeedDrain) this.#streaming?.rescue(false);
      });
      this.#joinTimer = setTimeout(late, settings.waitTimeout * 1000).unref();
      exchange.onEnd(() => clearTimeout(this.#joinTimer));
    });
    setImmediate(begin);
  }

  #onChunk(chunk: Buffer): void {
    this.#bytes += chunk.length;
    const { declaredLength, revalidated } = this.#snapshot!;
    if (this.#bytes > this.#state.settings.maxEntryBytes) return this.#refuse('too-large');
    if (declaredLength !== undefined && this.#bytes > declaredLength && !revalidated) {
      return this.#refuse('length');
    }
    this.#chunks.push(chunk);
    this.#streaming?.wake();
  }

  #onEnd(): void {
    this.#plan.overrides?.restore();
    if (this.#supersedes) this.#endStored();
    const snapshot = this.#snapshot;
    if (this.#isOver) return;
    // The head was sent without the exchange, such as that of a 101. There is nothing to store.
    if (!snapshot) return this.#refuse('status');
    // If all declared bytes have arrived, the body is complete, even if the client has disconnected (RFC 9112 §8).
    const isCounted = snapshot.declaredLength === this.#bytes;
    if (!snapshot.isClientGone && isClientGone(this.#request.exchange) && !isCounted)
      return this.#refuse('broken');
    // Node ends such a response as if it were complete.
    if (!snapshot.revalidated && snapshot.declaredLength !== undefined && !isCounted) {
      return this.#refuse('length');
    }
    try {
      // The rule's functions may depend on data that is set while the body is streamed.
      const change = this.#ruleChange();
      if (change) return this.#refuse(change);
      this.#store(snapshot);
    } catch (error) {
      this.#state.fault(error, 'store');
      this.#refuse('fault');
    }
  }

  #headOf(snapshot: Snapshot, home: string, tags: readonly string[]): ResponseHead {
    const { exchange, target } = this.#request;
    const { storable } = snapshot;
    const { used } = this.#plan;
    // A result may be older than the request, so a record that this instance has not read yet may concern it.
    const stamp = Math.min(this.#stamp, used?.stamp ?? this.#stamp);
    const freshUntil = snapshot.at + (storable.lifetime - storable.initialAge) * 1000;
    return {
      key: this.#state.entries.keyFor(home, storable.vary, this.#plan.received),
      stamp,
      since: stamp,
      variance: storable.variance,
      tags,
      url: target,
      path: pathOf(target),
      vary: storable.vary,
      status: snapshot.status,
      headers: snapshot.headers,
      removed: snapshot.removed,
      etag: snapshot.etag ?? snapshot.revalidated?.etag,
      ownEtag: snapshot.etag !== undefined,
      lastModified: snapshot.lastModified,
      date: snapshot.date,
      storedAt: snapshot.at,
      initialAge: storable.initialAge,
      freshUntil: Math.min(freshUntil, used?.freshUntil ?? freshUntil),
      reuse: storable.reuse,
      explicitlyShared: storable.explicitlyShared,
      anyOrigin: storable.anyOrigin,
      upstream: hasUpstreamHeaders(this.#before) || undefined,
      // A 304 did not make the response again.
      handlerMicros:
        snapshot.revalidated?.handlerMicros ??
        Math.max(0, Math.round((snapshot.at - this.#startedAt) * 1000)),
      template: exchange.template,
    };
  }

  #store(snapshot: Snapshot): void {
    const { key, keys } = this.#request;
    const { pending, refresh } = this.#plan;
    const { revalidated, storable } = snapshot;
    const body = revalidated?.body ?? copyToOwnMemory(...this.#chunks);
    // The body is complete, even if it is not stored.
    this.#streaming?.complete(body);
    const { used } = this.#plan;
    if (used?.refusal) return this.#refuse(used.refusal);
    const tags = snapshot.tags ?? this.#computeTags(storable);
    if (!tags) return this.#refuse('rule');
    const home = this.#state.equivalents.homeFor(keys, storable.variance);
    const head = this.#headOf(snapshot, home, tags);
    const etag = head.etag ?? generateEtag(body);
    const entry = this.#state.entries.compact(head, { body, encoded: revalidated?.encoded, etag });
    const isPurged = this.#state.log.limit(entry) <= this.#state.clock();
    if (isPurged) return this.#refuse('purged');
    if (this.#state.endedKeys.hasSince(key, this.#lastEnd)) return this.#refuse('superseded');
    this.#setOver();
    const isKept = this.#state.equivalents.put(keys, home, entry, storable.vary);
    if (isKept) this.#state.counts.stores++;
    else countByWord(this.#state.counts.refusals, 'too-large');
    this.#state.collapser.clearRefusal(key);
    const status = this.#handlerStatus;
    if (refresh) return refresh.stored(entry, status);
    this.#state.refreshMarks.stored(entry.key, false);
    if (pending) this.#state.collapser.settle(key, pending, { kind: 'stored', entry, status });
  }

  /**
   * Records that the stored response of the key has ended. Fills that began before are not stored, and no more
   * requests wait for them.
   */
  #recordEnd(): void {
    const { key } = this.#request;
    const { pending } = this.#plan;
    const { collapser, endedKeys } = this.#state;
    endedKeys.add(key);
    const other = collapser.current(key);
    if (other && other !== pending) collapser.release(key, other);
  }

  /** Drops the stored response once its replacement, which is not stored, is complete. */
  #endStored(): void {
    const { exchange } = this.#request;
    const { entry: stored } = this.#plan.found;
    const { res, bodyBytes } = exchange;
    // After a 304, the body comes from the stored response and not from the app.
    const declared = this.#handlerStatus === 304 ? undefined : readHeaderText(res, 'content-length');
    if (isClientGone(exchange) || (declared !== undefined && Number(declared) !== bodyBytes)) return;
    this.#recordEnd();
    if (!stored) return;
    try {
      this.#state.entries.deleteVariant(stored.key);
      this.#state.redisLookups?.drop(stored);
    } catch (error) {
      this.#state.fault(error, 'store');
    }
  }

  #onClose(): void {
    const { exchange, key } = this.#request;
    const { pending, overrides } = this.#plan;
    const hasHead = exchange.headed || exchange.res.headersSent;
    if (!this.#isOver && hasHead && !this.#continuesForFollowers()) this.#finish('failed');
    if (this.#isOver) {
      overrides?.restore();
      return;
    }
    // The client has disconnected, but the handler may still respond. Until then, the overrides stay, so that the
    // handler sees only the inputs that the key covers. Requests wait for it no longer than `waitTimeout`.
    if (!pending || this.#streaming) return;
    const { collapser, settings } = this.#state;
    const late = guarded('fill', () => {
      if (!this.#isOver) collapser.settle(key, pending, { kind: 'failed' });
    });
    this.#timer = setTimeout(late, settings.waitTimeout * 1000).unref();
  }

  /** Whether the fill continues although its client disconnected within the body: followers wait for the rest. */
  #continuesForFollowers(): boolean {
    const { exchange, key } = this.#request;
    const { pending } = this.#plan;
    if (!pending || !this.#streaming?.followers) return false;
    const { collapser, settings } = this.#state;
    // No further request may join, because this fill may fail.
    collapser.release(key, pending);
    // A piped source stops at `unpipe`. Without one, only further writes show that the handler continues.
    exchange.res.once(
      'unpipe',
      guarded('fill', () => this.#finish('failed')),
    );
    let bytes = this.#bytes;
    const look = guarded('fill', () => {
      if (bytes === this.#bytes) this.#finish('failed');
      bytes = this.#bytes;
    });
    this.#timer = setInterval(look, settings.waitTimeout * 1000).unref();
    return true;
  }

  #refuse(reason: string): void {
    const { exchange, credential } = this.#request;
    const { found, refresh } = this.#plan;
    const { entry: stored } = found;
    const { statusCode } = exchange.res;
    // Refusals caused by one request, and temporary ones, do not prevent waiting next time.
    const failed = isFailure(reason, statusCode);
    refresh?.notStored(reason);
    if (this.#saysStored) countByWord(this.#state.counts.refusals, reason);
    this.#supersedes = isSuperseding(reason, statusCode) && this.#maySupersede();
    // A response was stored for the same URL, so this refusal applies to its client only.
    const isAlone = credential !== undefined || isForClientAlone(reason, statusCode);
    if (!failed && isAlone && (stored || this.#isMarked)) return this.#finish('refused-alone');
    const isForRequest = reason === credential || (!this.#plan.pending && this.#hasIgnoredCookie);
    const passes = failed || isForRequestAlone(reason) || isForRequest;
    this.#finish(failed ? 'failed' : 'refused', passes || this.#isPartial ? undefined : reason);
  }

  /**
   * Whether the response is valid for all clients of the key and has one to replace: a stored response, or that of a
   * concurrent fill.
   */
  #maySupersede(): boolean {
    const { key, rule, credential } = this.#request;
    const { mode, found, pending, refresh, detail } = this.#plan;
    // The handler made the whole response for a client without credentials, so it is valid for all clients of the key.
    if (!mode.whole || credential !== undefined || refresh) return false;
    const other = this.#state.collapser.current(key);
    const isBeside =
      (other !== undefined && other !== pending) ||
      rule?.collapse === false ||
      detail?.startsWith('collapse-');
    return found.entry !== undefined || isBeside === true;
  }

  /**
   * Whether a stored response of the key had failed refreshes. Another client's redirect may have dropped it since.
   */
  get #isMarked(): boolean {
    const { entries, refreshMarks } = this.#state;
    return refreshMarks.has(entries.keyFor(this.#request.key, [], this.#plan.received));
  }

  /**
   * Whether the handler responded to the client's condition or range, which shows nothing about the whole response.
   */
  get #isPartial(): boolean {
    const { req, res } = this.#request.exchange;
    return !this.#plan.mode.revalidates && isPartialResponse(req, this.#handlerStatus ?? res.statusCode);
  }

  #setOver(): void {
    this.#isOver = true;
    this.#snapshot = undefined;
    clearTimeout(this.#timer);
    clearTimeout(this.#joinTimer);
  }

  #finish(kind: 'refused' | 'refused-alone' | 'failed', refusal?: string): void {
    if (this.#isOver) return;
    this.#setOver();
    if (!this.#streaming) this.#chunks.length = 0;
    else if (this.#request.exchange.closed) this.#streaming.rescue(true);
    else this.#streaming.break();
    this.#request.exchange.offChunk(this.#capture);
    const { key } = this.#request;
    const { pending, refresh, overrides } = this.#plan;
    const { collapser, redisLookups } = this.#state;
    // A refused refresh is judged when its response is complete. It does not prevent collapsing.
    if (refresh) return kind === 'failed' ? refresh.fail() : undefined;
    // Remembered even if no request waits. Then Redis is not read next time, and the client's conditions are not
    // hidden.
    if (pending || redisLookups || overrides?.hidesConditions)
      collapser.settle(key, pending, { kind, status: this.#handlerStatus }, refusal);
  }

  #report(verdict: Storable | Refused, isRevalidated: boolean): void {
    // No client reads the headers of a background refresh, and it is not counted as a request.
    if (this.#plan.refresh) return;
    this.#saysStored = verdict.refusal === undefined;
    reportFill(this.#state, this.#request, this.#plan, {
      verdict,
      isRevalidated,
      handlerStatus: this.#handlerStatus,
    });
  }
}
