import type { IncomingMessage, ServerResponse } from 'node:http';
import { parseRequestDirectives } from '../http/request-directives.js';
import type { RouteParams } from '../options/request-types.js';
import type { RouteMatch } from '../options/route-table.js';
import type { CacheRoutePolicies, CacheRuleSettings } from './options.js';
import { findBypassReason, findCredential } from './request/bypass.js';
import type { Asked } from './request/cache-request.js';
import { normaliseTarget, RequestKeys, readRewrittenTarget } from './request/key.js';
import { isSameOrigin, type Origin } from './request/origin.js';
import { type MatchedRule, RuleContext } from './request/rule-context.js';
import { evaluatePartition, evaluateWhen } from './request/rule-functions.js';
import type { CacheState } from './state.js';

/** A request where it meets one of the cache's middlewares. */
export interface UnclassifiedRequest {
  readonly req: IncomingMessage;
  readonly res: ServerResponse | undefined;
  /** Path and query as the client sent them. */
  readonly target: string;
  readonly scope: string;
  /** `false`: the path is never cached. */
  readonly rule: CacheRuleSettings | false | undefined;
  readonly pattern: string | undefined;
  readonly matched: MatchedRule;
  /** Where it has to have been sent, when it is to reproduce another: its key is made with this origin. */
  readonly expected?: Origin;
}

/** What an arrival owes to its middleware. */
export type RulePlacement = Pick<UnclassifiedRequest, 'scope' | 'rule' | 'pattern' | 'matched'>;

const NO_PARAMS: RouteParams = Object.freeze(Object.create(null) as Record<string, string>);
const NOTHING_MATCHED: MatchedRule = { params: NO_PARAMS };

/** The scope of entries that the middleware for all routes serves. */
export const MAP_SCOPE = 'shared';

/** In the middleware for all routes, whose rule is found by path. */
export function placeInMap(match: RouteMatch<CacheRoutePolicies> | undefined): RulePlacement {
  const matched = match ?? NOTHING_MATCHED;
  return { scope: MAP_SCOPE, rule: match?.policy.cache, pattern: match?.pattern, matched };
}

/** In the middleware beside a handler. */
export function placeAtRoute(scope: string, rule: CacheRuleSettings, req: IncomingMessage): RulePlacement {
  const { params = NO_PARAMS } = req as { params?: RouteParams };
  return { scope, rule, pattern: undefined, matched: { params } };
}

/** Either what the request asks of the cache, or why it has nothing to do with it. */
export type Classification =
  | { readonly asked: Asked; readonly bypass?: undefined }
  | { readonly asked?: undefined; readonly bypass: string };

/** What a request asks of the cache. It changes nothing; the rule's functions are asked, and a throw is reported. */
export function classifyRequest(state: CacheState, arrival: UnclassifiedRequest): Classification {
  const { req, res, target: sent, scope, pattern, matched, rule: given } = arrival;
  const refusal = findBypassReason(req, sent, given);
  if (refusal) return { bypass: refusal };
  const rule = given === false ? undefined : given;
  const context = new RuleContext(req, res, matched, sent);
  if (rule?.when && !applies(state, rule, context)) return { bypass: 'when' };
  let partition: string | undefined;
  if (rule?.partition) {
    partition = partitionFor(state, rule, context);
    if (partition === undefined) return { bypass: 'no-partition' };
  }
  const target = normaliseTarget(sent, rule);
  const actual = callRuleFunction(state, () => context.origin, 'trust proxy');
  const { expected } = arrival;
  if (!actual || (expected && !isSameOrigin(expected, actual))) return { bypass: 'origin' };
  // Without trust in its address, a request can't have two hosts.
  const origin = expected ?? actual;
  const rewritten = readRewrittenTarget(req, target, rule);
  const keys = new RequestKeys(
    { scope, origin, target, rewritten, partition },
    req,
    rule,
    state.entries.select,
  );
  const key = state.equivalents.keyNow(keys);
  const credential = findCredential(req, rule, state.settings);
  const { 'cache-control': directives, pragma } = req.headers;
  const isHonoured = state.settings.requestDirectives === 'honor';
  const wishes = isHonoured ? parseRequestDirectives(directives, pragma) : undefined;
  const partitioned = partition !== undefined;
  return {
    asked: {
      scope,
      key,
      keys,
      target,
      origin,
      rewritten,
      rule,
      pattern,
      context,
      credential,
      partition,
      partitioned,
      wishes,
    },
  };
}

/** Whether the rule applies; a throw is reported, and means no. */
export function applies(state: CacheState, rule: CacheRuleSettings, context: RuleContext): boolean {
  return callRuleFunction(state, () => evaluateWhen(rule, context), 'when') === true;
}

/** The partition that the rule gives; a throw is reported, and means none. */
export function partitionFor(
  state: CacheState,
  { partition }: CacheRuleSettings,
  context: RuleContext,
): string | undefined {
  return partition && callRuleFunction(state, () => evaluatePartition(partition, context), 'partition');
}

/** What a user's function answers; nothing, when it throws. */
function callRuleFunction<T>(state: CacheState, hook: () => T, where: string): T | undefined {
  try {
    return hook();
  } catch (error) {
    state.fault(error, where);
    return undefined;
  }
}
