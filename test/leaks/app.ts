import { AsyncLocalStorage } from 'node:async_hooks';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttp2 } from 'node:http2';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
// @ts-expect-error: the package that Express and express-session read cookies with; it has no types
import { parse as parseCookies } from 'cookie';
import session, { MemoryStore } from 'express-session';
import { type Hotpath, hotpath } from 'hotpath';
import type { ResponseCache } from 'hotpath/cache';
import { express4, express5 } from '../helpers/http.js';
import {
  type AppRequest,
  configOf,
  headerOf,
  isPrivateAddress,
  ruleOf,
  type Surroundings,
} from './app-config.js';
import {
  type AppSpec,
  type RouteSpec,
  sessionIdOf,
  sessionSecret,
  setSessionSigner,
  tokenOf,
  USERS,
  type User,
} from './spec.js';

/** The middleware before the handlers: hotpath, none, or a cache keyed by URL only. */
export type CacheKind = 'hotpath' | 'none' | 'by-url';

type Next = (error?: unknown) => void;
type Middleware = (req: AppRequest, res: ServerResponse, next: Next) => void;

/** State that the handlers of all instances of an app share, like a database; the test changes it. */
export class AppState {
  /** The version that pages show; it grows with every write. */
  version = 1;
  runs = 0;
  /** Handlers that have not responded yet. */
  pending = 0;
  readonly failing = new Set<number>();
  readonly gone = new Set<number>();
  /** Holds the next handler of a route back. */
  held: HeldHandler | undefined;
}

export interface HeldHandler {
  readonly route: number;
  readonly released: Promise<void>;
  /** Called when the handler has read its page. */
  reached(): void;
}

/** The state that a handler read when it was called. */
interface Page {
  readonly version: number;
  readonly isGone: boolean;
}

export interface End {
  readonly version: number;
  /** On the cache's clock. Milliseconds. */
  readonly at: number;
}

export interface RunningApp {
  readonly port: number;
  /** For each URL and view, the last time when a background refresh of this instance found the page gone. */
  readonly ended: ReadonlyMap<string, End>;
  readonly cache: ResponseCache | undefined;
  readonly perf: Hotpath | undefined;
  /** Errors that the cache reported through `onError`. */
  readonly faults: string[];
  close(): Promise<void>;
}

/** Marks content of one user: no response may carry it to another user. */
export const canaryOf = (owner: string) => `c~${owner}~`;
export const CANARY = /c~([a-z]+)~/g;

const userByToken = new Map<string, User>(USERS.map((user) => [tokenOf(user), user]));
const signed = (id: string) => {
  const signature = createHmac('sha256', sessionSecret).update(id).digest('base64').replace(/=+$/, '');
  return `s:${id}.${signature}`;
};
setSessionSigner(signed);
const userBySession = new Map<string, User>(USERS.map((user) => [signed(sessionIdOf(user)), user]));

const cookiesOf = (req: IncomingMessage): Record<string, string | undefined> =>
  parseCookies(req.headers.cookie ?? '');
const userOfHeader = (req: IncomingMessage, name: string) => userByToken.get(headerOf(req, name) ?? '');

const store = new MemoryStore().setMaxListeners(0);
for (const user of USERS) {
  const cookie = { originalMaxAge: null, httpOnly: true, path: '/' };
  store.set(sessionIdOf(user), { cookie, user } as never);
}

function certifiedUser(req: IncomingMessage): User | undefined {
  const certificate = (req.socket as TLSSocket).getPeerCertificate?.();
  return USERS.find((user) => user === certificate?.subject?.CN);
}

