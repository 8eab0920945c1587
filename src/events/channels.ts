import { channel } from 'node:diagnostics_channel';
import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * The events of hotpath, published on `node:diagnostics_channel` for tracing and for logs. hotpath never subscribes
 * itself. Publishers ask `hasSubscribers` before they make a message, so an event that nobody hears costs a few
 * nanoseconds.
 *
 * Node reports what a subscriber throws as an uncaught exception, which ends the process unless the app handles it.
 */

/** `hotpath:request`: a request has ended. */
export interface RequestEvent {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly method: string;
  /** Template of the route that answered; absent when none did. */
  readonly route?: string | undefined;
  /** 499 where the client left before the response was complete. */
  readonly status: number;
  /** From the arrival of the request to the end of the response. */
  readonly seconds: number;
  /** From the arrival of the request to the headers of the response. */
  readonly secondsToHeaders: number;
  /** Body bytes of the response, as they were sent. */
  readonly responseBytes: number;
  /** The result of the cache, as `X-Cache` has it; absent if no cache handled the request. */
  readonly cache?: string | undefined;
  /** The client left before the response was complete. */
  readonly aborted: boolean;
}

/** `hotpath:slow-request`: a request took at least `timing.slow`. The same as `timing.onSlow` gets. */
export interface SlowRequestEvent {
  readonly method: string;
  /** Template of the route, or the path of the mounted middleware, that responded; absent if none did. */
  readonly route?: string | undefined;
  /** Path of the request without its query, which may contain secrets. */
  readonly path: string;
  readonly status: number;
  /** From the arrival of the request to the end of the response. */
  readonly seconds: number;
  /** Absent if request ids are off. */
  readonly requestId?: string | undefined;
  /** According to Express's `trust proxy` setting. */
  readonly clientAddress?: string | undefined;
}

/**
 * `hotpath:cache`: the cache has decided about a request. It is published synchronously, in the async context of the
 * request, before the headers are sent; at the front door too.
 */
export interface CacheEvent {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** As `X-Cache` has it: `HIT`, `MISS`, `STALE`, `REVALIDATED`, `PASS` or `BYPASS`. */
  readonly result: string;
  /** Template of the route that answers, or that made the stored response; absent when there is none. */
  readonly route?: string | undefined;
  /** Why, in the words of `Cache-Status`. */
  readonly detail?: string | undefined;
  /** Served before Express. */
  readonly isFrontDoor: boolean;
}

/** `hotpath:purge`: this process has recorded a purge or an expiry. */
export interface PurgeEvent {
  readonly kind: 'purge' | 'expire';
  /** The kind of selector. */
  readonly by: 'tag' | 'url' | 'pattern' | 'all';
  /** `app`: `purge()`, `expire()` and `purgeAfter` with fixed selectors; `client`: a request decided what is purged. */
  readonly cause: 'app' | 'client';
}

/** `hotpath:breaker`: a circuit breaker in front of Redis has changed its state. */
export interface BreakerEvent {
  readonly lane: 'reads' | 'writes';
  readonly state: 'closed' | 'open' | 'half-open';
}

/** `hotpath:slow-query`: a query of the database took at least the limit for slow queries. */
export interface SlowQueryEvent {
  /** The statement with placeholders, never with values. */
  readonly text: string;
  readonly seconds: number;
  /** Template of the route that ran it, where it is known. */
  readonly route?: string | undefined;
}

/** `hotpath:query-plan`: a slow query was planned, with the option `explain` of `monitorPool`. */
export interface QueryPlanEvent {
  /** The statement with placeholders, never with values. */
  readonly text: string;
  /** The steps of the plan, one or more lines each, without values. */
  readonly plan: readonly string[];
}

/** `hotpath:n-plus-one`: a request ran one statement again and again. Published once for each route and statement. */
export interface NPlusOneEvent {
  /** The statement with placeholders, never with values. */
  readonly text: string;
  readonly method: string;
  /** Template of the route, or `unmatched`. */
  readonly route: string;
  /** Queries of the statement in that request. */
  readonly queries: number;
  /** Their time together. */
  readonly seconds: number;
  /** Where the app's own code ran the query, with two callers: file, line and column; absent if none was found. */
  readonly place?: string | undefined;
}

