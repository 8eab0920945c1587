import type { CacheStatus } from '../../http/cache-status.js';
import type { Permission } from '../lookup/reuse.js';
import type { XCache } from '../serve/cache-status.js';

/** A request as one would write it down. */
export interface RequestDescription {
  /** Default `GET`. */
  readonly method?: string;
  /** Path and query, with the host in a `Host` header; or a full URL, which gives scheme and host as the app sees them. */
  readonly url: string;
  /** Names in any case. */
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** What the cache would do with a request. */
export interface CacheExplanation {
  /** What `X-Cache` would say; `undefined` where the handler's answer, or another's fill, decides. */
  readonly result: XCache | undefined;
  /** What it may say, the likeliest first; empty where the cache would not say anything. */
  readonly possible: readonly XCache[];
  /** The parameters of `Cache-Status` (RFC 9211) for the likeliest result, as far as they are known. */
  readonly status: CacheStatus;
  /** The same as text, sent or not; `undefined` where the cache would not say anything. */
  readonly cacheStatus: string | undefined;
  /** The pattern of the rule that the path falls under. */
  readonly pattern: string | undefined;
  /** What tells the stored response apart from others; `undefined` for a request that has nothing to do with the cache. */
  readonly key: ExplainedKey | undefined;
  /** What is stored for the request, usable or not. */
  readonly entry: ExplainedEntry | undefined;
  /** The responses that are stored under the key where they differ by request headers, this request's among them or not. */
  readonly variants: { readonly names: readonly string[]; readonly count: number } | undefined;
  /** What keeps the handler's answer out of the store, as far as request and rule can tell; empty where what is stored is served. */
  readonly obstacles: readonly CacheObstacle[];
  /** A fill of the key is under way, for which others wait. */
  readonly filling: boolean;
  /** Requests of the key do not wait for each other, because a response was refused lately: the reason. */
  readonly hitForMiss: string | undefined;
  /** The stored response is not served stale, since a background refresh of it was refused or could not be stored: the reason. */
  readonly noBackgroundRefresh: string | undefined;
}

/** Something that keeps an answer out of the store. */
export interface CacheObstacle {
  /** The word that `Cache-Status` reports: `cookie`, `when`, `not-public`. */
  readonly reason: string;
  /** No answer is stored, whatever it says; otherwise one that says `public` or `s-maxage`, for instance, may be. */
  readonly final: boolean;
}

/** The key, in parts that can be read. */
export interface ExplainedKey {
  /** Scheme, host, path and query, less what the rule ignores. */
  readonly url: string;
  /** What others have made of path and query by now, where that is something else. */
  readonly rewritten: string | undefined;
  /** Whether it holds a partition, which is not shown. */
  readonly partitioned: boolean;
  /** Request headers and cookies that the rule adds. */
  readonly headers: readonly string[];
  readonly cookies: readonly string[];
}

/** A stored response. */
export interface ExplainedEntry {
  /**
   * What may be done with it: serve it (`fresh`), serve it while it is refreshed, let it stand in for an error,
   * ask the handler first (`validate`); or nothing, since a purge has made it void, or a visitor with
   * credentials asks for what was not marked as everybody's.
   */
  readonly use: Permission | 'purged' | 'credential';
  /** `expire()` has made it stale. */
  readonly expired: boolean;
  readonly status: number;
  /** Seconds (RFC 9111 §4.2.3). */
  readonly age: number;
  /** Seconds of freshness left, negative once it is stale; `undefined` when it was purged. */
  readonly ttl: number | undefined;
  /** When its freshness ends, or ended. */
  readonly freshUntil: Date | undefined;
  readonly storedAt: Date;
  readonly tags: readonly string[];
  /** Request headers that its own `Vary` names. */
  readonly vary: readonly string[];
  /** Request headers that the responses of its key differ by, with the values it is for; those of credentials are hidden. */
  readonly variant: Readonly<Record<string, string | undefined>>;
  /** Bytes that it takes: body with its encoded forms, key, headers and tags. */
  readonly bytes: number;
  readonly bodyBytes: number;
  /** Bytes of the encoded forms of the body that exist by now, by coding. */
  readonly encodings: Readonly<Record<string, number>>;
  readonly etag: string;
  readonly lastModified: string | undefined;
  /** Template of the route that made it. */
  readonly template: string | undefined;
}
