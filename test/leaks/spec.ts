import type { Transport, WireRequest } from './clients.js';
import { Random } from './random.js';
import { relaxed } from './relaxed.js';
import { makeSteps, type Step } from './steps.js';

export const USERS = ['ann', 'bob', 'cid'] as const;
export type User = (typeof USERS)[number];

/** Where a handler finds the user. */
export type Source =
  | 'authorization'
  | 'api-key'
  | 'session'
  | 'certificate'
  /** A custom header, which no cache treats as a credential. */
  | 'header'
  /** A cookie that the rule adds to the key. */
  | 'cookie'
  /** All users see the same page, anonymous clients do not. */
  | 'members'
  /** The handler reads `AsyncLocalStorage`, which a middleware has filled from a header. */
  | 'storage';

/** How the app declares that a page for one user is not for others. */
export type Declaration =
  /** By the credential in the request alone (RFC 9111 §3.5). */
  | 'credential'
  /** `Cache-Control` that forbids it, in one of many spellings. */
  | 'forbidden'
  | 'set-cookie'
  | 'partition'
  /** `Vary` of the response. */
  | 'vary'
  | 'rule-headers'
  | 'rule-cookies'
  /** `Vary` on a header that a middleware writes, replacing the client's value. */
  | 'gateway'
  /** The header is listed in `cache.credentials`. */
  | 'own-credential'
  /** The rule's `when` holds for clients without a user only. */
  | 'when'
  /** By the credential in the request alone, which a middleware behind the cache makes of another header. */
  | 'late-credential'
  /** Not declared: no rule covers this route. */
  | 'no-rule';

/** Other inputs of the page. */
export type Input =
  | 'language'
  | 'filter'
  | 'theme'
  | 'query'
  | 'range'
  | 'body'
  | 'network'
  /** A header that marks requests for the public page; the rule's `when` demands it. */
  | 'audience'
  | 'device'
  | 'host'
  /** Plain requests are redirected to HTTPS, by a header of the proxy that the app does not trust. */
  | 'scheme';

/** A route next to one with a rule; the rule's pattern matches its path too. */
export type Neighbour =
  | 'optional-segment'
  | 'mounted'
  | 'case'
  | 'strict'
  | 'parameter'
  /** It matches paths in another case, or with a final slash, although the app distinguishes them. */
  | 'parameter-case'
  | 'mounted-strict';

/** The purpose of a route. Few random routes have all properties that make one missing protection visible. */
export type Focus =
  /** Users in `AsyncLocalStorage` cause refreshes of the public page. */
  | 'context'
  /** Clients in a private network have another page. */
  | 'address'
  | 'audience'
  /** The URL is rewritten before the cache. */
  | 'url'
  /** Header values with bytes outside ASCII. */
  | 'bytes'
  /** A middleware before the cache replaces a header in `Vary`. */
  | 'gateway'
  | 'spelling'
  | 'range'
  /** A middleware after the cache sets what `when` or `partition` reads, or a credential. */
  | 'late-when'
  | 'late-partition'
  | 'late-credential'
  /** A redirect to the request's own URL but for its scheme. */
  | 'scheme'
  /** Cookies that differ only in their `=`, or in white space of Latin-1. */
  | 'cookie'
  /** The page goes while a handler that has read it still runs. */
  | 'end'
  /** Client certificates identify users; such apps are few. */
  | 'certificate';