/** Builds the app of a plan and lets it listen. */
export async function startApp(
  spec: AppSpec,
  kind: CacheKind,
  surroundings: Surroundings,
  state = new AppState(),
): Promise<RunningApp> {
  const ended = new Map<string, End>();
  const faults: string[] = [];
  const storage = new AsyncLocalStorage<User>();
  const before: Middleware[] = [];
  const after: Middleware[] = [];
  const place = (where: 'before' | 'after', middleware: Middleware) =>
    void (where === 'before' ? before : after).push(middleware);

  place(spec.storagePlace, (req, _res, next) => {
    const user = userOfHeader(req, spec.storageHeader);
    if (!user) return next();
    if (spec.storage === 'run') return storage.run(user, next);
    storage.enterWith(user);
    next();
  });
  if (spec.rewrites) {
    before.push((req, _res, next) => {
      if (req.headers['x-device'] === 'mobile') req.url = `/m${req.url}`;
      next();
    });
  }
  const openSession: Middleware =
    spec.session === 'express-session'
      ? (session({
          secret: sessionSecret,
          resave: false,
          saveUninitialized: false,
          name: 'sid',
          store,
        }) as never)
      : (req, _res, next) => {
          const user = userBySession.get(cookiesOf(req).sid ?? '');
          req.session = user ? { user } : {};
          next();
        };
  place(spec.identify, openSession);
  place(spec.identify, (req, _res, next) => {
    req.user =
      req.session?.user ??
      userOfHeader(req, 'authorization') ??
      userOfHeader(req, 'x-api-key') ??
      userOfHeader(req, 'x-session') ??
      certifiedUser(req);
    next();
  });
  place(spec.gateway, (req, _res, next) => {
    const user = userOfHeader(req, 'x-session');
    delete req.headers['x-user-id'];
    if (user) req.headers['x-user-id'] = user;
    next();
  });

  const perf = kind === 'hotpath' ? hotpath(configOf(spec, surroundings, faults)) : undefined;
  const middleware: Middleware | undefined = kind === 'by-url' ? cacheByUrl() : (perf as never);
  const beside = (route: RouteSpec): Middleware[] =>
    perf && route.placement === 'route' ? [perf.cache.route(ruleOf(spec, route)) as never] : [];
  /** Middlewares before the handler. */
  const beforeHandler = (route: RouteSpec): Middleware[] =>
    route.declaration === 'late-credential' ? [...beside(route), authorise] : beside(route);
  const handle = spec.transport === 'http2' ? plainListener : expressListener;
  const listener = handle(spec, {
    before,
    cache: middleware ? [middleware] : [],
    after,
    routes: (add) => {
      for (const [index, route] of spec.routes.entries()) {
        const answer =
          (isNeighbour: boolean): Middleware =>
          (req, res) =>
            answerWith({ spec, state, ended, faults, storage, route, index, isNeighbour }, req, res);
        for (const [path, isNeighbour, isMounted] of pathsOf(route)) {
          add(path, [...(isNeighbour ? [] : beforeHandler(route)), answer(isNeighbour)], isMounted);
        }
      }
    },
    attach: (app) => spec.door && perf?.attach(app as never),
  });
  const { certificates } = surroundings;
  const server =
    spec.transport === 'http2'
      ? (createHttp2(listener as never) as unknown as Server)
      : spec.transport === 'https'
        ? createHttps(
            { ...certificates!.server, ca: certificates!.ca, requestCert: true, rejectUnauthorized: false },
            listener as never,
          )
        : createServer(listener as never);
  // A busy machine may leave a connection idle for longer than that, and a request that crosses the end has no response.
  server.keepAliveTimeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    ended,
    cache: perf?.cache,
    perf,
    faults,
    async close() {
      await perf?.close();
      server.closeAllConnections?.();
      await new Promise((resolve) => server.close(resolve));
      // Node copies the store of every enabled storage at each asynchronous step, for the rest of the process.
      storage.disable();
    },
  };
}

/** Makes a credential of the header that the client sends. */
const authorise: Middleware = (req, _res, next) => {
  const token = headerOf(req, 'x-session');
  if (token !== undefined) req.headers.authorization = token;
  next();
};

interface Parts {
  readonly before: readonly Middleware[];
  readonly cache: readonly Middleware[];
  readonly after: readonly Middleware[];
  readonly routes: (add: (path: string, handlers: readonly Middleware[], isMounted: boolean) => void) => void;
  readonly attach: (app: unknown) => void;
}

function expressListener(spec: AppSpec, { before, cache, after, routes, attach }: Parts): unknown {
  const app = (spec.major === 5 ? express5 : express4)();
  app.set('trust proxy', spec.trustsProxy);
  if (spec.caseSensitive) app.enable('case sensitive routing');
  if (spec.strict) app.enable('strict routing');
  for (const middleware of [...before, ...cache, ...after]) app.use(middleware as never);
  attach(app);
  routes((path, handlers, isMounted) => {
    const paths = (spec.rewrites ? [path, `/m${path}`] : path) as never;
    if (isMounted) app.use(paths, ...(handlers as never[]));
    else app.all(paths, ...(handlers as never[]));
  });
  return app;
}

