import type { IncomingMessage, ServerResponse } from 'node:http';
import { routerOf } from '../exchange/router-layer.js';
import { isHarmless } from '../exchange/uncounted.js';

/** The members of an Express app that the front door uses. */
export interface ExpressApp {
  (req: IncomingMessage, res: ServerResponse, next?: unknown): void;
  handle(this: unknown, req: IncomingMessage, res: ServerResponse, out?: unknown): void;
  enabled(setting: string): boolean;
  /** The prototype of its requests. */
  readonly request: object;
  /** The app in which it is mounted. */
  readonly parent?: unknown;
  /** Express 5 only. */
  readonly router?: Router;
  /** Express 4 only, where `router` throws. */
  readonly _router?: Router;
}

interface Router {
  readonly stack?: readonly { readonly handle?: unknown }[];
}

/** The layers that Express 4 adds before those of the app: `query` and `expressInit`. */
const LAYERS_OF_EXPRESS_4 = 2;

/** Whether the app mounts this middleware first, or only behind those that change no request. */
export function isFirst(app: ExpressApp, middleware: unknown): boolean {
  const stack = routerOf(app)?.stack ?? [];
  let at = app._router ? LAYERS_OF_EXPRESS_4 : 0;
  while (isHarmless(stack[at]?.handle)) at++;
  return stack[at]?.handle === middleware;
}

/**
 * A view of a request that Express has not handled yet, with Express's getters: `protocol`, `ip` and others that depend
 * on `trust proxy`. The request itself does not change.
 */
export function viewAsExpress(app: ExpressApp, req: IncomingMessage): IncomingMessage {
  const { headers, socket, method, url } = req;
  const view: PropertyDescriptorMap = {};
  for (const [name, value] of Object.entries({ headers, socket, connection: socket, method, url })) {
    view[name] = { value };
  }
  return Object.create(app.request, view) as IncomingMessage;
}