export interface RouteSpec {
  readonly path: string;
  readonly placement: 'map' | 'route' | 'none';
  readonly ttl: number;
  readonly staleWhileRevalidate: number | undefined;
  readonly staleIfError: number | undefined;
  readonly eagerRefresh: number | undefined;
  readonly collapse: boolean | 'cluster';
  readonly shared: boolean;
  readonly source: Source | undefined;
  readonly declaration: Declaration | undefined;
  /** `Cache-Control` of an identified user's page, if it forbids storing. */
  readonly forbidding: string;
  /** `Cache-Control` of an anonymous page. */
  readonly base: 'none' | 'public' | 's-maxage' | 'max-age';
  readonly inputs: readonly Input[];
  /** The inputs that the rule declares instead of `Vary`. */
  readonly byRule: readonly Input[];
  readonly neighbour: Neighbour | undefined;
  /** `Accept-Ranges` names the range unit of the app. */
  readonly namesUnit: boolean;
  readonly focus: Focus | undefined;
  /** A gate refuses requests without a header: one in `Vary`, or one that every client but no refresh sends. */
  readonly gate: 'declared' | 'undeclared' | undefined;
  readonly delay: 'none' | 'turn' | 'turns' | 'timer';
  readonly form: 'end' | 'write' | 'writeHead' | 'long';
  /** A header whose value is valid for one response. */
  readonly token: string | undefined;
  /** Requests with cookies get the entry too (`cookies: 'ignore'`). */
  readonly ignoresCookies?: boolean;
  /** Two hosts share its entries (`vary: { host: false }`). */
  readonly sharesHost?: boolean;
  /** The response of the handler once the page is gone. */
  readonly gone: 'private' | 'no-store' | '404' | '410' | 'set-cookie' | 'redirect';
}

export interface AppSpec {
  readonly seed: number;
  readonly major: 4 | 5;
  readonly transport: Transport;
  readonly door: boolean;
  readonly redis: boolean;
  readonly instances: number;
  readonly profile: 'safe' | 'rfc9111';
  readonly requestDirectives: 'ignore' | 'honor';
  readonly maxEntries: number | undefined;
  readonly hitForMiss: number | undefined;
  readonly caseSensitive: boolean;
  readonly strict: boolean;
  /** Express's `trust proxy`. */
  readonly trustsProxy: boolean;
  /** Where the session and the middleware that sets `req.user` are mounted. */
  readonly identify: 'before' | 'after';
  readonly session: 'express-session' | 'plain';
  readonly gateway: 'before' | 'after';
  readonly storage: 'run' | 'enterWith';
  readonly storagePlace: 'before' | 'after';
  readonly storageHeader: 'authorization' | 'x-session';
  readonly rewrites: boolean;
  readonly compression: boolean;
  readonly ownCredential: boolean;
  readonly routes: readonly RouteSpec[];
}

/** Each client has its own connections: `enterWith` reaches the next request on its connection, cache or not. */
export interface Client {
  readonly user: User | undefined;
  /** It presents the client certificate of its user. */
  readonly isCertified: boolean;
}

/** A request that is sent many times. */
export interface Shape {
  readonly route: number;
  /** The client whose connection it uses. */
  readonly client: Client;
  readonly wire: WireRequest;
}

/** An app, its requests, and their order. */
export interface Plan {
  readonly app: AppSpec;
  readonly shapes: readonly Shape[];
  readonly steps: readonly Step[];
}

/** Values that a sensible app intends as `private` or `no-store`. */
const FORBIDDING_SAFE = [
  'private',
  'no-store',
  'PRIVATE , max-age=60',
  'no-store,public',
  'max-age=60, no-cache',
  'private=x, max-age=60',
];
const FORBIDDING_MALFORMED = [
  'public, max-age=60, ext="a, no-store',
  '"no-store"',
  'max-age=60, "private"',
  'public, max-age=60, "no-store"',
  'max-age=60, private="',
  'max-age=60, no-store=',
];
const FORBIDDING_BOTH = ['private', 'no-store', 'max-age=60,private', 'No-Store'];

const TOKENS = [
  'Set-Cookie',
  'Set-Cookie2',
  'Set-Login',
  'X-CSRF-Token',
  'X-Auth-Token',
  'Authentication-Info',
  'X-Trace-Id',
  'X-B3-TraceId',
  'X-B3-SpanId',
  'Request-Id',
  'X-Request-Id',
  'X-Amzn-Trace-Id',
  'X-Amz-Request-Id',
  'X-Amz-Cf-Id',
  'CF-Ray',
  'X-Cloud-Trace-Context',
  'X-Runtime',
  'X-Response-Time',
  'Server-Timing',
];

export interface Possible {
  readonly redis: boolean;
  readonly certificates: boolean;
}

/** Creates the plan of one seed. */
export function planOf(seed: number, possible: Possible, requests: number): Plan {
  const random = new Random(seed);
  const app = relaxed(makeApp(random, seed, possible));
  const shapes = app.routes.flatMap((route, index) => makeShapes(random, app, route, index));
  return { app, shapes, steps: makeSteps(random, app, shapes, requests) };
}