/** An app without Express, which does not support HTTP/2. */
function plainListener(_spec: AppSpec, { before, cache, after, routes }: Parts): unknown {
  const byPath = new Map<string, readonly Middleware[]>();
  routes((path, handlers) => {
    byPath.set(path, handlers);
  });
  return (req: AppRequest, res: ServerResponse) => {
    const common = [...before, ...cache, ...after];
    let chain: readonly Middleware[] = common;
    let at = 0;
    const next: Next = (error) => {
      if (error) throw error;
      if (at === chain.length && chain === common) {
        chain = byPath.get(pathOf(req)) ?? [];
        at = 0;
      }
      chain[at++]?.(req, res, next);
    };
    next();
  };
}

const pathOf = (req: IncomingMessage) => (req.url ?? '/').split('?')[0]!;

/** The paths of a route in mounting order; a neighbour is a route that no rule covers. */
function pathsOf(
  route: RouteSpec,
): readonly (readonly [path: string, isNeighbour: boolean, isMounted: boolean])[] {
  const { path, neighbour } = route;
  switch (neighbour) {
    case 'optional-segment':
    case 'parameter':
      return [
        [`${path}/mine`, true, false],
        [`${path}/:page`, false, false],
      ];
    case 'mounted':
      return [[path, true, true]];
    case 'case':
      return [
        [`${path}/Report`, true, false],
        [`${path}/report`, false, false],
      ];
    case 'parameter-case':
      return [
        [`${path}/report`, false, false],
        [`${path}/:page`, true, false],
      ];
    case 'mounted-strict':
      return [
        [`${path}/list`, false, false],
        [path, true, true],
      ];
    case 'strict':
      return [
        [`${path}/list/`, true, false],
        [`${path}/list`, false, false],
      ];
    case undefined:
      return [[path, false, false]];
  }
}

interface Answering {
  readonly spec: AppSpec;
  readonly state: AppState;
  readonly ended: Map<string, End>;
  readonly faults: string[];
  readonly storage: AsyncLocalStorage<User>;
  readonly route: RouteSpec;
  readonly index: number;
  readonly isNeighbour: boolean;
}

/** The handler of every route. It is correct without a cache: its response declares all inputs. */
function answerWith(answering: Answering, req: AppRequest, res: ServerResponse): void {
  const { spec, state, route } = answering;
  if (req.method === 'POST') {
    state.version++;
    res.statusCode = 204;
    return void res.end();
  }
  // Behind the cache, the gateway deletes the header of the client's request and of its refresh alike.
  if (req.hotpath?.internal && spec.gateway === 'before' && isReplaced(req, 'x-user-id')) {
    answering.faults.push(`a refresh of ${route.path} reached the handler as another variant`);
  }
  state.pending++;
  const page: Page = { version: state.version, isGone: state.gone.has(answering.index) };
  const held = takeHeld(answering);
  const answer = (body: string) => {
    try {
      writeAnswer(answering, req, res, { body, page });
    } finally {
      state.pending--;
    }
  };
  const afterDelay = (body: string) => {
    if (held) return void held.released.then(() => answer(body));
    if (route.delay === 'none') return answer(body);
    if (route.delay === 'turn') return void setImmediate(answer, body);
    if (route.delay === 'turns')
      return void setImmediate(() => setImmediate(() => setImmediate(answer, body)));
    setTimeout(answer, 2, body);
  };
  if (!route.inputs.includes('body')) return afterDelay('');
  let body = '';
  req.on('data', (chunk) => {
    body += chunk;
  });
  req.on('end', () => afterDelay(body));
}

function takeHeld({ state, index }: Answering): HeldHandler | undefined {
  const { held } = state;
  if (held?.route !== index) return undefined;
  state.held = undefined;
  held.reached();
  return held;
}

/** Whether a middleware has replaced or deleted the header that was sent. */
function isReplaced(req: AppRequest, name: string): boolean {
  const at = req.rawHeaders.findIndex((raw) => raw.toLowerCase() === name);
  return at >= 0 && req.rawHeaders[at + 1] !== headerOf(req, name);
}

