import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { CLIENT_CLOSED_REQUEST, isComplete } from '../exchange/completion.js';
import { onConnectionClose, socketOf } from '../exchange/connection.js';
import { readTarget } from '../exchange/request-path.js';
import type { MetricsEditor } from '../middleware/metrics/middleware.js';
import type { RequestLogMiddleware } from '../middleware/request-log/middleware.js';
import type { TimingEditor } from '../middleware/timing/middleware.js';
import { guarded } from '../runtime/guard.js';
import type { StoredResponse } from '../store/stored-response.js';
import type { RequestWatch } from '../telemetry/request-watch.js';
import type { FastPathDependencies } from './dependencies.js';
import { type ExpressApp, viewAsExpress } from './express-view.js';

/** A response of the fast path. */
export interface FastResponse {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** The app behind the front door; `undefined` inside Express. */
  readonly app: ExpressApp | undefined;
  readonly entry: StoredResponse;
  /** Of its body. Bytes. */
  readonly sentBytes: number;
  /** The body was sent: neither a 304 nor a response to HEAD. */
  readonly hasBody: boolean;
  readonly requestId: string | undefined;
  /** `performance.now()` when the request came. */
  readonly startedAt: number;
}

/** Counts and times the responses of the fast path, as the middlewares do for all others. */
export class Instrumentation {
  readonly #metrics: MetricsEditor | undefined;
  readonly #timing: TimingEditor | undefined;
  readonly #watch: RequestWatch;
  readonly #log: RequestLogMiddleware | undefined;
  readonly #slowFrom: number;

  constructor({ metrics, timing, watch, log }: FastPathDependencies) {
    this.#metrics = metrics;
    this.#timing = timing;
    this.#watch = watch;
    this.#log = log;
    this.#slowFrom = timing?.slowFrom ?? Number.POSITIVE_INFINITY;
  }

  /** Called after `res.end`. */
  ended(response: FastResponse): void {
    const { req, res, entry, startedAt } = response;
    this.#watch.startedFast();
    const sentAt = performance.now();
    // The common case: the kernel has taken all bytes, so there is nothing to wait for.
    if (!res.writableFinished || (req.socket as Socket | null)?.destroyed !== false)
      return this.#follow(response, sentAt);
    const seconds = (sentAt - startedAt) / 1000;
    this.#metrics?.answered(req.method as string, entry.template, res.statusCode, seconds, response);
    this.#watch.servedFast(response, sentAt, sentAt, false);
    if (this.#log) this.#logged(this.#log, response, req.socket, false);
    if (seconds >= this.#slowFrom) this.#slow(response, seconds, req.socket, false);
  }

  #follow(response: FastResponse, sentAt: number): void {
    const { req, res, entry, startedAt } = response;
    // Node caches the peer's address at the first read; after an abort it is gone.
    const socket = socketOf(req, res);
    void socket?.remoteAddress;
    const finished = this.#metrics?.begun(req.method as string, response);
    let isWhole = false;
    // Before Node's own listener, which detaches the socket.
    res.prependOnceListener(
      'finish',
      guarded('front door', () => {
        isWhole = isComplete(req, res, socket);
      }),
    );
    let isClosed = false;
    let forget: (() => void) | undefined;
    const onClose = guarded('front door', () => {
      if (isClosed) return;
      isClosed = true;
      forget?.();
      const now = performance.now();
      const seconds = (now - startedAt) / 1000;
      this.#watch.servedFast(response, sentAt, now, !isWhole);
      finished?.(entry.template, isWhole ? res.statusCode : CLIENT_CLOSED_REQUEST, seconds);
      if (this.#log) this.#logged(this.#log, response, socket, !isWhole);
      if (seconds >= this.#slowFrom) this.#slow(response, seconds, socket, !isWhole);
    });
    res.once('close', onClose);
    // A pipelined response without a socket gets no `close` event when the connection ends.
    if (res.socket === null && socket) forget = onConnectionClose(socket, onClose);
  }

  #logged(
    log: RequestLogMiddleware,
    { req, res, app, entry, sentBytes, requestId, startedAt }: FastResponse,
    socket: Socket | undefined,
    aborted: boolean,
  ): void {
    log.ended({
      req: app ? viewAsExpress(app, req) : req,
      socket,
      target: req.url as string,
      requestId,
      route: entry.template,
      status: aborted ? CLIENT_CLOSED_REQUEST : res.statusCode,
      aborted,
      startedAt,
      responseBytes: sentBytes,
      cache: 'HIT',
      isOfOperators: false,
    });
  }

  #slow(
    { req, res, app, entry, requestId }: FastResponse,
    seconds: number,
    socket: Socket | undefined,
    aborted: boolean,
  ): void {
    const { path } = readTarget(req.url as string);
    const seen = app ? viewAsExpress(app, req) : req;
    const ended = { req: seen, res, socket, path, template: entry.template, aborted };
    this.#timing?.slow(ended, seconds, requestId);
  }
}
