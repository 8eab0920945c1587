import { Agent, type IncomingMessage, type ServerResponse } from 'node:http';
import type express5 from 'express';
import type { Express, Request, Response } from 'express';
import { hotpath } from 'hotpath';
import {
  type CacheRule,
  type ResponseCache,
  responseCache,
  type StandaloneCacheOptions,
} from 'hotpath/cache';
import { afterAll, afterEach, expect } from 'vitest';
import { type Ask, ask } from './client.js';
import { listen, type RawAnswer, raw } from './http.js';

type ExpressModule = typeof express5;

/** An answer, as a test looks at it. */
export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** What the cache says of itself. Never the oracle: that is the number of the handler's runs. */
  xCache: string | null;
  cacheStatus: string | null;
  setCookie: string[];
}

/** An app with a cache, on a port. */
export interface CacheApp {
  readonly app: Express;
  readonly cache: ResponseCache;
  readonly url: string;
  readonly port: number;
  /** Errors that the cache reported. */
  readonly faults: { error: unknown; where: string }[];
  /** How many requests have come to the server, and been taken by the cache as far as it can at once. */
  requests(): number;
  /** How often handlers ran: all of them, or those counted under one name. */
  runs(name?: string): number;
  /** Counts one run of a handler and returns the number of it, from 1. */
  count(name?: string): number;
  /** Asks over connections that are kept. Rejects when no answer comes, or half of one. */
  get(path: string, headers?: Record<string, string>, wanted?: Wanted): Promise<Answer>;
  /** Sends a request as it stands over a plain socket; `Host` and the end of the head are added where missing. */
  raw(request: string, body?: string): Promise<RawAnswer>;
}

/** What a request has beside its path and headers. */
export type Wanted = Pick<Ask, 'method' | 'body' | 'signal'>;

export interface CacheAppOptions {
  express: ExpressModule;
  /** Options of the cache. `routes` as well. */
  cache?: StandaloneCacheOptions;
  /** Mounted before the cache. */
  before?: (app: Express) => void;
  /** The app's own routes, after the cache. */
  routes: (app: Express, made: CacheApp) => void;
}

/** A handler of a route, typed as Express types it. */
export type Handler = (req: Request, res: Response) => unknown;

/** The same tests are run again with a front door before each app (vitest.config.ts). */
export const throughDoor = process.env.HOTPATH_FRONT_DOOR !== undefined;

interface Mounting {
  readonly cache: ResponseCache;
  mount(app: Express): void;
}

function alone(options: StandaloneCacheOptions): Mounting {
  const cache = responseCache(options);
  return { cache, mount: (app) => void app.use(cache) };
}

function withDoor({ routes = {}, ...cache }: StandaloneCacheOptions): Mounting {
  const policies = Object.entries(routes).map(([path, rule]) => [path, { cache: rule && opened(rule) }]);
  const perf = hotpath({
    ...{ timing: false, metrics: false, sizeLimit: false, cacheControl: false, compression: false },
    cache,
    routes: Object.fromEntries(policies),
  });
  const mount = (app: Express) => {
    app.use(perf);
    perf.attach(app);
  };
  return { cache: perf.cache, mount };
}

/** A rule under which the front door may serve, if it is of that kind. */
function opened(rule: CacheRule): CacheRule {
  return rule.partition || rule.when || rule.shared !== undefined ? rule : { ...rule, shared: true };
}

const open: (() => Promise<void>)[] = [];
const unexpected: unknown[] = [];

