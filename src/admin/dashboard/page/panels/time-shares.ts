import type { RequestFigures } from '../../../../telemetry/requests/figures.js';
import type { ApiRoute } from '../answers.js';

/** A route with its share of the time that all requests took together. */
export interface RouteShare {
  readonly key: string;
  readonly route: ApiRoute;
  /** Of the last minute; since the start where that is unknown. */
  readonly figures: RequestFigures;
  /** From 0 to 1. */
  readonly share: number;
}

/** `GET /api/products/:id`. */
export function routeName({ method, route }: Pick<ApiRoute, 'method' | 'route'>): string {
  return `${method} ${route}`;
}

/** Shares of the routes in their time, in the order of the list. */
export function shareRoutes(routes: readonly ApiRoute[]): RouteShare[] {
  const timed = routes.map((route) => {
    const figures = route.recent ?? route.sinceStart;
    return { route, figures, seconds: figures.requests * (figures.total.mean ?? 0) };
  });
  const all = timed.reduce((sum, { seconds }) => sum + seconds, 0);
  return timed
    .filter(({ figures }) => figures.requests > 0)
    .map(({ route, figures, seconds }) => ({
      key: routeName(route),
      route,
      figures,
      share: all > 0 ? seconds / all : 0,
    }))
    .sort((a, b) => b.share - a.share);
}
