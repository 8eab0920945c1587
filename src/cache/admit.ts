import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CacheRuleSettings } from '../config/cache.js';
import type { RouteParams } from '../config/context.js';
import { requestDirectives } from '../http/request-cache-control.js';
import { originOf, RuleContext } from './context.js';
import { appliesTo, partitionOf } from './hooks.js';
import { normaliseTarget, primaryKey, rewrittenTarget } from './key.js';
import { bypassOf, credentialOf } from './request.js';
import type { CacheState } from './state.js';
import type { Asked } from './visit.js';

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
  readonly params: RouteParams;
}

/** Either what the request asks of the cache, or why it has nothing to do with it. */
export type Admission =
  | { readonly asked: Asked; readonly bypass?: undefined }
  | { readonly asked?: undefined; readonly bypass: string };

/** What a request asks of the cache. It changes nothing; the rule's functions are asked, and a throw is reported. */
export function admit(state: CacheState, arrival: Arrival): Admission {
  const { req, res, target: sent, scope, pattern, params, rule: given } = arrival;
  const refusal = bypassOf(req, sent, given);
  if (refusal) return { bypass: refusal };
  const rule = given === false ? undefined : given;
  const context = new RuleContext(req, res, params, sent);
  if (rule && !ask(state, () => appliesTo(rule, context), 'when')) return { bypass: 'when' };
  let partition: string | undefined;
  if (rule?.partition) {
    const { partition: partitionFor } = rule;
    partition = ask(state, () => partitionOf(partitionFor, context), 'partition');
    if (partition === undefined) return { bypass: 'no-partition' };
  }
  const target = normaliseTarget(sent, rule);
  const origin = ask(state, () => originOf(req), 'trust proxy');
  if (!origin) return { bypass: 'origin' };
  const rewritten = rewrittenTarget(req, target, rule);
  const key = primaryKey({ scope, origin, target, rewritten, partition }, req, rule);
  const credential = credentialOf(req, rule, state.settings);
  const { 'cache-control': directives, pragma } = req.headers;
  const isHonoured = state.settings.requestDirectives === 'honor';
  const wishes = isHonoured ? requestDirectives(directives, pragma) : undefined;
  const partitioned = partition !== undefined;
  const asked = { scope, key, target, origin, rewritten, rule, pattern, context, credential };
  return { asked: { ...asked, partitioned, wishes } };
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
