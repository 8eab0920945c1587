import type { IncomingMessage, ServerResponse } from 'node:http';
import { TRACK } from '../exchange/template.js';
import type { ExpressApp } from './view.js';

/** What Express, its router and Node set on each request; but `baseUrl` and `route`, which are accessors of ours. */
const OF_REQUEST = ['res', 'next', 'originalUrl', '_parsedUrl', 'params', '_eventsCount'] as const;

/** What Express, Node, the `compression` package and we set on each response. */
const OF_RESPONSE = [
  ...['locals', 'statusCode', 'statusMessage', 'flush'],
  ...['destroy', 'on', 'once', 'off', 'removeListener'],
] as const;

type Properties = Record<string | symbol, unknown>;

/**
 * Keeps all requests of an app, and all its responses, of one hidden class, so that Express itself is faster.
 *
 * Express changes the prototype of each. V8 lets objects share the hidden class that this leads to, but none that
 * comes of a property added afterwards (`Map::IsDetached`): from there on each request has a class of its own,
 * which takes 1.5 µs for each property, and no inline cache of whoever reads it ever hits. So what is going to be set
 * is there before, with the value that it has anyway.
 */
export class Shapes {
  readonly #app: ExpressApp;
  readonly #ofRequest: (string | symbol)[];
  /** Symbols of the router, which only a request shows that has been through it. */
  #isLearned = false;

  constructor(app: ExpressApp) {
    this.#app = app;
    this.#ofRequest = [...OF_REQUEST, TRACK];
    // Express 4 sets it, Express 5 has an accessor.
    if (!('query' in app.request)) this.#ofRequest.push('query');
  }

  /** Prepares a request that Express is about to get. */
  prepare(req: IncomingMessage, res: ServerResponse): void {
    if (req.httpVersionMajor > 1) return; // those of HTTP/2 are made otherwise
    const request = req as unknown as Properties;
    for (const name of this.#ofRequest) keep(request, name);
    const response = res as unknown as Properties;
    for (const name of OF_RESPONSE) keep(response, name);
    // Express 4 sets `baseUrl` before it does this itself: now the accessor is in place.
    Object.setPrototypeOf(req, this.#app.request);
    if (!this.#isLearned) res.once('close', () => this.#learn(req));
  }

  #learn(req: IncomingMessage): void {
    if (this.#isLearned) return;
    this.#isLearned = true;
    const symbols = Object.getOwnPropertySymbols(req);
    this.#ofRequest.push(...symbols.filter(({ description }) => description?.startsWith('router.')));
  }
}

/** Makes a property the object's own, whatever it is. */
function keep(object: Properties, name: string | symbol): void {
  const value = object[name];
  object[name] = value;
}
