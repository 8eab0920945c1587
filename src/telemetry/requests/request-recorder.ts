import { nameRoute, OVERFLOW_ROUTE } from '../../exchange/route-template.js';
import { labelOfMethod } from '../labels.js';
import { CacheUse } from './cache-use.js';
import { type EndedFigures, RequestCounts, RollingCounts } from './figures.js';
import { RouteSeries } from './route-series.js';
import { SlowestRequests } from './slowest-requests.js';
import { TopKeys } from './top-keys.js';

/** A request that has ended. */
export interface FinishedRequest extends EndedFigures {
  readonly method: string | undefined;
  /** Template of the route that answered; `undefined` when none did. */
  readonly route: string | undefined;
  /** The result of the cache, as `X-Cache` has it; `undefined` if no cache handled the request. */
  readonly cache: string | undefined;
  /** Why the request bypassed the cache, or its response was not stored. */
  readonly cacheReason: string | undefined;
  /** The time that the handler took to make the stored response that was served; `undefined` if none was. Milliseconds. */
  readonly savedMs: number | undefined;
  /** Of that response, before compression. Bytes. */
  readonly servedBytes: number;
  /** Path and query of that response; `undefined` for one that only some clients may have. */
  readonly servedUrl: string | undefined;
  /** How long the handlers kept the event loop when the request arrived. Milliseconds. */
  readonly blockedMs: number;
  /** Queries of the database; 0 without a pool that is monitored. */
  readonly queries: number;
  /** Their time together. Milliseconds. */
  readonly queryMs: number;
}

/** Handlers that keep the event loop for less are not looked for. Milliseconds. */
const SHORTEST_BLOCK = 10;

/** Stretches of `all` that make a minute. */
const STRETCHES = 12;

/** Routes of one minute, the busiest apart. */
export interface MinuteOfRoutes {
  /** The busiest first. */
  readonly busiest: readonly { readonly series: RouteSeries; readonly counts: RequestCounts }[];
  /** All others together. */
  readonly other: RequestCounts;
}

/** Counts requests: all together, and by method and route. The number of routes is bounded. */
export class RequestRecorder {
  /** Requests that have arrived and have not ended. */
  active = 0;
  readonly all = new RollingCounts(STRETCHES);
  readonly topKeys: TopKeys;
  readonly slowest = new SlowestRequests();
  /** Requests that were counted under the route `overflow`. */
  overflowed = 0;
  readonly #byMethod = new Map<string, Map<string, RouteSeries>>();
  readonly #maxRoutes: number;
  #size = 0;

  constructor(maxRoutes: number, showsQueries: boolean) {
    this.#maxRoutes = maxRoutes;
    this.topKeys = new TopKeys(showsQueries);
  }

  record(request: FinishedRequest): void {
    this.all.now.record(request);
    const series = this.#seriesOf(labelOfMethod(request.method), nameRoute(request.route));
    series.counts.now.record(request);
    this.slowest.record(series.method, series.route, request, request.cache);
    if (request.blockedMs >= SHORTEST_BLOCK) series.blocked(request.blockedMs);
    if (request.queries > 0) series.queried(request.queries, request.queryMs);
    const { cache, savedMs } = request;
    if (cache === undefined) return;
    series.cache ??= new CacheUse();
    series.cache.record(cache, request.cacheReason);
    if (savedMs === undefined) return;
    series.cache.served(request.servedBytes, savedMs);
    if (request.servedUrl !== undefined) this.topKeys.record(request.servedUrl);
  }

  /** Every method and route that was met. */
  get routes(): RouteSeries[] {
    return [...this.#byMethod.values()].flatMap((routes) => [...routes.values()]);
  }

  /** Number of pairs of method and route that are counted separately. */
  get size(): number {
    return this.#size;
  }

  /** Results of the cache for all routes. */
  cacheUse(): CacheUse {
    const all = new CacheUse();
    for (const { cache } of this.routes) if (cache) all.add(cache);
    return all;
  }

  /** Ends the minute of each route. @param most routes that are kept separately; the others are added up. */
  rotateRoutes(most: number): MinuteOfRoutes {
    this.slowest.rotate();
    const ended: { series: RouteSeries; counts: RequestCounts }[] = [];
    for (const series of this.routes) {
      series.rotateBlocked();
      if (series.counts.isIdle) continue;
      const counts = series.counts.rotate();
      if (counts.requests > 0) ended.push({ series, counts });
    }
    ended.sort((a, b) => b.counts.requests - a.counts.requests);
    const other = new RequestCounts();
    for (const { counts } of ended.slice(most)) other.add(counts);
    return { busiest: ended.slice(0, most), other };
  }

  #seriesOf(method: string, route: string): RouteSeries {
    const known = this.#byMethod.get(method)?.get(route);
    if (known) return known;
    if (this.#size >= this.#maxRoutes) {
      this.overflowed++;
      // One for each of the ten methods at most.
      return this.#byMethod.get(method)?.get(OVERFLOW_ROUTE) ?? this.#add(method, OVERFLOW_ROUTE);
    }
    this.#size++;
    return this.#add(method, route);
  }

  #add(method: string, route: string): RouteSeries {
    let routes = this.#byMethod.get(method);
    if (!routes) this.#byMethod.set(method, (routes = new Map()));
    const series = new RouteSeries(method, route);
    routes.set(route, series);
    return series;
  }
}
