import type { CacheUse, CacheUseFigures } from './cache-use.js';
import { type RequestFigures, RollingCounts } from './figures.js';

/** Queries of the database since the start, of one method and route. */
export interface RouteQueries {
  /** Requests with at least one query. */
  readonly requests: number;
  readonly queries: number;
  /** Their time together. */
  readonly seconds: number;
}

/** Figures of one method and route. */
export interface RouteFigures {
  readonly method: string;
  /** The template of the route; `unmatched` for requests that matched none, `overflow` beyond the most routes. */
  readonly route: string;
  /** Since the start of the process. */
  readonly sinceStart: RequestFigures;
  /** Of the last minute, and of the one that has not ended. */
  readonly recent: RequestFigures;
  /** Results of the cache; absent if it handled no request. */
  readonly cache?: CacheUseFigures;
  /** The longest time since the start that the handlers of one request kept the event loop at once. Seconds. */
  readonly longestBlockSeconds: number;
  /** Absent if no monitored pool ran a query for it. */
  readonly database?: RouteQueries;
}

/** The counts of one method and route. */
export class RouteSeries {
  readonly method: string;
  readonly route: string;
  readonly counts = new RollingCounts(1);
  cache: CacheUse | undefined;
  /** The longest time that its handlers have kept the event loop at once. Milliseconds. */
  longestBlockMs = 0;
  /** Time of the last minute, and of the one before, in which they kept it for long. Milliseconds. */
  blockedMs = 0;
  blockedMsBefore = 0;
  #queriedRequests = 0;
  #queries = 0;
  #queryMs = 0;

  constructor(method: string, route: string) {
    this.method = method;
    this.route = route;
  }

  /** @param blockedMs the time of one request that its handlers kept the event loop at once. */
  blocked(blockedMs: number): void {
    this.blockedMs += blockedMs;
    if (blockedMs > this.longestBlockMs) this.longestBlockMs = blockedMs;
  }

  /** A request with queries has ended. @param queryMs their time together. */
  queried(queries: number, queryMs: number): void {
    this.#queriedRequests++;
    this.#queries += queries;
    this.#queryMs += queryMs;
  }

  /** A minute has ended. */
  rotateBlocked(): void {
    this.blockedMsBefore = this.blockedMs;
    this.blockedMs = 0;
  }

  /**
   * @param sinceStart the time that the process has counted. Seconds.
   * @param recent the time that recent counts cover. Seconds.
   */
  figures(sinceStart: number, recent: number): RouteFigures {
    const { method, route, counts, cache, longestBlockMs } = this;
    return {
      method,
      route,
      sinceStart: counts.all().figures(sinceStart),
      recent: counts.recent().figures(recent),
      ...(cache && { cache: cache.figures() }),
      longestBlockSeconds: longestBlockMs / 1000,
      ...(this.#queries > 0 && {
        database: {
          requests: this.#queriedRequests,
          queries: this.#queries,
          seconds: this.#queryMs / 1000,
        },
      }),
    };
  }
}