const FOCUSES: readonly Focus[] = [
  'context',
  'address',
  'audience',
  'url',
  'bytes',
  'gateway',
  'spelling',
  'range',
  'late-when',
  'late-partition',
  'late-credential',
  'scheme',
  'cookie',
  'end',
];

function makeApp(random: Random, seed: number, possible: Possible): AppSpec {
  const kind = random.below(100);
  const transport = kind < 8 ? 'http2' : kind < 20 && possible.certificates ? 'https' : 'http';
  const isHttp2 = transport === 'http2';
  // Over HTTP/2 there is no Express, so there are no refreshes.
  const profile = random.chance(0.15) ? 'rfc9111' : 'safe';
  const certified: readonly Focus[] = transport === 'https' && profile === 'safe' ? ['certificate'] : [];
  const chosen = isHttp2 ? [] : [...certified, ...random.shuffled(FOCUSES)].slice(0, 2);
  // Addresses come from the proxy, which this app does not trust.
  const focuses = chosen.filter((focus) => focus !== 'address' || !chosen.includes('scheme'));
  const has = (focus: Focus) => focuses.includes(focus);
  const door = !isHttp2 && !has('url') && random.chance(0.4);
  const caseSensitive = random.chance(has('spelling') ? 0.5 : 0.3);
  const redis = random.chance(0.2) && possible.redis;
  const base = {
    seed,
    major: random.pick([4, 5] as const),
    transport,
    door,
    redis,
    instances: redis && random.chance(0.6) ? 2 : 1,
    profile,
    requestDirectives: random.chance(0.15) ? 'honor' : 'ignore',
    maxEntries: random.chance(0.15) ? 3 : undefined,
    hitForMiss: random.pick([undefined, 0, 1]),
    caseSensitive,
    strict: (has('spelling') && !caseSensitive) || random.chance(0.3),
    trustsProxy: !has('scheme'),
    identify: has('late-when') || has('late-partition') ? 'after' : random.pick(['before', 'after'] as const),
    session: isHttp2 || random.chance(0.5) ? 'plain' : 'express-session',
    gateway: has('gateway') ? 'before' : random.pick(['before', 'after'] as const),
    storage: random.pick(['run', 'enterWith'] as const),
    storagePlace: has('context') ? 'before' : random.pick(['before', 'after'] as const),
    storageHeader: random.pick(['authorization', 'x-session'] as const),
    rewrites: has('url') || (random.chance(0.3) && !door && !isHttp2),
    compression: random.chance(0.5),
    // The focuses on a header of users need it to be none that the cache knows.
    ownCredential:
      !has('gateway') &&
      !has('spelling') &&
      !has('late-when') &&
      !has('late-credential') &&
      random.chance(0.3),
  } as const;
  const count = focuses.length + 1 + random.below(4);
  const routes = Array.from({ length: count }, (_, index) => {
    const route = makeRoute(random, base, index);
    const focus = focuses[index];
    return focus ? focusOn(random, base, route, focus) : route;
  });
  return { ...base, routes };
}

