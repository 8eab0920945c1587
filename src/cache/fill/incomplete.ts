import type { IncomingMessage } from 'node:http';
import type { Exchange } from '../../exchange/exchange.js';

/** Status codes that respond to a condition or a range. */
const PARTIAL: ReadonlySet<number> = new Set([206, 304, 412, 416]);
const PRECONDITIONS = ['if-none-match', 'if-modified-since', 'range'] as const;

/** Whether a response with this status may respond to the client's condition or range alone. */
export function isPartialResponse({ headers }: IncomingMessage, status: number): boolean {
  return PARTIAL.has(status) && PRECONDITIONS.some((name) => headers[name] !== undefined);
}

/**
 * Whether the response can no longer reach the client: the client has disconnected, or the app destroyed the response.
 */
export function isClientGone(exchange: Exchange): boolean {
  return exchange.res.destroyed || exchange.socket?.destroyed === true;
}

/**
 * Whether the body that the app is about to send may be incomplete. To be called within `head`.
 *
 * Once the response is gone, a failed stream ends like a complete one. So only a body in one piece counts as complete.
 */
export function mayBeIncomplete(exchange: Exchange): boolean {
  if (exchange.res.errored) return true;
  return isClientGone(exchange) && !((exchange.length ?? 0) > 0);
}
