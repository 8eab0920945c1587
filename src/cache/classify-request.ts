import type { IncomingMessage, ServerResponse } from 'node:http';
import { requestDirectives } from '../http/request-directives.js';
import type { RouteParams } from '../options/request-types.js';
import type { RouteMatch } from '../options/route-table.js';
import type { CacheRoutePolicies, CacheRuleSettings } from './options.js';
import { bypassOf, credentialOf } from './request/bypass.js';
import type { Asked } from './request/cache-request.js';
import { normaliseTarget, RequestKeys, rewrittenTarget } from './request/key.js';
import { isSameOrigin, type Matched, type Origin, RuleContext } from './request/rule-context.js';
import { appliesTo, partitionOf } from './request/rule-functions.js';
import type { CacheState } from './state.js';

/** A request where it meets one of the cache's middlewares. */
export interface Arrival {
  readonly req: IncomingMessage;
  readonly res: ServerResponse | undefined;
  /** Path and query as the client sent them. */
  readonly target: string;
  readonly scope: string;
  /** `false`: the path is never cached. */
  readonly rule: CacheRuleSettings | false | undefined;
  readonly pattern: string | undefined;
  readonly matched: Matched;
  /** Where it has to have been sent, when it is to reproduce another: its key is made with this origin. */
  readonly expected?: Origin;
}

/** What an arrival owes to its middleware. */
export type Placed = Pick<Arrival, 'scope' | 'rule' | 'pattern' | 'matched'>;

const NO_PARAMS: RouteParams = Object.freeze(Object.create(null) as Record<string, string>);
const NOTHING_MATCHED: Matched = { params: NO_PARAMS };

/** The scope of entries that the middleware for all routes serves. */
export const SHARED = 'shared';

/** In the middleware for all routes, whose rule is found by path. */
export function inMap(match: RouteMatch<CacheRoutePolicies> | undefined): Placed {
  const matched = match ?? NOTHING_MATCHED;
  return { scope: SHARED, rule: match?.policy.cache, pattern: match?.pattern, matched };
}

/** In the middleware beside a handler. */
export function beside(scope: string, rule: CacheRuleSettings, req: IncomingMessage): Placed {
  const { params = NO_PARAMS } = req as { params?: RouteParams };
  return { scope, rule, pattern: undefined, matched: { params } };
}

/** Either what the request asks of the cache, or why it has nothing to do with it. */
export type Admission =
  | { readonly asked: Asked; readonly bypass?: undefined }
  | { readonly asked?: undefined; readonly bypass: string };

/** What a request asks of the cache. It changes nothing; the rule's functions are asked, and a throw is reported. */
export function admit(state: CacheState, arrival: Arrival): Admission {
  const { req, res, target: sent, scope, pattern, matched, rule: given } = arrival;
  const refusal = bypassOf(req, sent, given);
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
  const actual = ask(state, () => context.origin, 'trust proxy');
  const { expected } = arrival;
  if (!actual || (expected && !isSameOrigin(expected, actual))) return { bypass: 'origin' };
  // Without trust in its address, a request can't have two hosts.
  const origin = expected ?? actual;
  const rewritten = rewrittenTarget(req, target, rule);
  const keys = new RequestKeys(
    { scope, origin, target, rewritten, partition },
    req,
    rule,
    state.entries.select,
  );
  const key = state.equivalents.keyNow(keys);
  const credential = credentialOf(req, rule, state.settings);
  const { 'cache-control': directives, pragma } = req.headers;
  const isHonoured = state.settings.requestDirectives === 'honor';
  const wishes = isHonoured ? requestDirectives(directives, pragma) : undefined;
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
  return ask(state, () => appliesTo(rule, context), 'when') === true;
}

/** The partition that the rule gives; a throw is reported, and means none. */
export function partitionFor(
  state: CacheState,
  { partition }: CacheRuleSettings,
  context: RuleContext,
): string | undefined {
  return partition && ask(state, () => partitionOf(partition, context), 'partition');
}

/** What a user's function answers; nothing, when it throws. */
function ask<T>(state: CacheState, hook: () => T, where: string): T | undefined {
  try {
    return hook();
  } catch (error) {
    state.fault(error, where);
    return undefined;
  }
}
