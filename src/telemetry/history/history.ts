import { durationsOf, type RequestCounts } from '../requests/figures.js';
import type { MinuteOfRoutes } from '../requests/request-recorder.js';
import { type FigureColumns, FigureRing } from './figure-ring.js';

/** Seconds between two points of the process, and the points of one hour. */
export const PROCESS_STEP_SECONDS = 5;
const PROCESS_POINTS = 720;

/** Seconds between two points of a route, and the points of one hour. */
export const ROUTE_STEP_SECONDS = 60;
const ROUTE_POINTS = 60;

/** Routes of one minute that are kept separately. */
export const BUSIEST_ROUTES = 50;

/** The figures of the process at each point. Seconds, bytes and cores; rates are per second. */
const PROCESS_NAMES = [
  'requestRate',
  'clientErrorRatio',
  'serverErrorRatio',
  'mean',
  'p50',
  'p95',
  'p99',
  'p95ToHeaders',
  'activeRequests',
  'openConnections',
  'receivedBytesRate',
  'sentBytesRate',
  'cacheHitRatio',
  'cacheServedBytesRate',
  'compressionSavedBytesRate',
  'cpuCores',
  'rssBytes',
  'heapUsedBytes',
  'eventLoopUtilization',
  'eventLoopDelayP99',
  'gcSeconds',
  'hostCpuRatio',
  'diskUsedRatio',
  'networkReceivedBytesRate',
  'networkSentBytesRate',
] as const;
export type ProcessFigureName = (typeof PROCESS_NAMES)[number];

const ROUTE_NAMES = [
  'requests',
  'clientErrors',
  'serverErrors',
  'mean',
  'p50',
  'p95',
  'p99',
  'p95ToHeaders',
] as const;

/** A route in one minute. Seconds; `null`: no request. */
export type RouteMinute = { readonly at: number } & Readonly<
  Record<(typeof ROUTE_NAMES)[number], number | null>
>;

/** The last hour of one route: the minutes in which it was among the busiest. */
export interface RouteHistory {
  readonly method: string;
  /** `other`, with the method `*`, stands for the routes that were not among the busiest. */
  readonly route: string;
  readonly minutes: readonly RouteMinute[];
}

/** The last hour. */
export interface TelemetryHistory {
  /** Of the process, every five seconds. */
  readonly process: FigureColumns<ProcessFigureName> & { readonly stepSeconds: number };
  /** Of the 50 busiest routes of each minute, and of all others together. */
  readonly routes: { readonly stepSeconds: number; readonly routes: readonly RouteHistory[] };
  /** Memory that the history takes. Bytes. */
  readonly bytes: number;
}

/** The names of routes in one minute, in the order of the figures. */
interface Minute {
  readonly at: number;
  readonly names: readonly { readonly method: string; readonly route: string }[];
}

const OTHER_ROUTES = { method: '*', route: 'other' };

/** Memory of a minute beside its figures: a list of up to 51 references. Bytes, rounded up. */
const MINUTE_BYTES = 600;

/** Keeps an hour of figures in memory of a fixed size, well below 3 MB. */
export class History {
  readonly #process = new FigureRing<ProcessFigureName>(PROCESS_NAMES, PROCESS_POINTS);
  /** One minute after the other, of each the same number of rows. */
  readonly #rows = new Float64Array(ROUTE_POINTS * (BUSIEST_ROUTES + 1) * ROUTE_NAMES.length);
  readonly #minutes: (Minute | undefined)[] = new Array(ROUTE_POINTS).fill(undefined);
  #pushed = 0;

  /** @param at milliseconds since 1970. */
  pushProcess(at: number, figures: Readonly<Record<ProcessFigureName, number | null>>): void {
    this.#process.push(at, figures);
  }

  /** @param at milliseconds since 1970. */
  pushRoutes(at: number, { busiest, other }: MinuteOfRoutes): void {
    const slot = this.#pushed++ % ROUTE_POINTS;
    const names = busiest.map(({ series }) => series);
    const all: (readonly [{ method: string; route: string }, RequestCounts])[] = busiest.map(
      ({ series, counts }) => [series, counts],
    );
    if (other.requests > 0) all.push([OTHER_ROUTES, other]);
    for (const [row, [, counts]] of all.entries()) this.#write(slot, row, counts);
    this.#minutes[slot] = { at, names: other.requests > 0 ? [...names, OTHER_ROUTES] : names };
  }

  read(): TelemetryHistory {
    const routes = new Map<string, { method: string; route: string; minutes: RouteMinute[] }>();
    const count = Math.min(this.#pushed, ROUTE_POINTS);
    for (let index = this.#pushed - count; index < this.#pushed; index++) {
      const slot = index % ROUTE_POINTS;
      const minute = this.#minutes[slot]!;
      minute.names.forEach(({ method, route }, row) => {
        const key = `${method} ${route}`;
        let history = routes.get(key);
        if (!history) routes.set(key, (history = { method, route, minutes: [] }));
        history.minutes.push(this.#read(slot, row, minute.at));
      });
    }
    return {
      process: { stepSeconds: PROCESS_STEP_SECONDS, ...this.#process.columns() },
      routes: { stepSeconds: ROUTE_STEP_SECONDS, routes: [...routes.values()] },
      bytes: this.bytes,
    };
  }

  /** Memory that it takes. */
  get bytes(): number {
    return this.#process.bytes + this.#rows.byteLength + ROUTE_POINTS * MINUTE_BYTES;
  }

  #write(slot: number, row: number, counts: RequestCounts): void {
    const { mean, p50, p95, p99 } = durationsOf(counts.total);
    const { p95: p95ToHeaders } = durationsOf(counts.toHeaders);
    const { requests, clientErrors, serverErrors } = counts;
    const figures = [requests, clientErrors, serverErrors, mean, p50, p95, p99, p95ToHeaders];
    this.#rows.set(
      figures.map((figure) => figure ?? Number.NaN),
      this.#start(slot, row),
    );
  }

  #read(slot: number, row: number, at: number): RouteMinute {
    const start = this.#start(slot, row);
    const figures = ROUTE_NAMES.map((name, index) => {
      const value = this.#rows[start + index]!;
      return [name, Number.isNaN(value) ? null : value];
    });
    return { at, ...Object.fromEntries(figures) } as RouteMinute;
  }

  #start(slot: number, row: number): number {
    return (slot * (BUSIEST_ROUTES + 1) + row) * ROUTE_NAMES.length;
  }
}
