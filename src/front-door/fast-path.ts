import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { DirectOrigins, isForwarded, type Origin, originOf } from '../cache/request/origin.js';
import { countResult } from '../cache/serve/cache-status.js';
import { EXPRESS_HEADERS } from '../cache/serve/stored-headers.js';
import { countMemoryLookup } from '../cache/state.js';
import type { RedisLookup } from '../cache/storage/redis-tier-lookups.js';
import { cacheEvents } from '../events/channels.js';
import { exchangeOf } from '../exchange/exchange.js';
import type { CacheStatus } from '../http/cache-status.js';
import { warnOnce } from '../runtime/warn.js';
import type { StoredResponse } from '../store/stored-response.js';
import type { FastPathDependencies } from './dependencies.js';
import { DynamicFields } from './dynamic-fields.js';
import { Eligibility } from './eligibility.js';
import { type ExpressApp, isFirst, viewAsExpress } from './express-view.js';
import { hasUncoveredCookie } from './fast-lookup.js';
import { HeadCache } from './head-cache.js';
import { Instrumentation } from './instrumentation.js';
import { hasEndListeners, sendPlain, sendRaw } from './raw-response.js';
import { SkippedResponses } from './skipped-responses.js';

type FastPathResult =
  /** The response is sent. */
  | 'served'
  /** There is an entry, but only the fast path inside Express may serve it. */
  | 'inside'
  /** The request is eligible, and nothing is stored for it. */
  | 'absent'
  /** The middlewares must handle the request. */
  | 'none';

const NO_STATUS: CacheStatus = Object.freeze({});

/** An eligible request. */
interface FastPathRequest {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** The app behind the front door; `undefined` inside Express. */
  readonly app: ExpressApp | undefined;
  /** `performance.now()` when the request came. */
  readonly startedAt: number;
  readonly origin: Origin;
  /** The entry was read from Redis for this request. */
  readonly isFromRedis: boolean;
}

/**
 * Serves stored responses without an exchange: before Express, if a front door is attached, else as its first
 * middleware. It serves eligible requests on unpatched responses; the middlewares handle all others. Both ways give the
 * same response: the constant part of a head is prepared once, by the code of the middlewares.
 */
export class FastPath {
  readonly #parts: FastPathDependencies;
  readonly #requests: Eligibility;
  readonly #instrumentation: Instrumentation;
  readonly #heads: HeadCache;
  readonly #fields: DynamicFields;
  readonly #skipped: SkippedResponses;
  #open = true;
  readonly #origins = new DirectOrigins();

  constructor(parts: FastPathDependencies) {
    this.#parts = parts;
    this.#requests = new Eligibility(parts.state.settings);
    this.#instrumentation = new Instrumentation(parts);
    this.#heads = new HeadCache(parts);
    this.#fields = new DynamicFields(parts);
    this.#skipped = new SkippedResponses(parts.state.frontDoor);
  }

