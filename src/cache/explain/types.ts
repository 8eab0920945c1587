import type { CacheStatus } from '../../http/cache-status.js';
import type { Permission } from '../lookup/reuse.js';
import type { XCache } from '../serve/cache-status.js';

/** A description of a request. */
export interface RequestDescription {
  /** Default: `GET`. */
  readonly method?: string;
  /**
   * Path and query, with the host in a `Host` header; or a full URL with the scheme and host that the app would see.
   */
  readonly url: string;
  /** Header names in any case. Default: none. */
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** The cache's decision about a request, with its reasons. */
export interface CacheExplanation {
  /** The value of `X-Cache`; `undefined` if it depends on the handler's response or on another request's fill. */
  readonly result: XCache | undefined;
  /** Possible values of `X-Cache`, the most likely first; empty if the cache would send none. */
  readonly possible: readonly XCache[];
  /** The parameters of `Cache-Status` (RFC 9211) for the most likely result, as far as they are known. */
  readonly status: CacheStatus;
  /** `status` as text, even if `statusHeader` is off; `undefined` if the cache would send none. */
  readonly cacheStatus: string | undefined;
  /** The pattern of the rule that matches the path. */
  readonly pattern: string | undefined;
  /** The key of the request; `undefined` if the request bypasses the cache. */
  readonly key: ExplainedKey | undefined;
  /** The stored response for the request, usable or not. */
  readonly entry: ExplainedEntry | undefined;
  /** The variants of the key, if its responses vary by request headers, and their number. */
  readonly variants: { readonly names: readonly string[]; readonly count: number } | undefined;
  /** The known obstacles to storing the handler's response; empty if a stored response is served. */
  readonly obstacles: readonly CacheObstacle[];
  /** Whether a fill of the key is in flight, for which other requests wait. */
  readonly filling: boolean;
  /** The reason why requests of the key do not wait for each other: a response was refused recently. */
  readonly hitForMiss: string | undefined;
  /**
   * The reason why the stored response is not served stale: its background refresh was refused or not storable. The same
   * for a fill without cookies under a rule with `cookies: 'ignore'`.
   */
  readonly noBackgroundRefresh: string | undefined;
}

/** A reason why a response would not be stored. */
export interface CacheObstacle {
  /** The `detail` for `Cache-Status`, such as `cookie`, `when` or `not-public`. */
  readonly reason: string;
  /** Whether no response can be stored. Otherwise, one that declares itself `public`, for example, may be stored. */
  readonly final: boolean;
}

/** The key in readable parts. */
export interface ExplainedKey {
  /** Scheme, host, path and query, without the parameters that the rule ignores. */
  readonly url: string;
  /** The path and query as middlewares have rewritten them, if they differ. */
  readonly rewritten: string | undefined;
  /** Whether the key has a partition, which is not shown. */
  readonly partitioned: boolean;
  /** Request headers and cookies that the rule adds to the key. */
  readonly headers: readonly string[];
  readonly cookies: readonly string[];
}

/** A stored response. */
export interface ExplainedEntry {
  /**
   * How it may be used. Usable: at once (`fresh`), during a refresh (`while-revalidate`), in place of an error
   * (`if-error`), or after revalidation (`validate`). Not usable: a purge has invalidated it (`purged`), or the
   * request has credentials and the response is not declared public (`credential`).
   */
  readonly use: Permission | 'purged' | 'credential';
  /** Whether `expire()` has made it stale. */
  readonly expired: boolean;
  readonly status: number;
  /** Seconds (RFC 9111 §4.2.3). */
  readonly age: number;
  /** Seconds of freshness left; negative if it is stale; `undefined` if it was purged. */
  readonly ttl: number | undefined;
  /** When its freshness ends or ended; `undefined` if it was purged. */
  readonly freshUntil: Date | undefined;
  readonly storedAt: Date;
  readonly tags: readonly string[];
  /** Request headers that its own `Vary` names. */
  readonly vary: readonly string[];
  /** Request headers by which the key's responses vary, with the values of this request. Credentials are hidden. */
  readonly variant: Readonly<Record<string, string | undefined>>;
  /** Size in memory: body with its encoded forms, key, headers and tags. Bytes. */
  readonly bytes: number;
  readonly bodyBytes: number;
  /** Sizes of the encoded forms that exist, by coding. Bytes. */
  readonly encodings: Readonly<Record<string, number>>;
  readonly etag: string;
  readonly lastModified: string | undefined;
  /** The template of the route that made it. */
  readonly template: string | undefined;
}