/** The user as the handler sees it. */
function askerOf({ spec, route, storage, isNeighbour }: Answering, req: AppRequest) {
  const of = (owner: string | undefined) => ({ owner, isIdentified: owner !== undefined });
  if (route.neighbour && !isNeighbour) return of(undefined);
  switch (route.source) {
    case 'authorization':
      return of(userOfHeader(req, 'authorization'));
    case 'members':
      return of(userOfHeader(req, 'authorization') && 'members');
    case 'api-key':
      return of(userOfHeader(req, 'x-api-key'));
    case 'session':
      return of(req.session?.user);
    case 'certificate':
      return of(certifiedUser(req));
    case 'cookie':
      return of(userByToken.get(cookiesOf(req).uid ?? ''));
    case 'header':
      return of(
        route.declaration === 'gateway' ? headerOf(req, 'x-user-id') : userOfHeader(req, 'x-session'),
      );
    case 'storage':
      return {
        owner: storage.getStore() as string | undefined,
        // As in many apps: the middleware reads the request and passes the user on in another way.
        isIdentified: req.headers[spec.storageHeader] !== undefined,
      };
    case undefined: {
      const isInternal =
        (route.inputs.includes('network') && isPrivateAddress(req.ip)) ||
        (route.inputs.includes('audience') && headerOf(req, 'x-audience') !== 'public');
      return of(isInternal ? 'internal' : undefined);
    }
  }
}

function viewOf(route: RouteSpec, req: AppRequest, body: string): string {
  const view: Record<string, string | undefined> = {
    path: pathOf(req)
      .toLowerCase()
      .replace(/(.)\/$/, '$1'),
  };
  const { headers } = req;
  for (const input of route.inputs) {
    if (input === 'language')
      view.language = (headers['accept-language'] ?? '').split(',')[0]!.trim().toLowerCase();
    if (input === 'filter') view.filter = headerOf(req, 'x-filter') ?? 'absent';
    if (input === 'theme') view.theme = cookiesOf(req).theme ?? 'absent';
    if (input === 'query') view.query = (req.url ?? '').split('?')[1];
    if (input === 'host') view.host = headers.host ?? headerOf(req, ':authority');
    if (input === 'range') view.range = /^items=(.*)$/.exec(headers.range ?? '')?.[1];
    if (input === 'body') view.body = body;
  }
  return encodeURIComponent(JSON.stringify(view));
}

const PADDING = 'x'.repeat(2000);

function writeAnswer(
  answering: Answering,
  req: AppRequest,
  res: ServerResponse,
  { body, page }: { body: string; page: Page },
): void {
  const { state, route, index, isNeighbour } = answering;
  const run = ++state.runs;
  if (res.headersSent || res.destroyed) return;
  const { owner, isIdentified } = askerOf(answering, req);
  const view = viewOf(route, req, body);
  const fields = new Map<string, string | string[]>();
  const set = (name: string, value: string) => void fields.set(name, value);
  // A HEAD response may revalidate a stored response and sends its own header fields (RFC 9111 §4.3.5).
  if (req.method !== 'HEAD') set('X-Run', String(run));
  set('X-Version', String(page.version));
  set('X-View', view);
  set('X-Owner', owner === undefined ? '-' : canaryOf(owner));
  set('Content-Type', 'text/plain');
  const vary = varyOf(route);
  if (vary.length > 0) set('Vary', vary.join(', '));
  if (route.namesUnit) set('Accept-Ranges', 'items');
  if (route.token && req.method !== 'HEAD')
    set(route.token, `${route.token === 'Set-Cookie' ? 'csrf=' : ''}token-${run}`);
  let status = 200;
  if (state.failing.has(index)) {
    status = 503;
    set('X-Owner', '-');
    return send(route, res, status, fields, `error run=${run};`);
  }
  if (route.gate && req.headers['x-edge'] === undefined) {
    set('X-Owner', '-');
    return send(route, res, 403, fields, `refused run=${run};`);
  }
  if (page.isGone) {
    status = endOf(route, fields);
    if (req.hotpath?.internal) noteEnd(answering, req, res, { view, owner, version: page.version });
    set('X-Gone', '1');
    set('X-Owner', '-');
    return send(route, res, status, fields, `gone run=${run};`);
  }
  if (route.inputs.includes('scheme') && headerOf(req, 'x-forwarded-proto') !== 'https') {
    set('Location', `https://${req.headers.host}${req.originalUrl ?? req.url}`);
    return send(route, res, 301, fields, `moved run=${run};`);
  }
  if (route.source === 'members' && !isIdentified) {
    return send(route, res, 401, fields, `log in; run=${run};`);
  }
  const cacheControl = isNeighbour ? undefined : cacheControlOf(route, isIdentified);
  if (cacheControl) set('Cache-Control', cacheControl);
  if (isIdentified && route.declaration === 'set-cookie') set('Set-Cookie', `last=token-${run}`);
  const { range } = req.headers;
  if (range?.startsWith('bytes=') && route.inputs.includes('range')) {
    status = 206;
    set('Content-Range', 'bytes 0-9/1000');
    return send(route, res, status, fields, '0123456789');
  }
  const shown = owner === undefined ? '-' : canaryOf(owner);
  send(route, res, status, fields, `run=${run}; owner=${shown}; view=${view}; version=${page.version};`);
}

