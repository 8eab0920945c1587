import type { IncomingMessage } from 'node:http';

/** Whether the body has a reader. */
export function isRead(req: IncomingMessage): boolean {
  return req.listenerCount('data') > 0 || req.listenerCount('readable') > 0;
}

/** Whether the body flows without a reader, as after `req.resume()`: Express does so before it sends a 404. */
export function isThrownAway(req: IncomingMessage): boolean {
  return req.readableFlowing === true && !isRead(req);
}
