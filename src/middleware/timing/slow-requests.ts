import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { slowRequestEvents } from '../../events/channels.js';
import { CLIENT_CLOSED_REQUEST } from '../../exchange/completion.js';
import type { Exchange } from '../../exchange/exchange.js';
import { isLongLived } from '../../exchange/long-lived.js';
import { callHook } from '../../runtime/guard.js';
import { addressOf } from '../client-address.js';
import type { SlowRequest, TimingSettings } from './options.js';
import { timingOf } from './request-timing.js';

/** Minimum time between two lines on the console. Milliseconds. */
const QUIET = 1_000;

/** A finished request. */
export interface EndedRequest {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** The socket on which the request arrived. */
  readonly socket: Socket | undefined;
  readonly path: string;
  readonly template: string | undefined;
  readonly aborted: boolean;
}

/** Reports each request to `onRequest`, and each slow one once, to `onSlow` or to the console. */
export class SlowRequestReporter {
  readonly #threshold: number;
  readonly #onSlow: TimingSettings['onSlow'];
  readonly #onRequest: TimingSettings['onRequest'];
  #quietUntil = 0;
  #unsaid = 0;

  /** @param threshold seconds. */
  constructor(threshold: number, { onSlow, onRequest }: Pick<TimingSettings, 'onSlow' | 'onRequest'>) {
    this.#threshold = threshold;
    this.#onSlow = onSlow;
    this.#onRequest = onRequest;
  }

  watch(exchange: Exchange): void {
    // Reading the address makes Node cache it; after an abort it is no longer available.
    void exchange.socket?.remoteAddress;
    exchange.onClose(this.#onClose);
  }

  /** One for all requests. */
  readonly #onClose = (exchange: Exchange): void =>
    this.ended(exchange, exchange.elapsed / 1000, timingOf(exchange.res).requestId);

  ended(request: EndedRequest, seconds: number, requestId: string | undefined): void {
    // The client of an event stream decides how long it lasts.
    const isSlow = seconds >= this.#threshold && !isLongLived(request.req, request.res);
    if (!isSlow && !this.#onRequest) return;
    const described = describe(request, seconds, requestId);
    if (this.#onRequest) callHook('onRequest', this.#onRequest, described);
    if (!isSlow) return;
    if (slowRequestEvents.hasSubscribers) slowRequestEvents.publish(described);
    if (this.#onSlow) callHook('onSlow', this.#onSlow, described);
    else this.#print(described);
  }

  #print(request: SlowRequest): void {
    const now = performance.now();
    if (now < this.#quietUntil) {
      this.#unsaid++;
      return;
    }
    this.#quietUntil = now + QUIET;
    const more = this.#unsaid > 0 ? ` (and ${this.#unsaid} more before)` : '';
    this.#unsaid = 0;
    console.warn(`${lineOf(request)}${more}`);
  }
}

function describe(request: EndedRequest, seconds: number, requestId: string | undefined): SlowRequest {
  const { req, res, path } = request;
  return {
    method: req.method ?? '',
    route: request.template,
    path,
    status: request.aborted ? CLIENT_CLOSED_REQUEST : res.statusCode,
    seconds,
    requestId,
    clientAddress: addressOf(req, request.socket),
  };
}

function lineOf({ method, route, path, status, seconds, requestId, clientAddress }: SlowRequest): string {
  // A path may look like a URL with credentials: `//user:password@host/`.
  const shown = path.replace(/^\/\/[^/@]*@/, '//***@');
  const parts = [`hotpath: slow request: ${method} ${route ?? shown} ${status} in ${seconds.toFixed(3)} s`];
  if (route !== undefined && route !== path) parts.push(`path ${shown}`);
  if (requestId) parts.push(`id ${requestId}`);
  if (clientAddress) parts.push(`from ${clientAddress}`);
  // One line of printable ASCII, because it may be shown in a terminal.
  return parts.map((part) => part.replace(/[^\x20-\x7e]/g, '?').slice(0, 300)).join(', ');
}
