// The config that an app of the leak test gives to hotpath.
import type { IncomingMessage } from 'node:http';
import type { RoutePolicies } from 'hotpath';
import type { CacheRule } from 'hotpath/cache';
import type { Certificates } from './certificates.js';
import type { AppSpec, RouteSpec, User } from './spec.js';

export interface AppRequest extends IncomingMessage {
  user?: User | undefined;
  session?: { user?: User };
  ip?: string;
  originalUrl?: string;
  hotpath?: { internal?: boolean };
}
export interface Surroundings {
  readonly certificates: Certificates | undefined;
  readonly redisUrl: string | undefined;
  /** The key prefix in Redis. */
  readonly prefix: string;
}

export const headerOf = (req: IncomingMessage, name: string) => req.headers[name] as string | undefined;
export const isPrivateAddress = (ip = '') =>
  /^(?:::ffff:)?(?:10\.|127\.|192\.168\.)|^(?:fc|fd)|^::1$/.test(ip);

/** The pattern of a route and its neighbour, for `routes`. */
function patternOf({ path, neighbour }: RouteSpec): string {
  switch (neighbour) {
    case 'optional-segment':
      return `${path}{/:page}`;
    case 'parameter':
      return `${path}/:page`;
    case 'mounted':
      return `${path}/:id/y`;
    case 'case':
    case 'parameter-case':
      return `${path}/report`;
    case 'strict':
    case 'mounted-strict':
      return `${path}/list`;
    case undefined:
      return path;
  }
}

const HEADERS = { language: 'accept-language', filter: 'x-filter' } as const;

/** The cache rule that a route declares. */
export function ruleOf(spec: AppSpec, route: RouteSpec): CacheRule {
  const { declaration, byRule, staleWhileRevalidate, staleIfError, eagerRefresh } = route;
  const headers = byRule.flatMap((input) => (input === 'theme' ? [] : [HEADERS[input as 'language']]));
  if (declaration === 'rule-headers') headers.push('x-session' as never);
  const cookies = byRule.includes('theme') ? ['theme'] : [];
  if (declaration === 'rule-cookies') cookies.push('uid');
  return {
    ttl: route.ttl,
    staleWhileRevalidate,
    staleIfError,
    eagerRefresh,
    // Without Redis, `cluster` logs a warning at start.
    collapse: route.collapse === 'cluster' && !spec.redis ? true : route.collapse,
    tags: [`tag:${route.path}`],
    shared: route.shared,
    vary: {
      headers,
      ...(cookies.length > 0 ? { cookies } : {}),
      ...(route.sharesHost ? { host: false as const } : {}),
    },
    ...(route.ignoresCookies ? { cookies: 'ignore' as const } : {}),
    ...(declaration === 'partition'
      ? { partition: ({ req }) => (req as never as AppRequest).user ?? 'guest' }
      : {}),
    ...whenOf(route),
  };
}

function whenOf({ declaration, inputs }: RouteSpec): Pick<CacheRule, 'when'> {
  const when = (holds: (req: AppRequest) => boolean): Pick<CacheRule, 'when'> => ({
    when: ({ req }) => holds(req as never),
  });
  if (inputs.includes('network')) return when(({ ip }) => !isPrivateAddress(ip));
  if (inputs.includes('audience')) return when((req) => headerOf(req, 'x-audience') === 'public');
  return declaration === 'when' ? when(({ user }) => user === undefined) : {};
}

/** The config of an instance; errors that the cache reports go to `faults`. */
export function configOf(spec: AppSpec, { redisUrl, prefix }: Surroundings, faults: string[]) {
  const routes: Record<string, RoutePolicies> = {};
  for (const route of spec.routes) {
    if (route.placement !== 'map') continue;
    routes[patternOf(route)] = { cache: ruleOf(spec, route) };
    if (spec.rewrites) routes[`/m${patternOf(route)}`] = { cache: ruleOf(spec, route) };
  }
  return {
    timing: false,
    metrics: false,
    sizeLimit: false,
    cacheControl: false,
    compression: spec.compression,
    routes,
    cache: {
      profile: spec.profile,
      requestDirectives: spec.requestDirectives,
      ...(spec.maxEntries === undefined ? {} : { memory: { maxEntries: spec.maxEntries } }),
      ...(spec.hitForMiss === undefined ? {} : { hitForMiss: spec.hitForMiss }),
      ...(spec.ownCredential ? { credentials: [...DEFAULT_CREDENTIALS, 'x-session'] } : {}),
      ...(spec.redis ? { redis: { url: redisUrl!, prefix, readTimeout: 2, writeTimeout: 5 } } : {}),
      onError: (error: unknown, where: string) => void faults.push(`${where}: ${String(error)}`),
    },
  } as const;
}

const DEFAULT_CREDENTIALS = [
  'authorization',
  'cookie',
  'x-api-key',
  'proxy-authorization',
  'client-certificate',
];