/** The route with all that the focus needs. */
function focusOn(random: Random, app: Omit<AppSpec, 'routes'>, route: RouteSpec, focus: Focus): RouteSpec {
  const plain: RouteSpec = {
    ...route,
    focus,
    placement: random.pick(['map', 'route'] as const),
    ttl: 1,
    staleWhileRevalidate: 3600,
    shared: false,
    source: undefined,
    declaration: undefined,
    base: random.pick(['none', 'public'] as const),
    inputs: [],
    byRule: [],
    neighbour: undefined,
    gate: undefined,
    token: undefined,
  };
  switch (focus) {
    case 'context': {
      const isCredential = app.storageHeader === 'authorization';
      const forbidding = random.pick(FORBIDDING_BOTH);
      const declaration = isCredential ? 'credential' : 'forbidden';
      return { ...plain, source: 'storage', declaration, forbidding, base: 'public' };
    }
    case 'address':
      return { ...plain, inputs: ['network'] };
    case 'audience':
      return { ...plain, inputs: ['audience'] };
    case 'url':
      return { ...plain, inputs: ['device'] };
    case 'bytes': {
      const input = random.pick(['theme', 'filter'] as const);
      return { ...plain, inputs: [input], byRule: input === 'theme' || random.chance(0.5) ? [input] : [] };
    }
    case 'gateway':
      return { ...plain, source: 'header', declaration: 'gateway' };
    case 'range':
      return { ...plain, inputs: ['range'], namesUnit: random.chance(0.5) };
    case 'late-when':
      return { ...plain, source: 'header', declaration: 'when', placement: 'map', base: 'none' };
    case 'late-partition':
      return { ...plain, source: 'header', declaration: 'partition', placement: 'map', base: 'none' };
    case 'late-credential':
      return { ...plain, source: 'header', declaration: 'late-credential', base: 'none' };
    case 'scheme':
      return { ...plain, inputs: ['scheme'] };
    case 'certificate':
      return { ...plain, source: 'certificate', declaration: 'credential' };
    case 'cookie':
      return { ...plain, inputs: ['theme'], byRule: ['theme'] };
    case 'end': {
      // The second client's request reaches the app: it neither waits for the first one's run nor gets a stale entry.
      const apart = { staleWhileRevalidate: undefined, staleIfError: undefined, collapse: false } as const;
      return { ...plain, ...apart, ttl: 60, delay: 'none', gone: random.pick(ENDS) };
    }
    case 'spelling': {
      const neighbour =
        !app.strict || (app.caseSensitive && random.chance(0.5)) ? 'parameter-case' : 'mounted-strict';
      return {
        ...plain,
        source: 'header',
        declaration: 'no-rule',
        placement: 'map',
        neighbour,
      };
    }
  }
}

const GATES = ['declared', 'undeclared', ...Array.from({ length: 8 }, () => undefined)] as const;
/** Responses that take the place of the stored one. */
const ENDS = ['private', 'no-store', '404', '410', 'redirect'] as const;
const HIDDEN = [...ENDS, 'set-cookie'] as const;

