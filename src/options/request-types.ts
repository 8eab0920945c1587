import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * A request with the properties that Express and other middlewares add, such as `req.user` and `req.session`.
 */
// biome-ignore lint/suspicious/noExplicitAny: what other middlewares put on `req` is theirs to type, and naming Express's types here would force them on every user.
export type HotpathRequest = IncomingMessage & { [name: string]: any };

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
