import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { type Origin, originOf } from '../cache/context.js';
import { EXPRESS } from '../cache/headers.js';
import { bringsCookie } from '../cache/hits.js';
import type { Brought, SharedTier } from '../cache/shared-tier.js';
import { exchangeOf } from '../exchange/exchange.js';
import type { StoredResponse } from '../store/entry.js';
import { Accounts } from './account.js';
import { Heads } from './heads.js';
import { Lines } from './lines.js';
import type { LaneParts } from './parts.js';
import { isForwarded, PlainRequests } from './request.js';
import { isUntouched, sendHead } from './send.js';
import { asSeenBy, type ExpressApp } from './view.js';

/** Whether a request has its answer; `inside`: not here, but the same lane may have it inside Express. */
type Answer = 'given' | 'inside' | 'none';

/**
 * Answers with what is stored, at once: without an exchange, and before Express where there is a door in front of it.
 * It takes plain requests alone, whose answer nobody else has a hand in; all others go through the middlewares, and
 * both ways lead to the same answer.
 *
 * What of an answer's head is always the same is worked out once, by the very code of the middlewares.
 */
export class Lane {
  readonly #parts: LaneParts;
  readonly #requests: PlainRequests;
  readonly #accounts: Accounts;
  readonly #heads: Heads;
  readonly #lines: Lines;
  #open = true;
  /** Of the last request that came by no proxy. */
  #origin: Origin = { scheme: '', rawHost: '', host: '' };

  constructor(parts: LaneParts) {
    this.#parts = parts;
    this.#requests = new PlainRequests(parts.state.settings);
    this.#accounts = new Accounts(parts.metrics, parts.timing);
    this.#heads = new Heads(parts);
    this.#lines = new Lines(parts);
  }

  /**
   * @param app the one that it stands in front of; absent inside it.
   * @returns unless it is `given`, nothing has happened.
   */
  answer(req: IncomingMessage, res: ServerResponse, app?: ExpressApp): Answer {
    if (!this.#open) return 'none';
    try {
      return this.#answer(req, res, app, performance.now());
    } catch (error) {
      return this.#failed(res, error) ? 'given' : 'none';
    }
  }

  /**
   * Asks what instances share for a request that `answer` has left, and answers with what comes.
   *
   * @returns `undefined` where there is nothing to ask; else whether it has answered.
   */
  ask(req: IncomingMessage, res: ServerResponse, app: ExpressApp): Promise<boolean> | undefined {
    const { hits, state } = this.#parts;
    const { shared } = state;
    if (!this.#open || !shared || !this.#requests.has(req) || !isUntouched(res)) return undefined;
    try {
      const startedAt = performance.now();
      const asking = hits.ask(req, this.#originFor(req, app), req.url as string);
      return asking?.then((brought) => this.#answerLater(req, res, app, startedAt, brought, shared));
    } catch (error) {
      this.#failed(res, error);
      return undefined;
    }
  }

  #answerLater(
    req: IncomingMessage,
    res: ServerResponse,
    app: ExpressApp,
    startedAt: number,
    brought: Brought,
    shared: SharedTier,
  ): boolean {
    try {
      const now = performance.now();
      if (this.#open && this.#answer(req, res, app, startedAt, now, brought.entry) === 'given') return true;
      // The time that has passed is part of the answer's.
      exchangeOf(req, res, startedAt).note(shared, brought);
      return false;
    } catch (error) {
      return this.#failed(res, error);
    }
  }

  /** As `originOf`; where no proxy has a say, at less cost. */
  #originFor(req: IncomingMessage, app: ExpressApp | undefined): Origin {
    if (isForwarded(req)) return originOf(app ? asSeenBy(app, req) : req);
    const rawHost = req.headers.host ?? '';
    const scheme = (req.socket as { encrypted?: boolean }).encrypted ? 'https' : 'http';
    const last = this.#origin;
    if (last.rawHost === rawHost && last.scheme === scheme) return last;
    return (this.#origin = { scheme, rawHost, host: rawHost });
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
    now = startedAt,
    brought?: StoredResponse,
  ): Answer {
    if (!this.#requests.has(req) || !isUntouched(res)) return 'none';
    const { hits, state, timing } = this.#parts;
    const target = req.url as string;
    const origin = this.#originFor(req, app);
    const entry = brought ?? hits.find(req, origin, target);
    if (!entry) return 'none';
    const kind = this.#heads.kindOf(entry, target);
    if (!kind.isServed) return 'none';
    if (app && !kind.isPublic) return 'inside';
    if (bringsCookie(req, kind.rule)) return 'none';
    const isByExpress = app ? app.enabled('x-powered-by') : hasExpressHeader(res);
    if (isByExpress === undefined) return 'none';
    const freshness = hits.freshness(entry, kind.rule, now);
    const head = freshness && this.#heads.find(req, entry, kind);
    if (!head) return 'none';
    const body = head.coded ? state.encodings.find(entry, head.coded.coding, head.coded.effort) : entry.body;
    if (!body) return 'none';

    state.counts.hits++;
    if (!brought) state.counts.memory.hits++; // else it was asked for, and missed
    if (app) state.frontDoor.hits++;
    const requestId = timing?.idOf(req);
    const text = this.#lines.of(entry, head, { origin, freshness, isByExpress, requestId, startedAt });
    const isBodyless = head.status === 304 || head.status === 204;
    sendHead(res, head.status, text, isBodyless ? undefined : body.length);
    if (isBodyless || req.method === 'HEAD') res.end();
    else res.end(body);
    this.#accounts.ended({ req, res, app, template: entry.template, requestId, startedAt });
    return 'given';
  }
}

/** Whether Express's own header is set already; `undefined` where others are, which have to go with the answer. */
function hasExpressHeader(res: ServerResponse): boolean | undefined {
  const names = res.getHeaderNames();
  if (names.length === 0) return false;
  return names.length === 1 && res.getHeader('x-powered-by') === EXPRESS ? true : undefined;
}