  /**
   * @param app the app behind the front door; absent inside Express.
   * @returns unless `served`, request and response are unchanged.
   */
  serve(req: IncomingMessage, res: ServerResponse, app?: ExpressApp): FastPathResult {
    if (!this.#open) return 'none';
    try {
      return this.#findAndServe(req, res, app, performance.now());
    } catch (error) {
      return this.#failed(res, error) ? 'served' : 'none';
    }
  }

  /**
   * Looks up in Redis a request for which `serve` returned `absent`, and serves the entry.
   *
   * @param otherwise called later if there is none.
   * @returns whether a lookup was started.
   */
  serveFromRedis(req: IncomingMessage, res: ServerResponse, app: ExpressApp, otherwise: () => void): boolean {
    const { hits, state } = this.#parts;
    if (!this.#open || !state.redisLookups) return false;
    try {
      const startedAt = performance.now();
      const origin = this.#originOf(req, app);
      return hits.askRedis(req, origin, req.url as string, (entry) => {
        if (!this.#serveFound({ req, res, app, startedAt, origin, isFromRedis: true }, entry)) otherwise();
      });
    } catch (error) {
      this.#failed(res, error);
      return false;
    }
  }

  #serveFound(request: FastPathRequest, entry: StoredResponse | undefined): boolean {
    const { req, res, startedAt } = request;
    const { redisLookups } = this.#parts.state;
    try {
      const mayServe = entry && this.#open && this.#skipped.mayServe(req, res, true);
      if (mayServe && this.#serveEntry(request, entry, performance.now()) === 'served') return true;
      // The lookup counts as part of the response time.
      const lookup: RedisLookup = { askedAt: startedAt, entry };
      if (redisLookups) exchangeOf(req, res, startedAt).setData(redisLookups, lookup);
      return false;
    } catch (error) {
      return this.#failed(res, error);
    }
  }

  #originOf(req: IncomingMessage, app: ExpressApp | undefined): Origin {
    if (isForwarded(req)) return originOf(app ? viewAsExpress(app, req) : req);
    return this.#origins.originOf(req);
  }

  /** @returns whether the response has begun, so that the app cannot respond. */
  #failed(res: ServerResponse, error: unknown): boolean {
    this.#parts.state.fault(error, 'front door');
    // A truncated response must not look complete.
    if (res.headersSent) res.destroy();
    return res.headersSent;
  }

  /** A front door was attached to an app. */
  opened(): void {
    this.#parts.state.frontDoor.isOpen = true;
  }

  /** Warns once if hotpath is not the first middleware: earlier ones may change request headers. */
  #isFirst(app: ExpressApp): boolean {
    if (isFirst(app, this.#parts.middleware)) return true;
    warnOnce(
      this,
      'HOTPATH_NOT_FIRST',
      () =>
        'another middleware or route is mounted before hotpath and may change request headers, so responses ' +
        'that depend on request headers (`Vary`, `vary.headers`, `vary.cookies`) are not served at the front door; ' +
        'mount hotpath first: app.use(perf)',
    );
    return false;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Passes all later requests on. Idempotent. */
  close(): void {
    this.#open = false;
  }

  #findAndServe(
    req: IncomingMessage,
    res: ServerResponse,
    app: ExpressApp | undefined,
    startedAt: number,
  ): FastPathResult {
    if (!this.#requests.accepts(req) || !this.#skipped.mayServe(req, res, app !== undefined)) return 'none';
    const { hits, state } = this.#parts;
    const origin = this.#originOf(req, app);
    const entry = hits.find(req, origin, req.url as string);
    if (!entry) return 'absent';
    const request = { req, res, app, startedAt, origin, isFromRedis: false };
    const result = this.#serveEntry(request, entry, startedAt);
    if (result === 'served') countMemoryLookup(state.counts, true);
    return result;
  }

  /** @param now milliseconds on the cache's clock. */
  #serveEntry(request: FastPathRequest, entry: StoredResponse, now: number): FastPathResult {
    const { req, res, app, startedAt, origin, isFromRedis } = request;
    const { hits, state, timing } = this.#parts;
    const group = this.#heads.groupOf(entry, req.url as string);
    if (!group.isServed) return 'none';
    if (app && !group.isPublic) return 'inside';
    if (app && group.dependsOnHeaders && !this.#isFirst(app)) return 'inside';
    if (hasUncoveredCookie(req, group.rule)) return 'none';
    const isByExpress = app ? app.enabled('x-powered-by') : hasExpressHeader(res);
    if (isByExpress === undefined) return 'none';
    const freshness = hits.freshness(entry, group.rule, now);
    const head = freshness && this.#heads.find(req, entry, group);
    if (!head) return 'none';
    const body = head.coded ? state.encodings.find(entry, head.coded.coding, head.coded.effort) : entry.body;
    if (!body) return 'none';

    countResult(state.counts, 'HIT', NO_STATUS, entry.template);
    if (app) state.frontDoor.hits++;
    const requestId = timing?.idOf(req);
    const { rule } = group;
    const values = { origin, rule, freshness, isByExpress, requestId, startedAt };
    const text = this.#fields.of(entry, head, values);
    const isBodyless = head.status === 304 || head.status === 204;
    const response = { status: head.status, text, body: isBodyless ? undefined : body, isFromRedis };
    // Before the head is sent, as the middlewares do.
    if (cacheEvents.hasSubscribers) publishHit(req, res, entry.template, app !== undefined);
    if (hasEndListeners(res)) sendPlain(req, res, response);
    else sendRaw(req, res, response);
    const hasBody = !isBodyless && req.method !== 'HEAD';
    const sentBytes = hasBody ? body.length : 0;
    this.#instrumentation.ended({ req, res, app, entry, sentBytes, hasBody, requestId, startedAt });
    return 'served';
  }
}

/** Whether `X-Powered-By` is set; `undefined` if other fields are, which the response would lose. */
function hasExpressHeader(res: ServerResponse): boolean | undefined {
  const names = res.getHeaderNames();
  if (names.length === 0) return false;
  return names.length === 1 && res.getHeader('x-powered-by') === EXPRESS_HEADERS ? true : undefined;
}

function publishHit(
  req: IncomingMessage,
  res: ServerResponse,
  route: string | undefined,
  isFrontDoor: boolean,
): void {
  cacheEvents.publish({ req, res, result: 'HIT', route, isFrontDoor });
}