/** `hotpath:index-build`: the build of an index was requested, or has ended. For an audit log. */
export interface IndexBuildEvent {
  /** The id of the advice. */
  readonly id: string;
  /** The name of the index. */
  readonly index: string;
  /** The statement; that of a table with partitions is run in several steps. */
  readonly ddl: string;
  /** How the advice was proved: `verified`, `sampled`, `trial` or `estimated`. */
  readonly level: string;
  readonly state: 'started' | 'built' | 'failed';
  /** Since the request. */
  readonly seconds: number;
  /** Why it has failed, such as `lock-timeout`. */
  readonly reason?: string | undefined;
  /** The code of the server that belongs to the reason. */
  readonly sqlstate?: string | undefined;
  /** Whether an invalid index was left: `none`, `pending` until it is dropped, or `done`. */
  readonly cleanup: 'none' | 'pending' | 'done';
}

/** `hotpath:warming`: a run of a warming task has begun or ended. */
export interface WarmingEvent {
  /** The name of the task. */
  readonly task: string;
  readonly state: 'started' | 'finished' | 'failed';
  /** URLs that were requested so far; 0 for a task with a function. */
  readonly requested: number;
  /** Since the run began. */
  readonly seconds: number;
  /** Why it has failed. */
  readonly error?: string | undefined;
}

/** `hotpath:shed`: a request was refused with a 503, because the process is overloaded. */
export interface ShedEvent {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly reason: 'event-loop' | 'pool';
  /** Template of the route that would have answered; absent when it is not known. */
  readonly route?: string | undefined;
}

/** `hotpath:alert`: an alert of this instance fires or has cleared. The same as `alerts.onAlert` gets. */
export interface AlertEvent {
  /** `slowRequests`, `errorRate`, `hitRatio`, `eventLoop`, `breaker`, `poolWaiting`, `slowQueries`, or a name of `alerts.custom`. */
  readonly name: string;
  readonly state: 'ok' | 'firing';
  /** When this state began. Milliseconds since 1970. */
  readonly since: number;
  /** The figure at the last evaluation; `null`: there was nothing to measure. */
  readonly value: number | null;
  /** The limit of the value. */
  readonly threshold: number;
  /** Of value and threshold: `ratio` (from 0 to 1), `seconds`, `breakers`, `queries`, or that of a custom alert. */
  readonly unit: string;
  /** The figures in words. */
  readonly message: string;
  /** The route with the most slow or failed requests, as `GET /api/products/:id`; absent if the alert is not about routes. */
  readonly route?: string;
}

/** A channel with the type of its messages. */
export interface EventChannel<Message> {
  readonly name: string | symbol;
  readonly hasSubscribers: boolean;
  publish(message: Message): void;
}

export const requestEvents: EventChannel<RequestEvent> = channel('hotpath:request');
export const slowRequestEvents: EventChannel<SlowRequestEvent> = channel('hotpath:slow-request');
export const cacheEvents: EventChannel<CacheEvent> = channel('hotpath:cache');
export const shedEvents: EventChannel<ShedEvent> = channel('hotpath:shed');
export const purgeEvents: EventChannel<PurgeEvent> = channel('hotpath:purge');
export const breakerEvents: EventChannel<BreakerEvent> = channel('hotpath:breaker');
export const slowQueryEvents: EventChannel<SlowQueryEvent> = channel('hotpath:slow-query');
export const queryPlanEvents: EventChannel<QueryPlanEvent> = channel('hotpath:query-plan');
export const nPlusOneEvents: EventChannel<NPlusOneEvent> = channel('hotpath:n-plus-one');
export const indexBuildEvents: EventChannel<IndexBuildEvent> = channel('hotpath:index-build');
export const warmingEvents: EventChannel<WarmingEvent> = channel('hotpath:warming');
export const alertEvents: EventChannel<AlertEvent> = channel('hotpath:alert');
