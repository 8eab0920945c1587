import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * A request as the app's own code sees it: Node's, plus whatever Express and other middlewares have set
 * (`req.user`, `req.session`).
 */
// biome-ignore lint/suspicious/noExplicitAny: what other middlewares put on `req` is theirs to type, and naming Express's types here would force them on every user.
export type HotpathRequest = IncomingMessage & { [name: string]: any };

/** Parameters of a matched path; a wildcard (`*path`) gives a list of segments. Without prototype. */
export type RouteParams = Readonly<Record<string, string | string[]>>;

/** What the functions of a cache rule receive. */
export interface CacheContext {
  /** The visitor's request. */
  readonly req: HotpathRequest;
  /** Its response; absent where there is none yet (front door) or any more (background refresh). */
  readonly res?: ServerResponse;
  /** Parameters of the path, from the rule's own pattern, decoded. */
  readonly params: RouteParams;
  /** The URL as the app sees it: scheme, host, path and query. */
  readonly url: URL;
}
