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
}

/**
 * A request that Express has not seen, as Express would show it: for `protocol`, `ip` and whatever else depends on
 * the app's `trust proxy`. The request itself is left as it is.
 */
export function asSeenBy(app: ExpressApp, req: IncomingMessage): IncomingMessage {
  const { headers, socket, method, url } = req;
  const view: PropertyDescriptorMap = {};
  for (const [name, value] of Object.entries({ headers, socket, connection: socket, method, url })) {
    view[name] = { value };
  }
  return Object.create(app.request, view) as IncomingMessage;
}
