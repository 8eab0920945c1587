import type { IncomingMessage } from 'node:http';

/** A problem with the place that a request comes from; `undefined`: none. */
export type OriginProblem = string | undefined;

/**
 * A request with a body must come from a page of this origin, or from no page. Forms and simple requests of other
 * sites cannot have the header `X-Hotpath-Request`, whatever the app's CORS middleware permits. `Origin` is not compared
 * with `Host`: behind a proxy that sets its own `Host`, honest pages would be refused.
 */
export function findChangeProblem({ headers }: IncomingMessage): OriginProblem {
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin')
    return 'Requests that change something are accepted from pages of the same origin alone.';
  return headers['x-hotpath-request'] === '1'
    ? undefined
    : 'Requests with a body need the header `X-Hotpath-Request: 1`.';
}

/**
 * Figures are for people who open an address, for pages of this origin and for programs. Pages of other sites can
 * neither read nor embed them, even where the app's CORS middleware permits that.
 */
export function findReadProblem({ headers }: IncomingMessage): OriginProblem {
  const site = headers['sec-fetch-site'];
  if (site === undefined || site === 'same-origin' || site === 'none') return undefined;
  const isNavigation = headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
  return isNavigation ? undefined : 'Pages of other origins cannot read this.';
}
