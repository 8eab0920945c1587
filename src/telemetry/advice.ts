import type { CacheStats } from '../cache/stats.js';
import type { RouteFigures } from './requests/route-series.js';
import type { HostFigures } from './system/host-sampler.js';
import type { ProcessFigures } from './system/process-sampler.js';

/** One piece of advice. */
export interface AdviceItem {
  /** The subject, for programs: `cache-credential`, `cpu-throttled`, … */
  readonly id: string;
  readonly severity: 'info' | 'warning' | 'critical';
  /** `GET /api/products`; absent if it is not about one route. */
  readonly route?: string;
  /** The figures, and the thing to do. */
  readonly text: string;
  /** A piece of the config to copy; absent if no option helps. */
  readonly config?: string;
}

/** A route that kept the event loop. */
export interface BlockingRoute {
  readonly method: string;
  readonly route: string;
  /** Added up over the last minute or two. */
  readonly blockedSeconds: number;
}

/** All that advice is made of. */
export interface AdviceInput {
  readonly routes: readonly RouteFigures[];
  /** The one that kept the event loop longest came first. */
  readonly blocking: readonly BlockingRoute[];
  readonly process: ProcessFigures | undefined;
  readonly host: HostFigures | undefined;
  /** Absent when the cache is off. */
  readonly cache: CacheStats | undefined;
  /** Bounds of the memory tier. */
  readonly cacheMaxBytes: number | undefined;
}

/** A route with fewer requests is left out. */
const ENOUGH_REQUESTS = 100;

/** A route is called slow from so many requests of the last minute on: slow routes get fewer. */
const ENOUGH_SLOW_REQUESTS = 20;

/** More than half. */
const MOSTLY = 0.5;

/** From such a share on, a reason is worth a word. */
const NOTABLE_SHARE = 0.2;

/** Handlers that are faster need no cache. Seconds. */
const SLOW_HANDLER = 0.02;

/** From such a 99th percentile on, the event loop is called blocked. Seconds. */
const LONG_DELAY = 0.1;

/** A route that takes such a share of the time of all requests is worth a word, if it is slow. */
const NOTABLE_TIME = 0.25;

/** From such a 95th percentile on, a route is called slow. Seconds. */
const SLOW_ROUTE = 0.1;

/** The most pieces of advice. */
const MOST_ADVICE = 50;

const SEVERITIES = ['critical', 'warning', 'info'] as const;

/** Derives advice from the figures, the gravest first. It has no state: the same figures give the same advice. */
export function adviseFrom(input: AdviceInput): AdviceItem[] {
  const advice = [
    ...adviseOnProcess(input),
    ...adviseOnHost(input.host),
    ...adviseOnStore(input),
    ...input.routes.flatMap(adviseOnRoute),
  ];
  const known = new Set(advice.map(({ route }) => route));
  advice.push(...adviseOnTime(input.routes).filter(({ route }) => !known.has(route)));
  return advice
    .sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity))
    .slice(0, MOST_ADVICE);
}

function adviseOnProcess({ process: own, host, blocking }: AdviceInput): AdviceItem[] {
  if (!own) return [];
  const advice: AdviceItem[] = [];
  const { delay, isBlocked } = own.eventLoop;
  if (delay && delay.p99 >= LONG_DELAY) {
    const [worst] = blocking;
    const where = worst ? `, mostly in ${worst.method} ${worst.route}` : '';
    const length = isBlocked ? 'throughout the last window' : `${milliseconds(delay.p99)} at p99`;
    advice.push({
      id: 'event-loop-blocked',
      severity: isBlocked || delay.p99 >= 1 ? 'critical' : 'warning',
      ...(worst && { route: `${worst.method} ${worst.route}` }),
      text: `The event loop is blocked ${length}${where}: move the computation to a worker thread, or split it.`,
    });
  }
  const heap = own.heapUsedBytes / own.heapLimitBytes;
  if (heap >= 0.85) {
    advice.push({
      id: 'heap-nearly-full',
      severity: heap >= 0.95 ? 'critical' : 'warning',
      text: `The heap is ${percent(heap)} full (${megabytes(own.heapUsedBytes)} of ${megabytes(own.heapLimitBytes)}): look for a leak, or raise --max-old-space-size.`,
    });
  }
  const collecting = own.gc.seconds / own.eventLoop.windowSeconds;
  if (collecting >= 0.1) {
    advice.push({
      id: 'garbage-collection',
      severity: 'warning',
      text: `Garbage collection takes ${percent(collecting)} of the time: give the heap more room, or allocate less.`,
    });
  }
  const memory = host ? own.rssBytes / host.memoryLimitBytes : 0;
  if (host && memory >= 0.9) {
    advice.push({
      id: 'memory-limit',
      severity: 'critical',
      text: `The process takes ${percent(memory)} of its memory limit (${megabytes(host.memoryLimitBytes)}): raise the limit, or lower the bounds of the cache.`,
      config: "cache: { memory: { maxBytes: '32mb' } }",
    });
  }
  return advice;
}

