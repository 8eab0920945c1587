import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { DirectOrigins, isForwarded, type Origin, originOf } from '../cache/request/origin.js';
import { countResult } from '../cache/serve/cache-status.js';
import { EXPRESS_HEADERS } from '../cache/serve/stored-headers.js';
import { countMemoryLookup } from '../cache/state.js';
import type { RedisLookup } from '../cache/storage/redis-tier-lookups.js';
import { exchangeOf } from '../exchange/exchange.js';
import type { CacheStatus } from '../http/cache-status.js';
import type { StoredResponse } from '../store/stored-response.js';
import type { FastPathDependencies } from './dependencies.js';
import { DynamicFields } from './dynamic-fields.js';
import { Eligibility } from './eligibility.js';
import { type ExpressApp, isFirst, viewAsExpress } from './express-view.js';
import { hasUncoveredCookie } from './fast-lookup.js';
import { HeadCache } from './head-cache.js';
import { Instrumentation } from './instrumentation.js';
import { isUntouched, sendRaw } from './raw-response.js';

/**
 * Whether a request has its answer; `inside`: not here, but the same lane may have it inside Express; `absent`: it is
 * one that may be answered here, and nothing is stored for it.
 */
type FastPathResult = 'given' | 'inside' | 'absent' | 'none';

const NO_STATUS: CacheStatus = Object.freeze({});

/** A request that may be answered here. */
interface FastPathRequest {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** The app that it is answered in front of; absent inside it. */
  readonly app: ExpressApp | undefined;
  /** `performance.now()` when it came. */
  readonly startedAt: number;
  readonly origin: Origin;
  /** What it is answered with has come from Redis for it. */
  readonly isBrought: boolean;
}

/**
 * Answers with what is stored, at once: without an exchange, and before Express where there is a door in front of it.
 * It takes plain requests alone, whose answer nobody else has a hand in; all others go through the middlewares, and
 * both ways lead to the same answer.
 *
 * What of an answer's head is always the same is worked out once, by the very code of the middlewares.
 */
export class FastPath {
  readonly #parts: FastPathDependencies;
  readonly #requests: Eligibility;
  readonly #accounts: Instrumentation;
  readonly #heads: HeadCache;
  readonly #lines: DynamicFields;
  #open = true;
  #hasWarned = false;
  readonly #origins = new DirectOrigins();

  constructor(parts: FastPathDependencies) {
    this.#parts = parts;
    this.#requests = new Eligibility(parts.state.settings);
    this.#accounts = new Instrumentation(parts.metrics, parts.timing);
    this.#heads = new HeadCache(parts);
    this.#lines = new DynamicFields(parts);
  }

