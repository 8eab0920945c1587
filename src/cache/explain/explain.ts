import type { IncomingMessage, ServerResponse } from 'node:http';
import { routedPath } from '../../exchange/request-path.js';
import { type CacheStatus, formatCacheStatus } from '../../http/cache-status.js';
import type { RouteTable } from '../../options/route-table.js';
import { VOID } from '../../store/invalidation/invalidation-log.js';
import { type StoredResponse, sizeOf } from '../../store/stored-response.js';
import { classifyRequest, placeAtRoute, placeInMap } from '../classify-request.js';
import { chooseFillMode, type Decision, decide } from '../decide.js';
import { validUntil } from '../lookup/invalidated.js';
import type { Lookup } from '../lookup/lookup.js';
import { lookUp } from '../lookup/lookup.js';
import type { CacheRoutePolicies, CacheRuleSettings } from '../options.js';
import type { CacheRequest } from '../request/cache-request.js';
import { hasIgnoredCookie } from '../request/credentials.js';
import { exactHeader } from '../request/key.js';
import { evaluateTags } from '../request/rule-functions.js';
import { describeBypass, describeUrl, visibleKey, type XCache } from '../serve/cache-status.js';
import { computeAge, computeTtl } from '../serve/serve-stored.js';
import type { CacheState } from '../state.js';
import { encodedSizes } from '../storage/encoded-bodies.js';
import { requestFromDescription } from './request-description.js';
import type {
  CacheExplanation,
  CacheObstacle,
  ExplainedEntry,
  ExplainedKey,
  RequestDescription,
} from './types.js';

/** The middleware for which a request is explained: the one for all routes, or the one beside a handler. */
export type ExplainScope =
  | { readonly routes: RouteTable<CacheRoutePolicies> }
  | { readonly scope: string; readonly rule: CacheRuleSettings };

/** Explains what the cache would do with a request. Counts nothing and changes nothing. */
export function explain(
  state: CacheState | false,
  place: ExplainScope,
  described: IncomingMessage | RequestDescription,
): CacheExplanation {
  const { req, target, isReal: real } = requestFromDescription(described);
  if (!state) return noResult('off');
  if (req.headers.upgrade !== undefined) return noResult('upgrade');
  const { res } = req as { res?: ServerResponse };
  const placement =
    'routes' in place
      ? placeInMap(place.routes.match(routedPath(req)))
      : placeAtRoute(place.scope, place.rule, req);
  const { request, bypass } = classifyRequest(state, { req, res, target }, placement);
  if (request) return explainRequest(state, request, real);
  const status = describeBypass(bypass);
  return { ...noResult(bypass), ...resultFields(['BYPASS'], status), pattern: placement.pattern };
}

function explainRequest(state: CacheState, request: CacheRequest, isReal: boolean): CacheExplanation {
  const { key, keys, context, pattern } = request;
  const found = lookUp(state, request, false);
  // A description has no app; a real request has one.
  const plan = decide(state, request, found, 0, isReal ? undefined : true);
  const obstacles = obstaclesOf(state, request, found, plan);
  const { entry } = state.equivalents.find(key, keys, context.req, false);
  const variants = state.entries.variantsOf(key);
  return {
    ...resultFields(possibleOf(state, request, found, plan, obstacles), {
      ...statusOf(state, request, found, plan, obstacles),
      key: visibleKey(state, request),
    }),
    pattern,
    key: explainKey(request),
    entry: entry && describeEntry(state, entry, found, request, variants?.names ?? []),
    variants,
    obstacles,
    filling: state.collapser.current(key) !== undefined,
    hitForMiss: state.collapser.refusalOf(key),
    noBackgroundRefresh: findRefreshRefusal(state, request, entry),
  };
}

/** Why the last background request of the key was refused: the refresh of its entry, or a fill without cookies. */
function findRefreshRefusal(
  { entries, refreshMarks }: CacheState,
  { key, rule, context }: CacheRequest,
  entry: StoredResponse | undefined,
): string | undefined {
  if (entry) return refreshMarks.reasonFor(entry);
  if (rule?.cookies !== 'ignore') return undefined;
  const storedAt = Number.POSITIVE_INFINITY;
  return refreshMarks.reasonFor({ key: entries.keyFor(key, [], context.req), storedAt });
}

function noResult(reason: string): CacheExplanation {
  return {
    result: undefined,
    possible: [],
    status: {},
    cacheStatus: undefined,
    pattern: undefined,
    key: undefined,
    entry: undefined,
    variants: undefined,
    obstacles: [{ reason, final: true }],
    filling: false,
    hitForMiss: undefined,
    noBackgroundRefresh: undefined,
  };
}

function resultFields(
  possible: readonly XCache[],
  status: CacheStatus,
): Pick<CacheExplanation, 'result' | 'possible' | 'status' | 'cacheStatus'> {
  const result = possible.length === 1 ? possible[0] : undefined;
  return { result, possible, status, cacheStatus: formatCacheStatus(status) };
}

