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
import { nextTurn } from './event-loop.js';
import { listen, type RawAnswer, raw } from './http.js';

type ExpressModule = typeof express5;

/** A response, for the assertions of a test. */
export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** The Cache-Status of the response. Not the oracle: tests count handler runs. */
  xCache: string | null;
  cacheStatus: string | null;
  setCookie: string[];
}

/** An app with a cache and its port. */
export interface CacheApp {
  readonly app: Express;
  readonly cache: ResponseCache;
  readonly url: string;
  readonly port: number;
  /** Errors that the cache reported. */
  readonly faults: { error: unknown; where: string }[];
  /** Requests that have reached the server and were taken by the cache as far as possible at once. */
  requests(): number;
  /** Number of handler runs: all, or those counted under one name. */
  runs(name?: string): number;
  /** Counts one run of a handler and returns its number, from 1. */
  count(name?: string): number;
  /** Sends a request over kept-alive connections. Rejects without a complete response. */
  get(path: string, headers?: Record<string, string>, wanted?: Wanted): Promise<Answer>;
  /** Sends raw request text over a plain socket. Adds `Host` and the end of the head where they are missing. */
  raw(request: string, body?: string): Promise<RawAnswer>;
}

/** Request parts beside path and headers. */
export type Wanted = Pick<Ask, 'method' | 'body' | 'signal'>;

export interface CacheAppOptions {
  express: ExpressModule;
  /** Options of the cache, including `routes`. */
  cache?: StandaloneCacheOptions;
  /** Mounted before the cache. */
  before?: ((app: Express) => void) | undefined;
  /** The routes of the app, after the cache. */
  routes: (app: Express, made: CacheApp) => void;
}

/** A handler of a route, typed as Express types it. */
export type Handler = (req: Request, res: Response) => unknown;

/** The front-door projects run the same tests with a front door before each app (vitest.config.ts). */
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

/** The same rule, open for the front door where that is possible. */
function opened(rule: CacheRule): CacheRule {
  return rule.partition || rule.when || rule.shared !== undefined ? rule : { ...rule, shared: true };
}

const open: (() => Promise<void>)[] = [];
const unexpected: unknown[] = [];

/** Creates an app with the cache as its first middleware, and closes it after the test. */
export async function cacheApp(options: CacheAppOptions): Promise<CacheApp> {
  const counts = new Map<string, number>();
  const faults: CacheApp['faults'] = [];
  let requests = 0;
  const app = options.express();
  const agent = new Agent({ keepAlive: true });
  // The front door is for apps that mount hotpath first: earlier middlewares do not run for a hit.
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
  // An error of the app is a response here, and prints nothing.
  app.use((_error: unknown, _req: Request, res: Response, _next: unknown) => {
    res.headersSent ? res.destroy() : res.status(500).send('error');
  });
  const { url, port, server, close } = await listen(app);
  // Attached after the app, so that it sees each request first.
  server.on('request', () => requests++);
  Object.assign(made, { url, port });
  open.push(async () => {
    agent.destroy();
    await cache.close();
    await close();
  });
  return made;
}

/** Headers that `fetch` adds. Node's plain client takes a fraction of the time of `fetch`. */
const EVERY_REQUEST = { Accept: '*/*', 'Accept-Encoding': 'gzip, deflate', 'User-Agent': 'node' };

/** Sends a request to any server, like `CacheApp.get`. */
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

/** Headers that may differ between two responses of the same app, with and without the cache. */
export const ADDED_HEADERS = ['x-cache', 'cache-status', 'age', 'date', 'etag', 'connection', 'keep-alive'];

/** I-SAME: a client gets the response of the app alone, except for fields that the cache declares. */
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

/** I-CANARY: no response holds the canary of another user. */
export function expectOnlyOwn(answer: Answer, own: string | undefined, all: readonly string[]): void {
  const whole = `${answer.text}\n${[...answer.headers].map((field) => field.join(': ')).join('\n')}`;
  for (const canary of all) if (canary !== own) expect(whole).not.toContain(canary);
}

/** A handler that responds with these headers and the number of its run. */
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
  await nextTurn();
  expect(unexpected.splice(0)).toEqual([]);
});

afterAll(() => {
  process.off('uncaughtException', note);
  process.off('unhandledRejection', note);
});