  /**
   * @param app the one that it stands in front of; absent inside it.
   * @returns unless it is `given`, nothing has happened.
   */
  answer(req: IncomingMessage, res: ServerResponse, app?: ExpressApp): FastPathResult {
    if (!this.#open) return 'none';
    try {
      return this.#answer(req, res, app, performance.now());
    } catch (error) {
      return this.#failed(res, error) ? 'given' : 'none';
    }
  }

  /**
   * Asks what instances share for a request of which `answer` has just found nothing stored, and answers with what
   * comes.
   *
   * @param otherwise called, later, if that was nothing.
   * @returns whether there is anything to ask.
   */
  ask(req: IncomingMessage, res: ServerResponse, app: ExpressApp, otherwise: () => void): boolean {
    const { hits, state } = this.#parts;
    if (!this.#open || !state.shared) return false;
    try {
      const startedAt = performance.now();
      const origin = this.#originOf(req, app);
      return hits.askRedis(req, origin, req.url as string, (entry) => {
        if (!this.#answerLater({ req, res, app, startedAt, origin, isBrought: true }, entry)) otherwise();
      });
    } catch (error) {
      this.#failed(res, error);
      return false;
    }
  }

  #answerLater(arrival: FastPathRequest, entry: StoredResponse | undefined): boolean {
    const { req, res, startedAt } = arrival;
    const { shared } = this.#parts.state;
    try {
      const mayServe = entry && this.#open && isUntouched(res);
      if (mayServe && this.#serve(arrival, entry, performance.now()) === 'given') return true;
      // The time that has passed is part of the answer's.
      const brought: RedisLookup = { askedAt: startedAt, entry };
      if (shared) exchangeOf(req, res, startedAt).setData(shared, brought);
      return false;
    } catch (error) {
      return this.#failed(res, error);
    }
  }

  #originOf(req: IncomingMessage, app: ExpressApp | undefined): Origin {
    if (isForwarded(req)) return originOf(app ? viewAsExpress(app, req) : req);
    return this.#origins.originOf(req);
  }

  /** @returns whether nobody else can answer any more. */
  #failed(res: ServerResponse, error: unknown): boolean {
    this.#parts.state.fault(error, 'front');
    // Half an answer is none.
    if (res.headersSent) res.destroy();
    return res.headersSent;
  }

  /** There is a door in front of the app. */
  opened(): void {
    this.#parts.state.frontDoor.isOpen = true;
  }

  /** Warns once where hotpath is not the first middleware: those before it may change headers of the request. */
  #isFirst(app: ExpressApp): boolean {
    if (isFirst(app, this.#parts.middleware)) return true;
    if (!this.#hasWarned) {
      this.#hasWarned = true;
      process.emitWarning(
        'hotpath: another middleware or route is mounted before hotpath and may change request headers, so responses ' +
          'that depend on request headers (`Vary`, `vary.headers`, `vary.cookies`) are not served at the front door; ' +
          'mount hotpath first: app.use(perf)',
        { code: 'HOTPATH_NOT_FIRST', type: 'HotpathWarning' },
      );
    }
    return false;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** From now on it answers nothing. Idempotent. */
  close(): void {
    this.#open = false;
  }

  #answer(
    req: IncomingMessage,
    res: ServerResponse,
    app: ExpressApp | undefined,
    startedAt: number,
  ): FastPathResult {
    if (!this.#requests.accepts(req) || !isUntouched(res)) return 'none';
    const { hits, state } = this.#parts;
    const origin = this.#originOf(req, app);
    const entry = hits.find(req, origin, req.url as string);
    if (!entry) return 'absent';
    const arrival = { req, res, app, startedAt, origin, isBrought: false };
    const answer = this.#serve(arrival, entry, startedAt);
    if (answer === 'given') countMemoryLookup(state.counts, true);
    return answer;
  }

  /** @param now on the clock of the cache. Milliseconds. */
  #serve(arrival: FastPathRequest, entry: StoredResponse, now: number): FastPathResult {
    const { req, res, app, startedAt, origin, isBrought } = arrival;
    const { hits, state, timing } = this.#parts;
    const kind = this.#heads.kindOf(entry, req.url as string);
    if (!kind.isServed) return 'none';
    if (app && !kind.isPublic) return 'inside';
    if (app && kind.dependsOnHeaders && !this.#isFirst(app)) return 'inside';
    if (hasUncoveredCookie(req, kind.rule)) return 'none';
    const isByExpress = app ? app.enabled('x-powered-by') : hasExpressHeader(res);
    if (isByExpress === undefined) return 'none';
    const freshness = hits.freshness(entry, kind.rule, now);
    const head = freshness && this.#heads.find(req, entry, kind);
    if (!head) return 'none';
    const body = head.coded ? state.encodings.find(entry, head.coded.coding, head.coded.effort) : entry.body;
    if (!body) return 'none';

    countResult(state.counts, 'HIT', NO_STATUS);
    if (app) state.frontDoor.hits++;
    const requestId = timing?.idOf(req);
    const text = this.#lines.of(entry, head, { origin, freshness, isByExpress, requestId, startedAt });
    const isBodyless = head.status === 304 || head.status === 204;
    sendRaw(req, res, {
      status: head.status,
      text,
      body: isBodyless ? undefined : body,
      isBrought,
    });
    this.#accounts.ended({ req, res, app, template: entry.template, requestId, startedAt });
    return 'given';
  }
}

/** Whether Express's own header is set already; `undefined` where others are, which have to go with the answer. */
function hasExpressHeader(res: ServerResponse): boolean | undefined {
  const names = res.getHeaderNames();
  if (names.length === 0) return false;
  return names.length === 1 && res.getHeader('x-powered-by') === EXPRESS_HEADERS ? true : undefined;
}