/** Makes an app with the cache as its first middleware; it is closed after the test. */
export async function cacheApp(options: CacheAppOptions): Promise<CacheApp> {
  const counts = new Map<string, number>();
  const faults: CacheApp['faults'] = [];
  let requests = 0;
  const app = options.express();
  const agent = new Agent({ keepAlive: true });
  // The door is for apps that mount hotpath first: nothing that comes before it is heard of a hit.
  const isWithDoor = throughDoor && !options.before;
  const onError = (error: unknown, where: string) => void faults.push({ error, where });
  const { cache, mount } = (isWithDoor ? withDoor : alone)({ onError, ...options.cache });
  const made = {
    app,
    cache,
    faults,
    url: '',
    port: 0,
    requests: () => requests,
    runs: (name?: string) =>
      name === undefined ? [...counts.values()].reduce((sum, n) => sum + n, 0) : (counts.get(name) ?? 0),
    count(name = 'handler') {
      const next = (counts.get(name) ?? 0) + 1;
      counts.set(name, next);
      return next;
    },
    get: (path: string, headers?: Record<string, string>, wanted?: Wanted) =>
      answerFrom(made.port, { path, headers, agent, ...wanted }),
    raw: (request: string, body = '') => raw(made.port, withHost(request, made.port) + body),
  };
  options.before?.(app);
  mount(app);
  options.routes(app, made);
  // An error of the app is an answer here, not lines on the console.
  app.use((_error: unknown, _req: Request, res: Response, _next: unknown) => {
    res.headersSent ? res.destroy() : res.status(500).send('error');
  });
  const { url, port, server, close } = await listen(app);
  // After the app, which is the first to hear of a request.
  server.on('request', () => requests++);
  Object.assign(made, { url, port });
  open.push(async () => {
    agent.destroy();
    await cache.close();
    await close();
  });
  return made;
}

/** What `fetch` sends as well, which takes several times as long for a request as Node's plain client. */
const EVERY_REQUEST = { Accept: '*/*', 'Accept-Encoding': 'gzip, deflate', 'User-Agent': 'node' };

/** Asks as `CacheApp.get` does, any server. */
export async function answerFrom(port: number, { headers: given, ...wanted }: Ask): Promise<Answer> {
  const got = await ask(port, { headers: { ...EVERY_REQUEST, ...given }, ...wanted });
  if (!got.whole) throw new Error(`no whole answer to ${wanted.method ?? 'GET'} ${wanted.path}`);
  const headers = new Headers(got.headers);
  return {
    status: got.status,
    headers,
    text: got.body.toString(),
    xCache: headers.get('x-cache'),
    cacheStatus: headers.get('cache-status'),
    setCookie: headers.getSetCookie(),
  };
}

/** Headers that two answers of the same app may differ in, with and without the cache. */
export const ADDED_HEADERS = ['x-cache', 'cache-status', 'age', 'date', 'etag', 'connection', 'keep-alive'];

/** I-SAME: what a visitor gets with the cache is what the app alone sends, but for what the cache declares. */
export function expectSame(
  withCache: Answer,
  alone: Answer,
  ignore: readonly string[] = ADDED_HEADERS,
): void {
  const visible = (answer: Answer) =>
    [...answer.headers].filter(([name]) => !ignore.includes(name)).sort(([a], [b]) => (a < b ? -1 : 1));
  expect(withCache.status).toBe(alone.status);
  expect(withCache.text).toBe(alone.text);
  expect(visible(withCache)).toEqual(visible(alone));
}

/** I-CANARY: no answer holds another user's canary. */
export function expectOnlyOwn(answer: Answer, own: string | undefined, all: readonly string[]): void {
  const whole = `${answer.text}\n${[...answer.headers].map((field) => field.join(': ')).join('\n')}`;
  for (const canary of all) if (canary !== own) expect(whole).not.toContain(canary);
}

/** A handler that answers with these headers and the number of its run. */
export function counted(made: CacheApp, headers: Record<string, string | string[]>, name?: string) {
  return (_req: IncomingMessage, res: ServerResponse) => {
    const n = made.count(name);
    for (const [field, value] of Object.entries(headers)) res.setHeader(field, value);
    res.end(`run ${n}`);
  };
}

function withHost(request: string, port: number): string {
  const text = request.replace(/\r?\n/g, '\r\n').replace(/(?:\r\n)*$/, '\r\n');
  return `${/^host:/im.test(text) ? text : `${text}Host: 127.0.0.1:${port}\r\n`}\r\n`;
}

const note = (error: unknown) => unexpected.push(error);
process.on('uncaughtException', note);
process.on('unhandledRejection', note);

afterEach(async () => {
  await Promise.all(open.splice(0).map((close) => close()));
  // I-ALIVE
  await new Promise((resolve) => setImmediate(resolve));
  expect(unexpected.splice(0)).toEqual([]);
});

afterAll(() => {
  process.off('uncaughtException', note);
  process.off('unhandledRejection', note);
});