function makeRoute(random: Random, app: Omit<AppSpec, 'routes'>, index: number): RouteSpec {
  const isSafe = app.profile === 'safe';
  const isHttp2 = app.transport === 'http2';
  const neighbour =
    !isHttp2 && random.chance(0.15)
      ? random.pick([
          'optional-segment',
          'mounted',
          'case',
          'strict',
          'parameter',
          'parameter-case',
          'mounted-strict',
        ] as const)
      : undefined;
  const placement = neighbour ? 'map' : random.pick(['map', 'map', 'route', 'route', 'none'] as const);
  const inputs = random.some<Input>(['language', 'filter', 'query', 'range', 'host'], 0.25);
  if (random.chance(0.3)) inputs.push('theme');
  if (isHttp2 && random.chance(0.6)) inputs.push('body');
  if (!isHttp2 && app.trustsProxy && placement !== 'none' && random.chance(0.15)) inputs.push('network');
  if (app.rewrites && random.chance(0.6)) inputs.push('device');
  const declarable = inputs.filter((input) => ['language', 'filter', 'theme'].includes(input));
  const byRule = placement === 'none' ? [] : random.some(declarable, 0.5);
  const excusesCookies = byRule.includes('theme');

  const choices: [Source, Declaration][] = [];
  const add = (source: Source, ...declarations: Declaration[]) =>
    choices.push(...declarations.map((declaration): [Source, Declaration] => [source, declaration]));
  if (neighbour) add('header', 'no-rule');
  else {
    add('authorization', 'credential', 'forbidden');
    if (isSafe) {
      add('api-key', 'credential', 'forbidden', 'set-cookie');
      add('session', 'forbidden', 'set-cookie');
      if (!excusesCookies) add('session', 'credential', 'credential');
      if (app.transport === 'https')
        for (let i = 0; i < 5; i++) add('certificate', 'credential', 'forbidden');
      add('header', 'set-cookie');
      add('storage', 'set-cookie');
    }
    add('header', 'vary', 'forbidden', 'gateway', 'gateway');
    add('members', 'credential');
    add('storage', 'forbidden', 'forbidden', 'forbidden');
    if (app.storageHeader === 'authorization') add('storage', 'credential', 'credential');
    else if (app.ownCredential && isSafe) add('storage', 'own-credential');
    if (app.ownCredential && isSafe) add('header', 'own-credential');
    if (placement !== 'none') {
      add('header', 'rule-headers', 'partition', 'when');
      add('cookie', 'rule-cookies', 'rule-cookies');
      add('session', 'partition', 'partition');
      add('authorization', 'partition');
    }
  }
  // The network input has its own canary.
  const [source, declaration] =
    neighbour || (!inputs.includes('network') && random.chance(0.8)) ? random.pick(choices) : [];
  const isPersonal = source !== undefined;
  const saysPublic = declaration !== 'partition' && declaration !== 'when';
  const base =
    placement === 'none'
      ? random.pick(['public', 's-maxage'] as const)
      : random.pick(
          saysPublic
            ? (['none', 'none', 'public', 's-maxage', 'max-age'] as const)
            : (['none', 'max-age'] as const),
        );
  const forbiddingFor = !isSafe
    ? FORBIDDING_BOTH
    : source === 'authorization'
      ? [...FORBIDDING_SAFE, ...FORBIDDING_MALFORMED, 'public=bad, max-age=60']
      : [...FORBIDDING_SAFE, ...FORBIDDING_MALFORMED];
  const hasWindows = random.chance(0.7);
  return {
    path: `/r${index}`,
    placement,
    ttl: random.pick([1, 1, 2, 60]),
    staleWhileRevalidate: hasWindows && random.chance(0.7) ? random.pick([5, 60, 3600]) : undefined,
    staleIfError: hasWindows && random.chance(0.4) ? random.pick([5, 3600]) : undefined,
    eagerRefresh: placement !== 'none' && random.chance(0.2) ? 0.5 : undefined,
    collapse: random.chance(0.1) ? false : app.redis && random.chance(0.3) ? 'cluster' : true,
    shared: !isPersonal && !inputs.includes('network') && placement === 'map' && random.chance(0.6),
    source,
    declaration,
    forbidding: random.pick(forbiddingFor),
    base,
    inputs,
    byRule,
    neighbour,
    namesUnit: inputs.includes('range') && random.chance(0.5),
    focus: undefined,
    gate: neighbour ? undefined : random.pick(GATES),
    delay: random.pick(['none', 'turn', 'turn', 'turns', 'timer'] as const),
    form: random.pick(['end', 'end', 'write', 'writeHead', 'long'] as const),
    token: isSafe && random.chance(0.15) ? random.pick(TOKENS) : undefined,
    gone: random.pick(HIDDEN),
  };
}

const LANGUAGES = ['de', 'en', 'en, de', 'en,de', 'EN', 'fr;q=0.5', 'x\xf6'];
const FILTERS = [
  '{"name":"Smith , John"}',
  '{"name":"Smith,John"}',
  '{"name":"Smith, John"}',
  'caf\xe9',
  'a,b',
  'a , b',
  'a',
  'A',
];
const THEMES = [
  'theme=dark',
  'theme=light',
  '\xa0theme=dark',
  'theme=dark\xa0',
  'theme',
  'theme=',
  'theme=k\xf6ln',
  'theme="dark"',
  'theme=dark; theme=light',
  'theme=light; theme=dark',
  'Theme=dark',
  'x=1; theme=dark',
  'theme =dark',
];
const NEAR_COOKIES = ['theme', 'theme=', '\xa0theme=dark', 'theme=dark\xa0', 'theme=dark'];
const SECRET = 'the secret of the sessions';

export const tokenOf = (user: User) => `token-${user}`;
export const sessionSecret = SECRET;
export const sessionIdOf = (user: User) => `session-${user}`;

/** @param sign computes the signature of a session id. */
let signSession: (id: string) => string = (id) => id;
export function setSessionSigner(sign: (id: string) => string): void {
  signSession = sign;
}

