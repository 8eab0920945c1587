import { HeadOrder } from '../../exchange/exchange.js';
import { readHeaderText } from '../../exchange/headers.js';
import { onDestroy } from '../../exchange/on-destroy.js';
import { reportFault } from '../../exchange/run-listeners.js';
import { pathOf } from '../../http/request-target.js';
import { guarded } from '../../runtime/guard.js';
import { copyToOwnMemory } from '../../runtime/owned-memory.js';
import {
  hostOf,
  type ResponseHead,
  type StoredField,
  type StoredResponse,
} from '../../store/stored-response.js';
import { StreamingFill } from '../collapse/streaming-fill.js';
import { readHints } from '../hints.js';
import { addGroupTags } from '../invalidate/cache-groups.js';
import { cameWithBody, findCredential } from '../request/bypass.js';
import type { MiddlewareRequest } from '../request/cache-request.js';
import { isKeyedByHeaders } from '../request/key.js';
import { isSameOrigin, originOf } from '../request/origin.js';
import { evaluateTags } from '../request/rule-functions.js';
import { visibleKey, writeCacheStatus } from '../serve/cache-status.js';
import { answerConditions, applyNotModified, finishHeaders, replaceError } from '../serve/serve-stored.js';
import { hasUpstreamHeaders, selectStoredHeaders, upstreamHeaders } from '../serve/stored-headers.js';
import type { CacheState } from '../state.js';
import type { FillPlan } from './fill-plan.js';
import { generateEtag } from './generated-etag.js';
import { compareWithHead, makeStale } from './head-revalidation.js';
import { isClientGone, mayBeIncomplete } from './incomplete.js';
import { isAnsweredByOtherRoute } from './matched-route.js';
import { warnOfRuleChange } from './received-headers.js';
import {
  captureDecided,
  type DecidedHeaders,
  decideStorable,
  findLateRefusal,
  type Refused,
  type Storable,
} from './storable.js';
import { isForClientAlone, isSuperseding } from './superseding.js';

interface Snapshot {
  readonly storable: Storable;
  readonly status: number;
  readonly headers: readonly StoredField[];
  readonly removed: readonly string[];
  readonly date: string;
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
  readonly declaredLength: number | undefined;
  /** When the headers went, on the cache's clock: what the age is counted from. */
  readonly at: number;
  /** Nobody was there any more when the headers went. */
  readonly gone: boolean;
  /** The stored response that a 304 has confirmed: its body goes on. */
  readonly confirmed: StoredResponse | undefined;
}

const HEADER_CHANGED: Refused = { refusal: 'header-changed' };

/** Refusals after which somebody else should try; a 5xx is one too. */
const FAILURES: ReadonlySet<string> = new Set(['broken', 'length', 'purged', 'superseded', 'fault']);

/** Refusals for the sake of the request; that of its credential is another. */
const OF_THE_REQUEST: ReadonlySet<string> = new Set(['head', 'range', 'request-no-store']);

/** Statuses that answer a condition or a range. */
const PARTIAL: ReadonlySet<number> = new Set([206, 304, 412, 416]);
const PRECONDITIONS = ['if-none-match', 'if-modified-since', 'range'] as const;

/** Records one response while it goes out, and stores it when it turns out to be whole and storable. */
export class Fill {
  readonly #state: CacheState;
  readonly #request: MiddlewareRequest;
  readonly #plan: FillPlan;
  readonly #stamp: number;
  /** The last end of a stored response when the fill began. */
  readonly #lastEnd: number;
  readonly #before: ReadonlyMap<string, string>;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #snapshot: Snapshot | undefined;
  #judged: DecidedHeaders | undefined;
  #over = false;
  /** The answer takes the place of the stored response, once it is complete, though it is not stored. */
  #supersedes = false;
  #running: StreamingFill | undefined;
  /** The handler's status. */
  #answered: number | undefined;
  readonly #capture = (chunk: Buffer) => this.#onChunk(chunk);
  /** Ends what the client has left. It holds the request and its response, so it goes as soon as the fill is over. */
  #timer: NodeJS.Timeout | undefined;
  /** Ends the time in which others may follow the body. */
  #joinTimer: NodeJS.Timeout | undefined;

