import { nameRoute, OVERFLOW_ROUTE } from '../exchange/route-template.js';

/** The number of requests of one route by result. */
export interface RouteResults {
  hits: number;
  misses: number;
  stale: number;
  revalidated: number;
  passes: number;
  bypasses: number;
}

/** Most routes that are counted apart; requests of all others count as `overflow`. */
const MOST_ROUTES = 1000;

/** Results by the template of the route, such as `/products/:id`. */
export class ResultsByRoute {
  readonly #routes = new Map<string, RouteResults>();
  /** The template that came last: requests of one route often follow each other. */
  #template: string | undefined;
  #results: RouteResults | undefined;

  /** @param template `undefined` if no route matched. */
  of(template: string | undefined): RouteResults {
    if (this.#results && this.#template === template) return this.#results;
    this.#template = template;
    return (this.#results = this.#find(template));
  }

  /** A copy of all results, by template. */
  read(): Record<string, Readonly<RouteResults>> {
    return Object.fromEntries(Array.from(this.#routes, ([name, results]) => [name, { ...results }]));
  }

  #find(template: string | undefined): RouteResults {
    const name = nameRoute(template);
    return this.#routes.get(name) ?? this.#add(this.#routes.size < MOST_ROUTES ? name : OVERFLOW_ROUTE);
  }

  #add(name: string): RouteResults {
    let results = this.#routes.get(name);
    if (!results) {
      results = { hits: 0, misses: 0, stale: 0, revalidated: 0, passes: 0, bypasses: 0 };
      this.#routes.set(name, results);
    }
    return results;
  }
}
