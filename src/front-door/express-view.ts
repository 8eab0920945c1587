import type { IncomingMessage, ServerResponse } from 'node:http';

/** What an Express app is to us, beyond what it does. */
export interface ExpressApp {
  (req: IncomingMessage, res: ServerResponse, next?: unknown): void;
  handle(this: unknown, req: IncomingMessage, res: ServerResponse, out?: unknown): void;
  enabled(setting: string): boolean;
  /** Prototype of its requests. */
  readonly request: object;
  /** The app that it is mounted in. */
  readonly parent?: unknown;
  /** Of Express 5. */
  readonly router?: Router;
  /** Of Express 4, where `router` throws. */
  readonly _router?: Router;
}

interface Router {
  readonly stack?: readonly { readonly handle?: unknown }[];
}

/** Layers that Express 4 itself puts before those of the app: `query` and `expressInit`. */
const LAYERS_OF_EXPRESS_4 = 2;

/** Whether a middleware is the first that an app has mounted. */
export function isFirst(app: ExpressApp, middleware: unknown): boolean {
  const first = app._router
    ? app._router.stack?.[LAYERS_OF_EXPRESS_4]
    : Object.hasOwn(app, 'router')
      ? app.router?.stack?.[0]
      : undefined;
  return first?.handle === middleware;
}

/**
 * A request that Express has not seen, as Express would show it: for `protocol`, `ip` and whatever else depends on
 * the app's `trust proxy`. The request itself is left as it is.
 */
export function viewAsExpress(app: ExpressApp, req: IncomingMessage): IncomingMessage {
  const { headers, socket, method, url } = req;
  const view: PropertyDescriptorMap = {};
  for (const [name, value] of Object.entries({ headers, socket, connection: socket, method, url })) {
    view[name] = { value };
  }
  return Object.create(app.request, view) as IncomingMessage;
}
