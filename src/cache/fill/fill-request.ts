import type { Exchange } from '../../exchange/exchange.js';
import type { ForwardReason } from '../../http/cache-status.js';
import type { StoredResponse } from '../../store/stored-response.js';
import type { PendingFill } from '../collapse/collapser.js';
import type { CacheRuleSettings } from '../options.js';
import type { RequestKeys } from '../request/key.js';
import type { Origin } from '../request/origin.js';
import type { RuleContext } from '../request/rule-context.js';
import type { Refresh } from '../revalidate/background-refresh.js';
import type { MetRequest } from './received-headers.js';
import type { RequestOverrides } from './request-overrides.js';

/** A request that the app answers, and whose answer may be stored. */
export interface FillRequest {
  readonly exchange: Exchange;
  readonly key: string;
  readonly keys: RequestKeys;
  /** The request as it was when the key was made of it. */
  readonly met: MetRequest;
  readonly target: string;
  /** The one that the key holds. */
  readonly origin: Origin;
  readonly rule: CacheRuleSettings | undefined;
  /** The pattern of the rule's path, when it came from the map of routes. */
  readonly pattern: string | undefined;
  readonly context: RuleContext;
  readonly credential: string | undefined;
  /** Those who wait for it, when this is the one fill of its key. */
  readonly pending: PendingFill | undefined;
  readonly disguise: RequestOverrides | undefined;
  readonly forward: ForwardReason;
  readonly detail: string | undefined;
  /** The stale response whose conditions the handler is shown; its 304 makes it fresh again. */
  readonly revalidates: StoredResponse | undefined;
  /** The stored response that the answer to a HEAD is compared with. */
  readonly compares: StoredResponse | undefined;
  /** What stands in for a 5xx. */
  readonly standIn: StoredResponse | undefined;
  /** The visitor asked that nothing be stored. */
  readonly noStoreAsked: boolean;
  /** The stored response that was found, and could not be served as it is. */
  readonly stored: StoredResponse | undefined;
  /** The whole response was asked for, without credentials, so the answer is the one for all clients of the key. */
  readonly speaksForAll: boolean;
  /** The background refresh that the request is, if it is one. */
  readonly refresh: Refresh | undefined;
}