function makeShapes(random: Random, app: AppSpec, route: RouteSpec, index: number): Shape[] {
  const shapes: Shape[] = [];
  const pathOf = () => {
    if (route.neighbour === 'optional-segment')
      return random.pick([`${route.path}/mine`, `${route.path}/other`]);
    if (route.neighbour === 'mounted') return `${route.path}/7/y`;
    if (route.neighbour === 'case' || route.neighbour === 'parameter-case')
      return random.pick([`${route.path}/report`, `${route.path}/Report`]);
    if (route.neighbour === 'strict' || route.neighbour === 'mounted-strict')
      return random.pick([`${route.path}/list`, `${route.path}/list/`]);
    if (route.neighbour === 'parameter') return random.pick([`${route.path}/mine`, `${route.path}/other`]);
    return route.path;
  };
  const count = 8 + random.below(8);
  for (let i = 0; i < count; i++) {
    const who = random.chance(0.55) ? random.pick(USERS) : undefined;
    const headers: [string, string][] = [];
    const cookies: string[] = [];
    if (who && route.source) addIdentity(app, route, who, headers, cookies);
    // An attacker writes the header of the gateway; no other client sends it.
    if (route.declaration === 'gateway' && random.chance(0.4)) {
      headers.push(['X-User-Id', random.pick(USERS.filter((user) => user !== who))]);
    }
    // One that is like another but for the user is met most often where nothing else differs.
    const isBare = route.declaration === 'gateway' && random.chance(0.6);
    const has = (input: Input) => !isBare && route.inputs.includes(input);
    if (has('language') && random.chance(0.8)) headers.push(['Accept-Language', random.pick(LANGUAGES)]);
    if (has('filter') && random.chance(0.8)) headers.push(['X-Filter', random.pick(FILTERS)]);
    if (has('theme') && random.chance(0.8))
      cookies.push(random.pick(route.focus === 'cookie' ? NEAR_COOKIES : THEMES));
    if (has('range') && random.chance(0.6)) {
      headers.push(['Range', random.pick(['items=0-24', 'items=25-49', 'bytes=0-9', 'bytes=0-'])]);
    }
    if (has('network')) {
      const address = random.pick(['203.0.113.7', '198.51.100.9', '10.0.0.3', 'fd12::7']);
      headers.push(['X-Forwarded-For', address]);
    }
    if (has('scheme')) headers.push(['X-Forwarded-Proto', random.pick(['http', 'https'])]);
    if (has('audience') && random.chance(0.7)) headers.push(['X-Audience', 'public']);
    if (route.gate === 'undeclared' || (route.gate && random.chance(0.7))) headers.push(['X-Edge', 'secret']);
    if (has('device') && random.chance(0.5)) headers.push(['X-Device', 'mobile']);
    if (random.chance(0.1))
      headers.push(['Cache-Control', random.pick(['no-cache', 'max-stale', 'max-age=0'])]);
    if (random.chance(0.1)) headers.push(['If-None-Match', '"1"']);
    if (random.chance(0.15)) headers.push(['Accept-Encoding', 'gzip']);
    if (cookies.length > 0) headers.push(['Cookie', cookies.join('; ')]);
    const other = route.sharesHost && i % 2 === 1 ? 'b.example' : 'a.example';
    const host = has('host') ? random.pick(['a.example', 'b.example']) : other;
    let target = pathOf();
    if (has('query') && random.chance(0.8))
      target += random.pick(['?q=1', '?q=2', '?q=1&q=2', '?q=', '?Q=1']);
    const body = has('body') && random.chance(0.6) ? random.pick(['one', 'two']) : undefined;
    const method = body === undefined && random.chance(0.06) ? 'HEAD' : 'GET';
    const wire = { method, target, headers: [['Host', host], ...headers], body } as const;
    const isCertified = who !== undefined && (route.source === 'certificate' || random.chance(0.1));
    shapes.push({ route: index, client: { user: who, isCertified }, wire });
  }
  return shapes;
}

function addIdentity(
  app: AppSpec,
  route: RouteSpec,
  who: User,
  headers: [string, string][],
  cookies: string[],
) {
  const { source } = route;
  if (source === 'authorization' || source === 'members') headers.push(['Authorization', tokenOf(who)]);
  if (source === 'api-key') headers.push(['X-Api-Key', tokenOf(who)]);
  if (source === 'session') cookies.push(`sid=${encodeURIComponent(signSession(sessionIdOf(who)))}`);
  if (source === 'header') headers.push(['X-Session', tokenOf(who)]);
  if (source === 'cookie') cookies.push(`uid=${tokenOf(who)}`);
  if (source === 'storage') {
    headers.push([app.storageHeader === 'authorization' ? 'Authorization' : 'X-Session', tokenOf(who)]);
  }
}
