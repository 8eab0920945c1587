import type { IncomingMessage, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { reportFault } from '../exchange/fault.js';
import { CLIENT_CLOSED_REQUEST, wentOutWhole } from '../exchange/whole.js';
import type { MetricsEditor } from '../middleware/metrics.js';
import type { TimingEditor } from '../middleware/timing.js';
import { pathOf } from '../store/entry.js';
import { asSeenBy, type ExpressApp } from './view.js';

/** An answer that was given at once. */
export interface Answer {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** The app that it was given in front of; absent inside it. */
  readonly app: ExpressApp | undefined;
  readonly template: string | undefined;
  readonly requestId: string | undefined;
  /** `performance.now()` when the request came. */
  readonly startedAt: number;
}

/** Counts and times answers that were given at once, as the middlewares do for all others. */
export class Accounts {
  readonly #metrics: MetricsEditor | undefined;
  readonly #timing: TimingEditor | undefined;
  readonly #slowFrom: number;

  constructor(metrics: MetricsEditor | undefined, timing: TimingEditor | undefined) {
    this.#metrics = metrics;
    this.#timing = timing;
    this.#slowFrom = timing?.slowFrom ?? Number.POSITIVE_INFINITY;
  }

  /** Once `end` has been called. */
  ended(answer: Answer): void {
    const { req, res, template, startedAt } = answer;
    // The system has taken all of it: the common case, and nothing is left to wait for.
    if (!res.writableFinished || req.socket.destroyed) return this.#follow(answer);
    const seconds = (performance.now() - startedAt) / 1000;
    this.#metrics?.answered(req.method as string, template, res.statusCode, seconds);
    if (seconds >= this.#slowFrom) this.#slow(answer, seconds, false);
  }

  #follow(answer: Answer): void {
    const { req, res, template, startedAt } = answer;
    // Node remembers the peer's address from the first time that it is asked; after an abort it is too late.
    void req.socket.remoteAddress;
    const finished = this.#metrics?.begun(req.method as string);
    let isWhole = false;
    // Ahead of Node's own listener, which lets go of the socket.
    res.prependOnceListener('finish', () => {
      isWhole = wentOutWhole(req, res);
    });
    res.once('close', () => {
      try {
        const seconds = (performance.now() - startedAt) / 1000;
        finished?.(template, isWhole ? res.statusCode : CLIENT_CLOSED_REQUEST, seconds);
        if (seconds >= this.#slowFrom) this.#slow(answer, seconds, !isWhole);
      } catch (error) {
        reportFault('front', error);
      }
    });
  }

  #slow({ req, res, app, template, requestId }: Answer, seconds: number, aborted: boolean): void {
    const path = pathOf(req.url as string);
    const seen = app ? asSeenBy(app, req) : req;
    this.#timing?.slow({ req: seen, res, path, template, aborted }, seconds, requestId);
  }
}