  constructor(state: CacheState, request: MiddlewareRequest, plan: FillPlan) {
    this.#state = state;
    this.#request = request;
    this.#plan = plan;
    // Before the handler starts: whatever is purged from here on may concern what it is about to read.
    this.#stamp = state.log.position;
    this.#lastEnd = state.endedKeys.position;
    const { exchange } = request;
    this.#before = upstreamHeaders(exchange.res);
    exchange.onHead(() => this.#onHead(), HeadOrder.capture);
    exchange.onHead(() => this.#onSeal(), HeadOrder.seal);
    exchange.onSent(() => this.#onSent());
    exchange.onEnd(() => this.#onEnd());
    exchange.onClose(() => this.#onClose());
    // No answer will come, so nobody is to wait for one.
    if (plan.pending) onDestroy(exchange, () => this.#finish('failed'));
  }

  /** Leaves the response alone from now on: a `cache.route()` beside the handler has taken over. */
  cancel(): void {
    this.#plan.overrides?.restore();
    this.#finish('refused');
  }

  /**
   * Answers the client by `serve`, since the handler takes too long. What the handler does from now on is ignored. The
   * fill stays pending: requests that wait for it get the stale response too, each at its own time.
   */
  giveUp(serve: () => void): void {
    const { exchange } = this.#request;
    const { res } = exchange;
    if (this.#over) return;
    this.#setOver();
    // The client's own conditions are answered.
    this.#plan.overrides?.restore();
    exchange.lock();
    exchange.respond(() => {
      this.#removeAppHeaders();
      // An error handler that comes too late destroys the connection, with whatever else is under way on it.
      if (exchange.req.httpVersionMajor < 2) res.setHeader('Connection', 'close');
      serve();
    });
  }

  /** Removes the headers that the app has set since the request met the cache. */
  #removeAppHeaders(): void {
    const { res } = this.#request.exchange;
    for (const name of res.getHeaderNames()) if (!this.#before.has(name)) res.removeHeader(name);
  }

  #onHead(): void {
    if (this.#over) return;
    const { exchange, key, rule } = this.#request;
    const { mode, found, met, overrides, refresh } = this.#plan;
    const { res } = exchange;
    // Sending the headers may have failed, and the app answers anew.
    this.#snapshot = undefined;
    exchange.offChunk(this.#capture);
    const { revalidates, compares } = mode;
    const standIn = refresh ? undefined : mode.standIn;
    this.#answered = res.statusCode;
    this.#state.rangeUnits.note(key, met.headers.range);
    if (standIn && res.statusCode >= 500 && res.statusCode < 600) {
      this.#refuse('status');
      const status = { fwd: found.forward, key: this.#shownKey };
      replaceError(this.#state, exchange, standIn, rule, this.#before, status);
      return;
    }
    const isConfirmed = (revalidates && res.statusCode === 304) || this.#isConfirmedByHead();
    const confirmed = isConfirmed ? (revalidates ?? compares) : undefined;
    if (confirmed) applyNotModified(exchange, confirmed);
    // It replaces a stored response only by a 2xx: a redirect may be meant for the refresh alone.
    const isWrong = refresh && (res.statusCode < 200 || res.statusCode > 299);
    const verdict = isWrong ? { refusal: 'status' } : this.#judge(confirmed ? 'GET' : exchange.req.method);
    if (verdict.refusal === undefined) {
      const declared = readHeaderText(res, 'content-length');
      const keepsCookies = this.#state.settings.profile === 'rfc9111';
      const { headers, removed } = selectStoredHeaders(
        res,
        this.#before,
        verdict.omitted,
        keepsCookies,
        this.#state.storedNames,
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
        gone: isClientGone(exchange),
        confirmed,
      };
      exchange.onChunk(this.#capture);
    }
    if (overrides) answerConditions(exchange, overrides.conditions);
    this.#report(verdict, confirmed !== undefined);
    if (verdict.refusal !== undefined) this.#refuse(verdict.refusal);
  }

  #judge(method: string | undefined): Storable | Refused {
    const { exchange, rule, origin, pattern, directives, target } = this.#request;
    const { met, refresh } = this.#plan;
    const { res, req } = exchange;
    const { settings } = this.#state;
    const verdict = decideStorable(res, {
      settings,
      rule,
      hints: readHints(res),
      // A middleware may have set one since, made of what is none to us: a token in the query, say.
      credential: this.#request.credential ?? findCredential(req, rule, settings),
      method,
      crossOrigin: req.headers.origin !== undefined,
      range: met.headers.range ?? req.headers.range,
      length: exchange.length,
      requested: { origin, target, rule },
      changed: cameWithBody(req) ? 'body' : this.#ruleChange(),
      broken: mayBeIncomplete(exchange),
      otherRoute:
        isAnsweredByOtherRoute(pattern, exchange) || refresh?.isOtherRoute(exchange.template) === true,
      otherOrigin: !isSameOrigin(origin, originOf(exchange.arrived)),
      noStoreAsked: directives?.noStore === true && !refresh,
      now: Date.now(),
    });
    return verdict.refusal === undefined && this.#isHeaderChanged(verdict) ? HEADER_CHANGED : verdict;
  }

  /** Whether the response was made for a request with other headers than its key holds. */
  #isHeaderChanged({ vary }: Storable): boolean {
    const { rule, exchange } = this.#request;
    const { met, overrides } = this.#plan;
    if (vary.length === 0 && !isKeyedByHeaders(rule)) return false;
    return met.isChanged(vary, rule, overrides?.headersWithout() ?? exchange.req.headers);
  }

  /** Whether the rule would make another key by now, or none. */
  #ruleChange(): string | undefined {
    const { rule, context, pattern } = this.#request;
    const { met, refresh } = this.#plan;
    const change = met.ruleChange(this.#state, rule, context);
    if (change && rule && !refresh) warnOfRuleChange(change, rule, pattern);
    return change;
  }

  /** Only an answer that might be stored itself, were it one to a GET, has a say. */
  #isConfirmedByHead(): boolean {
    const { compares } = this.#plan.mode;
    const { res, req } = this.#request.exchange;
    if (!compares || req.method !== 'HEAD' || res.statusCode !== 200) return false;
    if (!this.#state.entries.holds(compares) || this.#judge('GET').refusal !== undefined) return false;
    const word = compareWithHead(this.#state, res, compares);
    if (word === 'differs') {
      makeStale(this.#state, compares);
      this.#noteEnd();
    }
    return word === 'same';
  }

  #onSeal(): void {
    const { res } = this.#request.exchange;
    finishHeaders(res, this.#request.rule);
    // Node would add it unseen; and only a response that has headers of its own keeps those that a patched
    // writeHead hands to Node where they can be seen.
    if (this.#snapshot && res.sendDate && !res.hasHeader('date')) res.setHeader('Date', this.#snapshot.date);
    if (this.#snapshot) this.#judged = captureDecided(res, this.#state.settings);
  }

  #onSent(): void {
    if (!this.#snapshot || !this.#judged) return;
    const veto =
      findLateRefusal(this.#request.exchange.res, this.#judged, this.#state.settings) ??
      this.#ruleChange() ??
      (this.#isHeaderChanged(this.#snapshot.storable) ? HEADER_CHANGED.refusal : undefined);
    if (veto) this.#refuse(veto);
    else this.#offer(this.#snapshot);
  }

  /** Those who wait are served as the body comes from now on, unless it comes at once. */
  #offer(snapshot: Snapshot): void {
    const { exchange, key, keys } = this.#request;
    const { pending } = this.#plan;
    const { declaredLength: length, status, confirmed } = snapshot;
    // Without a declared length it may yet turn out that it can't be kept, and what then of those who follow.
    if (!pending || !length || status === 204 || confirmed || exchange.isWhole) return;
    const begin = guarded('fill', () => {
      if (this.#snapshot !== snapshot) return;
      const { collapser, equivalents, settings } = this.#state;
      const home = equivalents.homeFor(keys, snapshot.storable.variance);
      const head = this.#headOf(snapshot, home, []);
      // Only here: V8 is slow to make an object literal with a getter, and stored responses derive their host themselves.
      Object.defineProperty(head, 'host', { get: () => hostOf(head), enumerable: true });
      this.#running = new StreamingFill(head, length, this.#chunks);
      pending.begin(this.#running);
      // Whoever follows depends on the leader's pace, which may be slow or come to a halt: nobody joins late.
      const late = guarded('fill', () => {
        collapser.release(key, pending);
        if (exchange.res.writableNeedDrain) this.#running?.rescue(false);
      });
      this.#joinTimer = setTimeout(late, settings.waitTimeout * 1000).unref();
      exchange.onEnd(() => clearTimeout(this.#joinTimer));
    });
    setImmediate(begin);
  }

  #onChunk(chunk: Buffer): void {
    this.#bytes += chunk.length;
    const { declaredLength, confirmed } = this.#snapshot!;
    if (this.#bytes > this.#state.settings.maxEntryBytes) return this.#refuse('too-large');
    if (declaredLength !== undefined && this.#bytes > declaredLength && !confirmed) {
      return this.#refuse('length');
    }
    this.#chunks.push(chunk);
    this.#running?.wake();
  }

  #onEnd(): void {
    this.#plan.overrides?.restore();
    if (this.#supersedes) this.#endStored();
    const snapshot = this.#snapshot;
    if (this.#over) return;
    // Ended with a head that was never ours to see, such as that of a 101: no entry comes of it.
    if (!snapshot) return this.#refuse('status');
    // When all that was declared has come, it is whole, whoever has left (RFC 9112 §8).
    const isCounted = snapshot.declaredLength === this.#bytes;
    if (!snapshot.gone && isClientGone(this.#request.exchange) && !isCounted) return this.#refuse('broken');
    // Node ends such a response as if it were whole; it is not.
    if (!snapshot.confirmed && snapshot.declaredLength !== undefined && !isCounted) {
      return this.#refuse('length');
    }
    try {
      // What a body was streamed for may be known only after its headers have gone.
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
    return {
      key: this.#state.entries.keyFor(home, storable.vary, this.#plan.met),
      stamp: this.#stamp,
      since: this.#stamp,
      variance: storable.variance,
      tags,
      url: target,
      path: pathOf(target),
      vary: storable.vary,
      status: snapshot.status,
      headers: snapshot.headers,
      removed: snapshot.removed,
      etag: snapshot.etag ?? snapshot.confirmed?.etag,
      ownEtag: snapshot.etag !== undefined,
      lastModified: snapshot.lastModified,
      date: snapshot.date,
      storedAt: snapshot.at,
      initialAge: storable.initialAge,
      freshUntil: snapshot.at + (storable.lifetime - storable.initialAge) * 1000,
      reuse: storable.reuse,
      explicitlyShared: storable.explicitlyShared,
      anyOrigin: storable.anyOrigin,
      upstream: hasUpstreamHeaders(this.#before) || undefined,
      template: exchange.template,
    };
  }

  #store(snapshot: Snapshot): void {
    const { exchange, key, keys, rule, context } = this.#request;
    const { pending, refresh } = this.#plan;
    const { confirmed, storable } = snapshot;
    const body = confirmed?.body ?? copyToOwnMemory(...this.#chunks);
    // Whole it is, whether or not it is kept.
    this.#running?.complete(body);
    const tags = addGroupTags(evaluateTags(rule, context, readHints(exchange.res)), storable.groups, context);
    const home = this.#state.equivalents.homeFor(keys, storable.variance);
    const head = this.#headOf(snapshot, home, tags);
    const etag = head.etag ?? generateEtag(body);
    const entry = this.#state.entries.compact(head, { body, encoded: confirmed?.encoded, etag });
    const isPurged = this.#state.log.limit(entry) <= this.#state.clock();
    if (isPurged) return this.#refuse('purged');
    if (this.#state.endedKeys.hasSince(key, this.#lastEnd)) return this.#refuse('superseded');
    this.#setOver();
    this.#state.equivalents.put(keys, home, entry, storable.vary);
    this.#state.counts.stores++;
    this.#state.collapser.clearRefusal(key);
    const status = this.#answered;
    if (refresh) return refresh.stored(entry, status);
    this.#state.refreshMarks.stored(entry.key, false);
    if (pending) this.#state.collapser.settle(key, pending, { kind: 'stored', entry, status });
  }

  /** What was stored for the key has ended. Fills that began before are not stored, and nobody else waits for them. */
  #noteEnd(): void {
    const { key } = this.#request;
    const { pending } = this.#plan;
    const { collapser, endedKeys } = this.#state;
    endedKeys.note(key);
    const other = collapser.current(key);
    if (other && other !== pending) collapser.release(key, other);
  }

  /** The response that was not stored is complete. */
  #endStored(): void {
    const { exchange } = this.#request;
    const { entry: stored } = this.#plan.found;
    const { res, bodyBytes } = exchange;
    // The body of a confirmed response is not the app's.
    const declared = this.#answered === 304 ? undefined : readHeaderText(res, 'content-length');
    if (isClientGone(exchange) || (declared !== undefined && Number(declared) !== bodyBytes)) return;
    this.#noteEnd();
    if (!stored) return;
    try {
      this.#state.entries.deleteVariant(stored.key);
      this.#state.shared?.drop(stored);
    } catch (error) {
      this.#state.fault(error, 'store');
    }
  }

  #onClose(): void {
    const { exchange, key } = this.#request;
    const { pending, overrides } = this.#plan;
    const hasHead = exchange.headed || exchange.res.headersSent;
    if (!this.#over && hasHead && !this.#goesOn()) this.#finish('failed');
    if (this.#over) {
      overrides?.restore();
      return;
    }
    // The client has left; the handler may still answer, and is to see no more than the key covers until then.
    // Nobody should wait for that much longer.
    if (!pending || this.#running) return;
    const { collapser, settings } = this.#state;
    const late = guarded('fill', () => {
      if (!this.#over) collapser.settle(key, pending, { kind: 'failed' });
    });
    this.#timer = setTimeout(late, settings.waitTimeout * 1000).unref();
  }

  /** The client has left within the body, but others follow: the handler may still bring the rest. */
  #goesOn(): boolean {
    const { exchange, key } = this.#request;
    const { pending } = this.#plan;
    if (!pending || !this.#running?.followers) return false;
    const { collapser, settings } = this.#state;
    // Nobody joins what may well come to nothing.
    collapser.release(key, pending);
    // A source that was piped has been let go, and without one the handler shows that it goes on by doing so.
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
    // What was refused for the request's sake, or passes, is no reason not to wait next time.
    const failed = FAILURES.has(reason) || (reason === 'status' && statusCode >= 500);
    refresh?.notStored(reason);
    this.#supersedes = isSuperseding(reason, statusCode) && this.#maySupersede();
    // A response was stored for the same URL, so this refusal is its client's own matter.
    const isAlone = credential !== undefined || isForClientAlone(reason, statusCode);
    if (!failed && isAlone && (stored || this.#isMarked)) return this.#finish('refused-alone');
    const passes = failed || OF_THE_REQUEST.has(reason) || reason === credential;
    this.#finish(failed ? 'failed' : 'refused', passes || this.#isPartial ? undefined : reason);
  }

  /** Whether the answer is the one for all clients of the key, and another is stored, or may be by a fill beside this. */
  #maySupersede(): boolean {
    const { key, rule, credential } = this.#request;
    const { mode, found, pending, refresh, detail } = this.#plan;
    // The handler made the whole response for a client without credentials, so it is the one for all clients of the key.
    if (!mode.whole || credential !== undefined || refresh) return false;
    const other = this.#state.collapser.current(key);
    const isBeside =
      (other !== undefined && other !== pending) ||
      rule?.collapse === false ||
      detail?.startsWith('collapse-');
    return found.entry !== undefined || isBeside === true;
  }

  /** A response was stored before and refreshed in vain, though another client's redirect may have dropped it. */
  get #isMarked(): boolean {
    const { entries, refreshMarks } = this.#state;
    return refreshMarks.has(entries.keyFor(this.#request.key, [], this.#plan.met));
  }

  /** The handler has answered a condition or a range of the client: that says nothing of the whole response. */
  get #isPartial(): boolean {
    const { req, res } = this.#request.exchange;
    if (this.#plan.mode.revalidates || !PARTIAL.has(this.#answered ?? res.statusCode)) return false;
    return PRECONDITIONS.some((name) => req.headers[name] !== undefined);
  }

  #setOver(): void {
    this.#over = true;
    this.#snapshot = undefined;
    clearTimeout(this.#timer);
    clearTimeout(this.#joinTimer);
  }

  #finish(kind: 'refused' | 'refused-alone' | 'failed', refusal?: string): void {
    if (this.#over) return;
    this.#setOver();
    if (!this.#running) this.#chunks.length = 0;
    else if (this.#request.exchange.closed) this.#running.rescue(true);
    else this.#running.break();
    this.#request.exchange.offChunk(this.#capture);
    const { key } = this.#request;
    const { pending, refresh, overrides } = this.#plan;
    const { collapser, shared } = this.#state;
    // A refused refresh is judged once its answer is complete, and is no reason not to collapse clients' requests.
    if (refresh) return kind === 'failed' ? refresh.fail() : undefined;
    // Without others to wait, it is remembered so that Redis need not be asked next time, nor the client's conditions
    // be hidden.
    if (pending || shared || overrides?.hidesConditions)
      collapser.settle(key, pending, { kind, status: this.#answered }, refusal);
  }

  #report(verdict: Storable | Refused, confirmed: boolean): void {
    const { exchange, credential } = this.#request;
    const { found, detail, refresh } = this.#plan;
    // Nobody reads the headers of a background refresh, and it is no client's to count.
    if (refresh) return;
    try {
      const key = this.#shownKey;
      if (verdict.refusal !== undefined && verdict.refusal === credential) {
        writeCacheStatus(this.#state, exchange, 'BYPASS', { fwd: 'bypass', key, detail: verdict.refusal });
        return;
      }
      const isStored = verdict.refusal === undefined;
      writeCacheStatus(this.#state, exchange, confirmed ? 'REVALIDATED' : 'MISS', {
        fwd: found.forward,
        // RFC 9211 §2.3: where it is not what the visitor gets.
        fwdStatus: this.#answered === exchange.res.statusCode ? undefined : this.#answered,
        stored: isStored,
        collapsed: detail?.startsWith('collapse-') ? false : undefined,
        ttl: isStored ? Math.floor(verdict.lifetime - verdict.initialAge) : undefined,
        key,
        detail: verdict.refusal ?? detail,
      });
    } catch (error) {
      reportFault('cache status', error);
    }
  }

  get #shownKey(): string | undefined {
    return visibleKey(this.#state, this.#request);
  }
}