function adviseOnHost(host: HostFigures | undefined): AdviceItem[] {
  if (!host) return [];
  const advice: AdviceItem[] = [];
  const throttled = host.container?.throttledRatio ?? 0;
  if (throttled >= 0.05) {
    const quota = host.container?.cpuQuotaCores;
    const of = quota ? ` of ${quota} CPUs` : '';
    advice.push({
      id: 'cpu-throttled',
      severity: throttled >= 0.25 ? 'critical' : 'warning',
      text: `The CPU is throttled ${percent(throttled)} of the time: raise the limit${of}.`,
    });
  }
  if (host.disk && host.disk.usedRatio >= 0.9) {
    advice.push({
      id: 'disk-full',
      severity: host.disk.usedRatio >= 0.97 ? 'critical' : 'warning',
      text: `The disk at ${host.disk.path} is ${percent(host.disk.usedRatio)} full: free some space.`,
    });
  }
  return advice;
}

function adviseOnStore({ cache, cacheMaxBytes }: AdviceInput): AdviceItem[] {
  if (!cache) return [];
  const advice: AdviceItem[] = [];
  const isFull = cacheMaxBytes !== undefined && cache.bytes >= 0.9 * cacheMaxBytes;
  const evicted = cache.evictions.bytes ?? 0;
  if (isFull && cache.stores >= ENOUGH_REQUESTS && evicted >= NOTABLE_SHARE * cache.stores) {
    advice.push({
      id: 'cache-evictions',
      severity: 'warning',
      text: `The memory tier is full and has dropped ${percent(evicted / cache.stores)} of what it stored: give it more room.`,
      config: `cache: { memory: { maxBytes: '${Math.ceil((2 * cacheMaxBytes) / 1024 ** 2)}mb' } }`,
    });
  }
  const { redis } = cache;
  if (redis && (redis.breaker.reads !== 'closed' || redis.breaker.writes !== 'closed')) {
    advice.push({
      id: 'redis-breaker',
      severity: 'warning',
      text: `Redis does not answer as it should, so hotpath goes on without it (reads: ${redis.breaker.reads}, writes: ${redis.breaker.writes}): check its load and the network.`,
    });
  }
  if (redis && !redis.log.inContact) {
    advice.push({
      id: 'log-lost',
      severity: 'critical',
      text: 'The invalidation log of the other instances cannot be read: what they purge may be served here until `maxStaleness` is over. Check the connection to Redis.',
    });
  }
  return advice;
}

function adviseOnRoute(figures: RouteFigures): AdviceItem[] {
  const { method, route, recent, cache } = figures;
  const advice: AdviceItem[] = [];
  const name = `${method} ${route}`;
  if (recent.requests >= ENOUGH_REQUESTS && recent.serverErrorRatio >= 0.05) {
    advice.push({
      id: 'server-errors',
      severity: recent.serverErrorRatio >= NOTABLE_SHARE ? 'critical' : 'warning',
      route: name,
      text: `${name}: ${percent(recent.serverErrorRatio)} of the responses of the last minute are errors of the server (5xx): look for their cause in the log of the app.`,
    });
  }
  if (!cache || method !== 'GET' || cache.requests < ENOUGH_REQUESTS) return advice;
  const share = (count: number | undefined) => (count ?? 0) / cache.requests;
  for (const [reason, count] of Object.entries(cache.bypassReasons)) {
    const item = share(count) >= NOTABLE_SHARE ? adviseOnBypass(route, reason, share(count)) : undefined;
    if (item) advice.push({ ...item, severity: 'info', route: name });
  }
  for (const [reason, count] of Object.entries(cache.refusalReasons)) {
    const item = share(count) >= NOTABLE_SHARE ? adviseOnRefusal(figures, reason, share(count)) : undefined;
    if (item) advice.push({ ...item, severity: 'info', route: name });
  }
  return advice;
}

