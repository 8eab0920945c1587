import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Exchange } from '../exchange/exchange.js';
import type { CacheControlDirectives } from '../http/cache-control.js';
import { parseRequestDirectives } from '../http/request-directives.js';
import type { RouteParams } from '../options/request-types.js';
import type { RouteMatch } from '../options/route-table.js';
import type { CacheRoutePolicies, CacheRuleSettings } from './options.js';
import { findBypassReason } from './request/bypass.js';
import type { CacheRequest, MiddlewareRequest, Next } from './request/cache-request.js';
import { findCredential } from './request/credentials.js';
import { keysFor } from './request/key.js';
import { isSameOrigin, type Origin } from './request/origin.js';
import { type MatchedRule, RuleContext } from './request/rule-context.js';
import { evaluatePartition, evaluateWhen, nameRule } from './request/rule-functions.js';
import type { CacheState } from './state.js';

/** A request before it is classified. */
export interface UnclassifiedRequest {
  readonly req: IncomingMessage;
  readonly res: ServerResponse | undefined;
  /** Path and query as the client sent them. */
  readonly target: string;
  /** The origin of the entry that a background refresh reproduces; the key is made with this origin. */
  readonly expected?: Origin;
}

/** An unclassified request in one of the cache's middlewares. */
export interface UnclassifiedMiddlewareRequest extends UnclassifiedRequest {
  readonly exchange: Exchange;
  readonly next: Next;
  readonly isRedisLate: boolean;
}

/** The part of a request that depends on the middleware that handles it. */
export interface RulePlacement {
  readonly scope: string;
  /** `false`: the path is never cached. */
  readonly rule: CacheRuleSettings | false | undefined;
  readonly pattern: string | undefined;
  readonly matched: MatchedRule;
}

const NO_PARAMS: RouteParams = Object.freeze(Object.create(null) as Record<string, string>);
const NOTHING_MATCHED: MatchedRule = { params: NO_PARAMS };

/** The scope of the middleware for all routes. */
export const MAP_SCOPE = 'shared';

/** Placement in the middleware for all routes, which finds the rule by path. */
export function placeInMap(match: RouteMatch<CacheRoutePolicies> | undefined): RulePlacement {
  const matched = match ?? NOTHING_MATCHED;
  return { scope: MAP_SCOPE, rule: match?.policy.cache, pattern: match?.pattern, matched };
}

/** Placement in a `cache.route()` beside a handler. */
export function placeAtRoute(scope: string, rule: CacheRuleSettings, req: IncomingMessage): RulePlacement {
  const { params = NO_PARAMS } = req as { params?: RouteParams };
  return { scope, rule, pattern: undefined, matched: { params } };
}

/** The classified request, or the reason why it bypasses the cache. */
export type Classification<Request extends CacheRequest> =
  | { readonly request: Request; readonly bypass?: undefined }
  | { readonly request?: undefined; readonly bypass: string };

/** Finds rule, credential, partition and key of a request. Changes nothing; reports errors of the rule's functions. */
export function classifyRequest(
  state: CacheState,
  given: UnclassifiedMiddlewareRequest,
  placement: RulePlacement,
): Classification<MiddlewareRequest>;
export function classifyRequest(
  state: CacheState,
  given: UnclassifiedRequest,
  placement: RulePlacement,
): Classification<CacheRequest>;
export function classifyRequest(
  state: CacheState,
  given: UnclassifiedRequest & Partial<UnclassifiedMiddlewareRequest>,
  placement: RulePlacement,
): Classification<CacheRequest> {
  const { req, expected } = given;
  const { scope, pattern } = placement;
  const reason = findBypassReason(req, given.target, placement.rule);
  if (reason) return { bypass: reason };
  const rule = placement.rule || undefined;
  const context = new RuleContext(req, given.res, placement.matched, given.target);
  if (rule?.when && !applies(state, rule, context, pattern)) return { bypass: 'when' };
  const partition = rule && partitionFor(state, rule, context, pattern);
  if (rule?.partition && partition === undefined) return { bypass: 'no-partition' };
  const actual = callUserFunction(
    state,
    () => context.origin,
    () => 'trust proxy',
  );
  if (!actual || (expected && !isSameOrigin(expected, actual))) return { bypass: 'origin' };
  // If its address is not trusted, a request has only one host; the expected origin may have two.
  const origin = expected ?? actual;
  const keys = keysFor({ scope, origin, partition }, req, given.target, rule, state.entries.select);
  const request = {
    scope,
    key: state.equivalents.keyNow(keys),
    keys,
    target: keys.target,
    origin,
    rewritten: keys.rewritten,
    rule,
    pattern,
    context,
    credential: findCredential(req, rule, state.settings),
    partition,
    directives: readDirectives(state, req),
    exchange: given.exchange,
    next: given.next,
    isRedisLate: given.isRedisLate,
    waitsSince: undefined,
  };
  return { request };
}

function readDirectives(
  { settings }: CacheState,
  { headers }: IncomingMessage,
): CacheControlDirectives | undefined {
  if (settings.requestDirectives !== 'honor') return undefined;
  return parseRequestDirectives(headers['cache-control'], headers.pragma);
}

/** Whether the rule's `when` accepts the request. An error is reported and counts as no. */
export function applies(
  state: CacheState,
  rule: CacheRuleSettings,
  context: RuleContext,
  pattern: string | undefined,
): boolean {
  const where = () => `when of ${nameRule(pattern)}`;
  return callUserFunction(state, () => evaluateWhen(rule, context), where) === true;
}

/** The request's partition under the rule. An error is reported and counts as none. */
export function partitionFor(
  state: CacheState,
  { partition }: CacheRuleSettings,
  context: RuleContext,
  pattern: string | undefined,
): string | undefined {
  const where = () => `partition of ${nameRule(pattern)}`;
  return partition && callUserFunction(state, () => evaluatePartition(partition, context), where);
}

/** Calls a user's function; reports an error and returns `undefined`. */
function callUserFunction<T>(state: CacheState, hook: () => T, where: () => string): T | undefined {
  try {
    return hook();
  } catch (error) {
    state.fault(error, where());
    return undefined;
  }
}
