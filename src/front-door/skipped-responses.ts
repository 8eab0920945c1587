import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FrontDoorState } from '../cache/state.js';
import { findForeignResponse } from '../runtime/node-response.js';
import { warnOnce } from '../runtime/warn.js';
import { hasEndListeners } from './raw-response.js';

/** Why the front door leaves an eligible request to Express because of its response. */
export type SkipReason = 'adapter' | 'patched' | 'headers';

const EXPLANATIONS: Readonly<Record<SkipReason, string>> = {
  adapter:
    'the response or its socket is not one of Node (an adapter for a serverless platform or for tests, Bun or Deno)',
  patched:
    'something has patched the methods of http.ServerResponse, such as a tracing agent or a wrapper around the app',
  headers: 'something has set response headers before Express, such as a wrapper around the app',
};

/** Tells on which responses a hit can be sent at once, and counts those on which the front door can not. */
export class SkippedResponses {
  readonly #state: FrontDoorState;

  constructor(state: FrontDoorState) {
    this.#state = state;
  }

  /** @param isInFront the request has not reached Express. */
  mayServe(req: IncomingMessage, res: ServerResponse, isInFront: boolean): boolean {
    if (res.headersSent || res.destroyed) return false;
    const reason = findForeignResponse(req, res);
    // Inside Express the middlewares send the response at little more cost.
    if (!isInFront) return reason === undefined && !hasEndListeners(res);
    if (reason === undefined && res.getHeaderNames().length === 0) return true;
    this.#skip(reason ?? 'headers');
    return false;
  }

  #skip(reason: SkipReason): void {
    const { skipped } = this.#state;
    skipped[reason] = (skipped[reason] ?? 0) + 1;
    warnOnce(
      this,
      'HOTPATH_FRONT_DOOR_SKIPPED',
      () =>
        `the front door leaves requests to Express: ${EXPLANATIONS[reason]}. Hits are served inside Express, more ` +
        'slowly; remove the cause, or do without attach(). cache.stats().frontDoor.skipped counts them by reason',
    );
  }
}
