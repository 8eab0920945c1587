import type { ServerResponse } from 'node:http';
import { EXCHANGE } from './patch.js';

/**
 * Noted on the exchange of a request of the operators: a scrape, a probe. It appears in no series and in no count of the
 * cache, and load shedding spares its path. Two copies of the package share it.
 */
export const UNCOUNTED = Symbol.for('hotpath.uncounted');

/** Leaves a request out of all series, if a middleware of hotpath follows it. */
export function leaveUncounted(res: ServerResponse): void {
  const { [EXCHANGE]: exchange } = res as { [EXCHANGE]?: { setData(owner: symbol, value: unknown): void } };
  exchange?.setData(UNCOUNTED, true);
}

/** Marks a middleware that changes no request, so that it may come before hotpath. */
const CHANGES_NOTHING = Symbol.for('hotpath.changes-nothing');

/** Marks a middleware of ours that may come before hotpath. */
export function markHarmless<Middleware extends object>(middleware: Middleware): Middleware {
  return Object.defineProperty(middleware, CHANGES_NOTHING, { value: true });
}

/** Whether the middleware of a layer changes no request, nor responds to one that hotpath could serve. */
export function isHarmless(middleware: unknown): boolean {
  return typeof middleware === 'function' && CHANGES_NOTHING in middleware;
}
