import type { Exchange } from '../../exchange/exchange.js';

/** Whether nothing of the response can reach anybody any more: the visitor has left, or the app destroyed it. */
export function isClientGone(exchange: Exchange): boolean {
  return exchange.res.destroyed || exchange.socket?.destroyed === true;
}

/**
 * Within `head`: whether what the app is about to send may be half of something. Once the response is gone,
 * a stream that failed is ended as calmly as one that is done, so only a body in one piece is believed.
 */
export function mayBeIncomplete(exchange: Exchange): boolean {
  if (exchange.res.errored) return true;
  return isClientGone(exchange) && !((exchange.length ?? 0) > 0);
}
