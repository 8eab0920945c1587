import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { CLIENT_CLOSED_REQUEST, isComplete } from '../exchange/completion.js';
import { onConnectionClose, socketOf } from '../exchange/connection.js';
import { readTarget } from '../exchange/request-path.js';
import type { MetricsEditor } from '../middleware/metrics/middleware.js';
import type { TimingEditor } from '../middleware/timing/middleware.js';
import { guarded } from '../runtime/guard.js';
import { type ExpressApp, viewAsExpress } from './express-view.js';

/** A response of the fast path. */
export interface FastResponse {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** The app behind the front door; `undefined` inside Express. */
  readonly app: ExpressApp | undefined;
  readonly template: string | undefined;
  readonly requestId: string | undefined;
  /** `performance.now()` when the request came. */
  readonly startedAt: number;
}

/** Counts and times the responses of the fast path, as the middlewares do for all others. */
export class Instrumentation {
  readonly #metrics: MetricsEditor | undefined;
  readonly #timing: TimingEditor | undefined;
  readonly #slowFrom: number;

  constructor(metrics: MetricsEditor | undefined, timing: TimingEditor | undefined) {
    this.#metrics = metrics;
    this.#timing = timing;
    this.#slowFrom = timing?.slowFrom ?? Number.POSITIVE_INFINITY;
  }

  /** Called after `res.end`. */
  ended(answer: FastResponse): void {
    const { req, res, template, startedAt } = answer;
    // The common case: the kernel has taken all bytes, so there is nothing to wait for.
    if (!res.writableFinished || (req.socket as Socket | null)?.destroyed !== false)
      return this.#follow(answer);
    const seconds = (performance.now() - startedAt) / 1000;
    this.#metrics?.answered(req.method as string, template, res.statusCode, seconds);
    if (seconds >= this.#slowFrom) this.#slow(answer, seconds, req.socket, false);
  }

  #follow(answer: FastResponse): void {
    const { req, res, template, startedAt } = answer;
    // Node caches the peer's address at the first read; after an abort it is gone.
    const socket = socketOf(req, res);
    void socket?.remoteAddress;
    const finished = this.#metrics?.begun(req.method as string);
    let isWhole = false;
    // Before Node's own listener, which detaches the socket.
    res.prependOnceListener(
      'finish',
      guarded('front', () => {
        isWhole = isComplete(req, res, socket);
      }),
    );
    let isClosed = false;
    let forget: (() => void) | undefined;
    const onClose = guarded('front', () => {
      if (isClosed) return;
      isClosed = true;
      forget?.();
      const seconds = (performance.now() - startedAt) / 1000;
      finished?.(template, isWhole ? res.statusCode : CLIENT_CLOSED_REQUEST, seconds);
      if (seconds >= this.#slowFrom) this.#slow(answer, seconds, socket, !isWhole);
    });
    res.once('close', onClose);
    // A pipelined response without a socket gets no `close` event when the connection ends.
    if (res.socket === null && socket) forget = onConnectionClose(socket, onClose);
  }

  #slow(
    { req, res, app, template, requestId }: FastResponse,
    seconds: number,
    socket: Socket | undefined,
    aborted: boolean,
  ): void {
    const { path } = readTarget(req.url as string);
    const seen = app ? viewAsExpress(app, req) : req;
    const ended = { req: seen, res, socket, path, template, aborted };
    this.#timing?.slow(ended, seconds, requestId);
  }
}