/** Routes that take most of the time of the last minute, and are slow: nothing else is known about them. */
function adviseOnTime(routes: readonly RouteFigures[]): (AdviceItem & { readonly route: string })[] {
  const timeOf = ({ recent }: RouteFigures) => recent.requests * (recent.toHeaders.mean ?? 0);
  const all = routes.reduce((sum, route) => sum + timeOf(route), 0);
  return routes.flatMap((figures) => {
    const { method, route, recent, cache } = figures;
    const share = all > 0 ? timeOf(figures) / all : 0;
    const { p95 } = recent.toHeaders;
    const isSlow = p95 !== null && p95 >= SLOW_ROUTE && share >= NOTABLE_TIME;
    if (!isSlow || recent.requests < ENOUGH_SLOW_REQUESTS) return [];
    const name = `${method} ${route}`;
    const isCached = method === 'GET' && (cache?.hitRatio ?? 0) > 0;
    const found = `${name}: takes ${percent(share)} of the request time (p95 ${milliseconds(p95)})`;
    const text = isCached
      ? `${found}, because ${percent(1 - cache!.hitRatio!)} of its requests miss the cache: serve stale responses while they are refreshed, or warm them.`
      : `${found}${firstStep(figures)}`;
    const config = isCached
      ? `routes: { ${JSON.stringify(route)}: { cache: { ttl: '5m', staleWhileRevalidate: '10m' } } }`
      : undefined;
    return [{ id: 'slow-route', severity: 'info', route: name, text, ...(config && { config }) }];
  });
}

/** Where to look, by the share of the database in the time of the route since the start. */
function firstStep({ database, sinceStart }: RouteFigures): string {
  const seconds = sinceStart.requests * (sinceStart.toHeaders.mean ?? 0);
  const share = database && seconds > 0 ? Math.min(1, database.seconds / seconds) : 0;
  if (share < MOSTLY) return ': look for slow queries and calls in its handler first.';
  return `, and ${percent(share)} of that is the database: look at its statements, and for missing indexes.`;
}

type Advised = Pick<AdviceItem, 'id' | 'text' | 'config'>;

function adviseOnBypass(route: string, reason: string, share: number): Advised | undefined {
  const path = JSON.stringify(route);
  if (reason === 'cookie') {
    return {
      id: 'cache-cookie',
      text: `${route}: ${percent(share)} of requests carry a cookie, so they bypass the cache: if no cookie changes the response, set \`cookies: 'ignore'\`.`,
      config: `routes: { ${path}: { cache: { ttl: '1m', cookies: 'ignore' } } }`,
    };
  }
  if (reason === 'authorization' || reason === 'x-api-key') {
    return {
      id: 'cache-credential',
      text: `${route}: ${percent(share)} of requests carry ${reason}, so they bypass the cache: cache beside the handler, after the authentication, one entry per user.`,
      config: `app.get(${path}, authenticate, perf.cache.route({ ttl: '1m', partition: ({ req }) => req.user.id }), handler)`,
    };
  }
  if (reason === 'no-partition') {
    return {
      id: 'cache-partition',
      text: `${route}: \`partition\` returns nothing for ${percent(share)} of requests, so they bypass the cache: mount the rule after the middleware that sets what it reads.`,
    };
  }
  return undefined;
}

function adviseOnRefusal(
  { route, sinceStart }: RouteFigures,
  reason: string,
  share: number,
): Advised | undefined {
  const path = JSON.stringify(route);
  const { p50 } = sinceStart.toHeaders;
  if (reason === 'not-public' || reason === 'no-lifetime') {
    if (p50 === null || p50 < SLOW_HANDLER) return undefined;
    return {
      id: 'cache-rule',
      text: `${route}: half of the responses take more than ${milliseconds(p50)}, and none is stored (${reason}): if all clients may have the same response, add a rule.`,
      config: `routes: { ${path}: { cache: { ttl: '1m' } } }`,
    };
  }
  if (reason === 'set-cookie') {
    return {
      id: 'cache-set-cookie',
      text: `${route}: ${percent(share)} of responses set a cookie, so they are not stored: look for a session middleware that saves on every request.`,
    };
  }
  if (reason === 'vary-cookie') {
    return {
      id: 'cache-vary-cookie',
      text: `${route}: ${percent(share)} of responses have \`Vary: Cookie\`, so they are not stored: name the cookies that matter.`,
      config: `routes: { ${path}: { cache: { ttl: '1m', vary: { cookies: ['theme'] } } } }`,
    };
  }
  if (reason === 'too-large') {
    return {
      id: 'cache-entry-size',
      text: `${route}: ${percent(share)} of responses are larger than \`maxEntryBytes\`, so they are not stored: raise it, or send less.`,
      config: "cache: { maxEntryBytes: '4mb' }",
    };
  }
  return undefined;
}

const percent = (share: number) => `${Math.round(share * 100)} %`;
const milliseconds = (seconds: number) => `${Math.round(seconds * 1000)} ms`;
const megabytes = (bytes: number) => `${Math.round(bytes / 1024 ** 2)} MB`;