function noteEnd(
  { ended }: Answering,
  req: AppRequest,
  res: ServerResponse,
  { view, owner, version }: { view: string; owner: string | undefined; version: number },
): void {
  const key = endKeyOf(req.headers.host ?? '', req.originalUrl ?? req.url ?? '', view, owner);
  // Until the response is complete, the stale one may be served.
  res.once('finish', () => ended.set(key, { version, at: performance.now() }));
}

/** Of responses with one key: those for different users may be variants. */
export const endKeyOf = (host: string, target: string, view: string, owner: string | undefined) =>
  `${host} ${target} ${view} ${owner ?? '-'}`;

/** @returns the status of a page that is gone. */
function endOf(route: RouteSpec, fields: Map<string, string | string[]>): number {
  fields.delete('Cache-Control');
  if (route.gone === 'private' || route.gone === 'no-store') fields.set('Cache-Control', route.gone);
  if (route.gone === 'set-cookie') fields.set('Set-Cookie', 'a=1');
  if (route.gone === 'redirect') {
    fields.set('Location', '/elsewhere');
    return 302;
  }
  return route.gone === '404' || route.gone === '410' ? Number(route.gone) : 200;
}

function varyOf(route: RouteSpec): string[] {
  const names: string[] = [];
  for (const input of route.inputs) {
    if (route.byRule.includes(input)) continue;
    if (input === 'language') names.push('Accept-Language');
    if (input === 'filter') names.push('X-Filter');
    if (input === 'theme') names.push('Cookie');
  }
  if (route.gate === 'declared') names.push('X-Edge');
  if (route.declaration === 'vary') names.push('X-Session');
  if (route.declaration === 'gateway') names.push('X-User-Id');
  return names;
}

/** Declarations by the credential in the request alone. */
const CREDENTIALS: ReadonlySet<string | undefined> = new Set([
  'credential',
  'own-credential',
  'late-credential',
]);

function cacheControlOf(route: RouteSpec, isIdentified: boolean): string | undefined {
  const { declaration, base, ttl, staleWhileRevalidate, placement } = route;
  if (isIdentified && declaration === 'forbidden') return route.forbidding;
  if (isIdentified && CREDENTIALS.has(declaration)) return undefined;
  if (isIdentified && route.source === undefined) return undefined;
  if (base === 'none') return undefined;
  const windows =
    placement === 'none' && staleWhileRevalidate ? `, stale-while-revalidate=${staleWhileRevalidate}` : '';
  if (base === 's-maxage') return `s-maxage=${ttl}${windows}`;
  return `${base === 'public' ? 'public, ' : ''}max-age=${ttl}${windows}`;
}

function send(
  route: RouteSpec,
  res: ServerResponse,
  status: number,
  fields: ReadonlyMap<string, string | string[]>,
  text: string,
): void {
  const body = Buffer.from(route.form === 'long' ? `${text}${PADDING}` : text, 'latin1');
  if (route.form === 'writeHead') {
    res.writeHead(status, { ...Object.fromEntries(fields), 'Content-Length': body.length });
    return void res.end(body);
  }
  res.statusCode = status;
  for (const [name, value] of fields) res.setHeader(name, value);
  if (route.form === 'write' || route.form === 'long') {
    if (route.form === 'long') res.setHeader('Content-Length', body.length);
    res.write(body.subarray(0, 10));
    return void setImmediate(() => res.end(body.subarray(10)));
  }
  res.setHeader('Content-Length', body.length);
  res.end(body);
}

/** A cache as written in ten lines: the test must find its mistakes. */
function cacheByUrl(): Middleware {
  const stored = new Map<string, { status: number; headers: Record<string, never>; body: Buffer }>();
  return (req, res, next) => {
    const key = `${req.method} ${req.url}`;
    const found = stored.get(key);
    if (found) return void res.writeHead(found.status, found.headers).end(found.body);
    const end = res.end;
    res.end = ((body: Buffer) => {
      if (body && res.statusCode === 200 && !res.headersSent) {
        stored.set(key, { status: 200, headers: res.getHeaders() as never, body });
      }
      return end.call(res, body as never, 'latin1');
    }) as never;
    next();
  };
}
