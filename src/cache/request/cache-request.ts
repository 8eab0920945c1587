import type { Exchange } from '../../exchange/exchange.js';
import type { CacheControlDirectives } from '../../http/cache-control.js';
import type { CacheRuleSettings } from '../options.js';
import type { RequestKeys } from './key.js';
import type { Origin } from './origin.js';
import type { RuleContext } from './rule-context.js';

export type Next = (error?: unknown) => void;

/** A request as the cache sees it. `classifyRequest` makes it once; every later step gets the same object. */
export interface CacheRequest {
  /** The middleware of this cache that handles the request; each scope has its own entries. */
  readonly scope: string;
  /** The key for lookups and collapsing. The response to another request may change it (No-Vary-Search). */
  key: string;
  readonly keys: RequestKeys;
  /** Path and query, without the parameters that the rule ignores. */
  readonly target: string;
  readonly origin: Origin;
  /** The URL as earlier middlewares rewrote it; `undefined` if it is the target. */
  readonly rewritten: string | undefined;
  readonly rule: CacheRuleSettings | undefined;
  /** The path pattern of a rule from `routes`. */
  readonly pattern: string | undefined;
  readonly context: RuleContext;
  /** The name of the credential that makes the request personal. */
  readonly credential: string | undefined;
  /** The partition from the rule's function. Only the client's own request can refresh such an entry. */
  readonly partition: string | undefined;
  /** The request's `Cache-Control`, if the settings honour it. */
  readonly directives: CacheControlDirectives | undefined;
}

/** A request in one of the cache's middlewares, so there is a response to write. */
export interface MiddlewareRequest extends CacheRequest {
  readonly exchange: Exchange;
  readonly next: Next;
  /** An earlier Redis lookup used up most of its deadline, so no further one is made. */
  isRedisLate: boolean;
  /** When it began to wait for fills that were refused for their own clients. Milliseconds on the cache's clock. */
  waitsSince: number | undefined;
}
