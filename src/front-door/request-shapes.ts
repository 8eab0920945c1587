import type { IncomingMessage, ServerResponse } from 'node:http';
import { TRACK } from '../exchange/route-template.js';
import { guarded } from '../runtime/guard.js';
import { PREPARED } from '../runtime/hidden-class.js';
import type { ExpressApp } from './express-view.js';

type Named<Name extends string | symbol> = { [name in Name]: unknown };

/** What Express, its router, Node and we set on a request; but `baseUrl` and `route`, which are accessors of ours. */
type OfRequest = Named<
  'res' | 'next' | 'originalUrl' | '_parsedUrl' | 'params' | '_eventsCount' | typeof TRACK | typeof PREPARED
>;

/** What Express, Node, the `compression` package and we set on a response. */
type OfResponse = Named<'locals' | 'statusCode' | 'statusMessage' | 'flush'> &
  Named<'destroy' | 'on' | 'once' | 'off' | 'removeListener'>;

/**
 * Keeps all requests of an app, and all its responses, of one hidden class, so that Express itself is faster.
 *
 * Express changes the prototype of each. Up to Node 22, V8 lets objects share the hidden class that this leads to, but
 * none that comes of a property added afterwards (`Map::IsDetached`): from there on each request has a class of its
 * own, which takes 1.5 µs for each property, and no inline cache of whoever reads it ever hits. So what is going to be
 * set is there before, with the value that it has anyway.
 */
export class RequestShapes {
  readonly #app: ExpressApp;
  /** Of a request, beyond those that are known. */
  readonly #further: (string | symbol)[] = [];
  /** Symbols of the router, which only a request shows that has been through it. */
  #isLearned = false;

  constructor(app: ExpressApp) {
    this.#app = app;
    // Express 4 sets it, Express 5 has an accessor.
    if (!('query' in app.request)) this.#further.push('query');
  }

  /** Prepares a request that Express is about to get. */
  prepare(req: IncomingMessage, res: ServerResponse): void {
    if (req.httpVersionMajor > 1) return; // those of HTTP/2 are made otherwise
    keepRequest(req as unknown as OfRequest);
    keepResponse(res as unknown as OfResponse);
    for (const name of this.#further) keep(req as unknown as Named<string | symbol>, name);
    // Express 4 sets `baseUrl` before it does this itself: now the accessor is in place.
    Object.setPrototypeOf(req, this.#app.request);
    if (!this.#isLearned)
      res.once(
        'close',
        guarded('front', () => this.#learn(req)),
      );
  }

  #learn(req: IncomingMessage): void {
    if (this.#isLearned) return;
    this.#isLearned = true;
    const symbols = Object.getOwnPropertySymbols(req);
    this.#further.push(...symbols.filter(({ description }) => description?.startsWith('router.')));
  }
}

// One by one: a loop over names would look each of them up.
function keepRequest(request: OfRequest): void {
  const { res, next, originalUrl, _parsedUrl, params, _eventsCount, [TRACK]: track } = request;
  request.res = res;
  request.next = next;
  request.originalUrl = originalUrl;
  request._parsedUrl = _parsedUrl;
  request.params = params;
  request._eventsCount = _eventsCount;
  request[TRACK] = track;
  request[PREPARED] = true;
}

function keepResponse(response: OfResponse): void {
  const { locals, statusCode, statusMessage, flush, destroy, on, once, off, removeListener } = response;
  response.locals = locals;
  response.statusCode = statusCode;
  response.statusMessage = statusMessage;
  response.flush = flush;
  response.destroy = destroy;
  response.on = on;
  response.once = once;
  response.off = off;
  response.removeListener = removeListener;
}

function keep(object: Named<string | symbol>, name: string | symbol): void {
  const value = object[name];
  object[name] = value;
}