function possibleOf(
  state: CacheState,
  request: CacheRequest,
  found: Lookup,
  plan: Decision,
  obstacles: readonly CacheObstacle[],
): readonly XCache[] {
  if (plan.kind === 'hit') return ['HIT'];
  if (plan.kind === 'gateway-timeout') return ['BYPASS'];
  if (plan.kind === 'stale') return ['STALE'];
  const possible = new Set<XCache>();
  if (plan.kind === 'wait') possible.add('HIT');
  if (plan.kind === 'refresh') possible.add('MISS');
  // Only the handler's response shows whether the client's credentials matter.
  if (request.credential && !obstacles[0]?.final && request.context.req.method === 'GET')
    possible.add('BYPASS');
  // Without a rule, the response decides whether it was cacheable at all.
  const mayPass = !request.rule && !found.entry && !found.promising && !request.directives?.onlyIfCached;
  if (mayPass && state.settings.profile === 'safe') possible.add('PASS');
  possible.add('MISS');
  if (mayPass) possible.add('PASS');
  const { revalidates, compares, standIn } = chooseFillMode(state, request, found);
  if (revalidates || (compares && !request.directives?.noStore)) possible.add('REVALIDATED');
  if (standIn || plan.kind === 'refresh') possible.add('STALE');
  // If the refreshed response is already invalid, the request starts again.
  if (plan.kind === 'refresh') possible.add('HIT');
  return [...possible];
}

function statusOf(
  state: CacheState,
  request: CacheRequest,
  { forward }: Lookup,
  plan: Decision,
  [obstacle]: readonly CacheObstacle[],
): CacheStatus {
  if (plan.kind === 'hit') return { hit: true, ttl: computeTtl(state, plan.entry, request.target) };
  if (plan.kind === 'stale') {
    const detail = plan.isPaused ? 'refresh-backoff' : undefined;
    return { hit: true, ttl: computeTtl(state, plan.entry, request.target), detail };
  }
  if (plan.kind === 'gateway-timeout') return { detail: 'only-if-cached' };
  if (plan.kind === 'wait') return { fwd: forward, collapsed: true };
  if (plan.kind === 'refresh') return { fwd: 'stale' };
  if (obstacle?.final || obstacle?.reason === 'head') return { fwd: forward, detail: obstacle.reason };
  if (request.credential) return describeBypass(request.credential);
  return { fwd: forward, detail: plan.detail };
}

/** Lists the obstacles in the order in which they are checked; `Cache-Status` reports the first. */
function obstaclesOf(
  state: CacheState,
  request: CacheRequest,
  found: Lookup,
  plan: Decision,
): readonly CacheObstacle[] {
  const { rule, credential, directives, context } = request;
  if (plan.kind === 'hit' || plan.kind === 'stale') return [];
  if (plan.kind === 'gateway-timeout') return [{ reason: 'only-if-cached', final: true }];
  const obstacles: CacheObstacle[] = [];
  // A refresh is an internal request without conditions, and its response is complete.
  if (plan.kind === 'fill') {
    const isWithCookie = credential === undefined && hasIgnoredCookie(context.req, rule);
    // A HEAD stores nothing, but it may revalidate the stored response.
    const isFinal = chooseFillMode(state, request, found).compares === undefined;
    if (context.req.method === 'HEAD') obstacles.push({ reason: 'head', final: isFinal });
    if (directives?.noStore) obstacles.push({ reason: 'request-no-store', final: true });
    if (credential) obstacles.push({ reason: credential, final: false });
    if (plan.detail === 'range') obstacles.push({ reason: 'range', final: false });
    else if (isWithCookie) obstacles.push({ reason: plan.detail ?? 'anonymous-fill', final: true });
  }
  if (state.settings.profile === 'safe' && rule?.ttl === undefined) {
    obstacles.push({ reason: rule ? 'no-lifetime' : 'not-public', final: false });
  }
  if (plan.kind === 'fill' && context.req.method === 'GET') {
    const failure = findTagFailure(request);
    if (failure) obstacles.push(failure);
  }
  return obstacles;
}

/** The rule's `tags` throws, or returns no list. Without a response, as for a description, it may only seem so. */
function findTagFailure({ rule, context }: CacheRequest): CacheObstacle | undefined {
  if (typeof rule?.tags !== 'function') return undefined;
  try {
    evaluateTags(rule, context, undefined);
    return undefined;
  } catch {
    return { reason: 'rule', final: context.res !== undefined };
  }
}

function explainKey(request: CacheRequest): ExplainedKey {
  const { rewritten, partition, rule } = request;
  const { headers = [], cookies = [] } = rule?.vary ?? {};
  return { url: describeUrl(request), rewritten, partitioned: partition !== undefined, headers, cookies };
}

function describeEntry(
  state: CacheState,
  entry: StoredResponse,
  { permission }: Lookup,
  request: CacheRequest,
  names: readonly string[],
): ExplainedEntry {
  const { clock, settings } = state;
  const { req } = request.context;
  const limit = validUntil(state, entry, request.target);
  const isPurged = limit === VOID;
  const dateOf = (time: number) => new Date(Date.now() + time - clock());
  const shown = (name: string) => (settings.credentials.includes(name) ? '(hidden)' : exactHeader(req, name));
  return {
    use: isPurged ? 'purged' : (permission ?? 'credential'),
    expired: !isPurged && limit !== Number.POSITIVE_INFINITY,
    status: entry.status,
    age: computeAge(entry, state.clock()),
    ttl: isPurged ? undefined : computeTtl(state, entry, request.target),
    freshUntil: isPurged ? undefined : dateOf(Math.min(entry.freshUntil, limit)),
    storedAt: dateOf(entry.storedAt),
    tags: entry.tags,
    vary: entry.vary,
    variant: Object.fromEntries(names.map((name) => [name, shown(name)])),
    bytes: sizeOf(entry.key, entry),
    bodyBytes: entry.body.length,
    encodings: encodedSizes(entry),
    etag: entry.etag,
    lastModified: entry.lastModified,
    template: entry.template,
  };
}
