import type { IncomingMessage, ServerResponse } from 'node:http';
import { TRACK } from '../exchange/route-template.js';
import { guarded } from '../runtime/guard.js';
import { PREPARED } from '../runtime/hidden-class.js';
import type { ExpressApp } from './express-view.js';

type Named<Name extends string | symbol> = { [name in Name]: unknown };

/** The properties that Express, its router, Node and hotpath set on a request, except the accessors `baseUrl` and `route`. */
type OfRequest = Named<
  'res' | 'next' | 'originalUrl' | '_parsedUrl' | 'params' | '_eventsCount' | typeof TRACK | typeof PREPARED
>;

/** The properties that Express, Node and hotpath set on a response. */
type OfResponse = Named<'locals' | 'statusCode' | 'statusMessage' | 'flush' | 'destroy' | 'emit'>;

/**
 * Keeps all requests of an app in one hidden class, and all responses too, which makes Express itself faster.
 *
 * Express changes the prototype of each. Up to Node 22, V8 shares the resulting hidden class, but no class that a later
 * property leads to (`Map::IsDetached`). Each request then gets its own class. That costs 1.5 µs per added property, and
 * inline caches never hit. So the properties are added first, with the value that they have anyway.
 */
export class RequestShapes {
  readonly #app: ExpressApp;
  /** Further properties of requests of this app. */
  readonly #further: (string | symbol)[] = [];
  /** Whether the router's symbols are known; only a request that it has handled shows them. */
  #isLearned = false;

  constructor(app: ExpressApp) {
    this.#app = app;
    // Express 4 sets it; Express 5 has an accessor.
    if (!('query' in app.request)) this.#further.push('query');
  }

  /** Prepares a request before Express gets it. */
  prepare(req: IncomingMessage, res: ServerResponse): void {
    if (req.httpVersionMajor > 1) return; // HTTP/2 requests have other classes
    keepRequest(req as unknown as OfRequest);
    keepResponse(res as unknown as OfResponse);
    for (const name of this.#further) keep(req as unknown as Named<string | symbol>, name);
    // Express does the same later; Express 4 sets `baseUrl` before, when the accessor must be in place.
    Object.setPrototypeOf(req, this.#app.request);
    if (!this.#isLearned)
      res.once(
        'close',
        guarded('front door', () => this.#learn(req)),
      );
  }

  #learn(req: IncomingMessage): void {
    if (this.#isLearned) return;
    this.#isLearned = true;
    const symbols = Object.getOwnPropertySymbols(req);
    this.#further.push(...symbols.filter(({ description }) => description?.startsWith('router.')));
  }
}

// One by one: a loop over names needs a lookup for each.
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
  const { locals, statusCode, statusMessage, flush, destroy, emit } = response;
  response.locals = locals;
  response.statusCode = statusCode;
  response.statusMessage = statusMessage;
  response.flush = flush;
  response.destroy = destroy;
  response.emit = emit;
}

function keep(object: Named<string | symbol>, name: string | symbol): void {
  const value = object[name];
  object[name] = value;
}
