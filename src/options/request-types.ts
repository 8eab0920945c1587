import type { ServerResponse } from 'node:http';
// The types of Express are no dependency: who does without them has `any` here.
// biome-ignore lint/suspicious/noTsIgnore: it is no error in this repository, which has the types.
// @ts-ignore
import type { Request } from 'express';

/**
 * A request as the app's own code sees it: the `Request` of Express, with the app's declarations (`req.user`,
 * `req.session`). `any` in a project that has no types of Express.
 */
export type HotpathRequest = Request;

/** The queries of a request; they grow while it lasts. */
export interface RequestDatabase {
  /** Queries that have ended. */
  readonly queries: number;
  /** Their time together. */
  readonly seconds: number;
}

/** The part of a request that hotpath adds. */
export interface RequestMark {
  /** `true` on a request that hotpath made itself, to refresh a stale response. */
  readonly internal?: true;
  /** Absent before the first query of a pool that `monitorPool` watches. */
  readonly database?: RequestDatabase;
}

declare global {
  namespace Express {
    interface Request {
      /** `internal`: hotpath made the request itself; gates, limiters and loggers tell it by that. */
      readonly hotpath?: RequestMark;
    }
  }
}

/** Parameters of a matched path; a wildcard (`*path`) gives a list of segments. Without prototype. */
export type RouteParams = Readonly<Record<string, string | string[]>>;

/** The argument of functions in a cache rule. */
export interface CacheContext {
  /** The client's request. */
  readonly req: HotpathRequest;
  /** Its response; absent at the front door and in background refreshes. */
  readonly res?: ServerResponse | undefined;
  /** Decoded parameters of the path, from the rule's pattern. */
  readonly params: RouteParams;
  /** The URL as the app sees it: scheme, host, path and query. */
  readonly url: URL;
}
