import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { readFinalStatus, wasAborted } from '../../exchange/completion.js';
import { type Exchange, exchangeOf } from '../../exchange/exchange.js';
import { isInternal } from '../../exchange/internal-mark.js';
import { readTarget } from '../../exchange/request-path.js';
import { reportFault } from '../../exchange/run-listeners.js';
import { UNCOUNTED } from '../../exchange/uncounted.js';
import type { RouteMatch, RouteTable } from '../../options/route-table.js';
import { unawaited } from '../../runtime/guard.js';
import { addressOf } from '../client-address.js';
import { requestIdOf, TIMING } from '../request-id.js';
import { escapeForLog, pathForLog, queryForLog } from './line.js';
import type {
  LoggedRequest,
  LogLevel,
  RequestLogger,
  RequestLogRoutePolicies,
  RequestLogSettings,
} from './options.js';

/** A request that has ended. */
export interface EndedForLog {
  readonly req: IncomingMessage;
  /** The socket on which it arrived. */
  readonly socket: Socket | undefined;
  readonly target: string;
  readonly requestId: string | undefined;
  readonly route: string | undefined;
  readonly status: number;
  readonly aborted: boolean;
  /** On the clock of `performance`. Milliseconds. */
  readonly startedAt: number;
  readonly responseBytes: number;
  readonly cache: string | undefined;
  /** A scrape or a probe. */
  readonly isOfOperators: boolean;
}

/** Writes one line for each request. */
export interface RequestLogMiddleware {
  (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void): void;
  /** Logs a request that was served without Express. Never throws. */
  ended(request: EndedForLog): void;
}

type IdentifiedRequest = IncomingMessage & { id?: unknown };

/** Without request ids of the timing middleware. */
const ID_HEADER = 'x-request-id';

const LONGEST_ID = 128;

const CONSOLE: RequestLogger = {
  debug: () => {},
  info: (fields, message) => printLine('info', fields, message),
  warn: (fields, message) => printLine('warn', fields, message),
  error: (fields, message) => printLine('error', fields, message),
};

/** Creates the middleware from resolved settings. */
export function createRequestLog(
  settings: RequestLogSettings,
  routes: RouteTable<RequestLogRoutePolicies>,
): RequestLogMiddleware {
  const unlogged = routes.policies.some(({ log }) => log === false) ? routes : undefined;
  /** A property of its own for each instance. */
  const mark = Symbol('hotpath.request-log');
  const follow = (req: IncomingMessage, res: ServerResponse): void => {
    const exchange = exchangeOf(req, res);
    if (isInternal(req) || exchange.dataOf(mark)) return;
    const match = unlogged && (exchange.match(unlogged) as RouteMatch<RequestLogRoutePolicies> | undefined);
    if (match?.policy.log === false) return;
    exchange.setData(mark, true);
    const requestId = identify(exchange);
    // Reading the address makes Node cache it; after an abort it is no longer available.
    void exchange.socket?.remoteAddress;
    exchange.onClose(() => log(settings, describeExchange(exchange, requestId)));
  };
  function requestLogMiddleware(req: IncomingMessage, res: ServerResponse, next: (e?: unknown) => void) {
    try {
      follow(req, res);
    } catch (error) {
      reportFault('request log', error);
    }
    next();
  }
  return Object.assign(requestLogMiddleware, { ended: (request: EndedForLog) => log(settings, request) });
}

/** The id of a request; sets `req.id`, where loggers of the app look for it. */
function identify(exchange: Exchange): string {
  const request = exchange.req as IdentifiedRequest;
  const { id } = request;
  if (typeof id === 'string' || typeof id === 'number') return escapeForLog(String(id), LONGEST_ID);
  const timing = exchange.dataOf(TIMING) as { readonly requestId?: string } | undefined;
  const own = timing?.requestId ?? requestIdOf(request, ID_HEADER, true);
  if (id === undefined) request.id = own;
  return own;
}

function describeExchange(exchange: Exchange, requestId: string): EndedForLog {
  const { req, socket, target, template, startedAt, sentBytes, cacheResult } = exchange;
  return {
    req,
    socket,
    target,
    requestId,
    route: template,
    status: readFinalStatus(exchange),
    aborted: wasAborted(exchange),
    startedAt,
    responseBytes: sentBytes,
    cache: cacheResult,
    isOfOperators: exchange.dataOf(UNCOUNTED) === true,
  };
}

function log(settings: RequestLogSettings, ended: EndedForLog): void {
  try {
    const { logger = CONSOLE } = settings;
    const fields = describe(settings, ended);
    const level = levelOf(settings, fields, ended.isOfOperators);
    // A method, because loggers need their `this`.
    if (level === false || typeof logger[level] !== 'function') return;
    const result = logger[level](fields, fields.aborted ? 'request aborted' : 'request completed');
    if (typeof (result as { then?: unknown } | undefined)?.then === 'function')
      void unawaited(result, 'log.logger');
  } catch (error) {
    reportFault('log.logger', error);
  }
}

function describe({ query }: RequestLogSettings, ended: EndedForLog): LoggedRequest {
  const { req, socket, target, route, status, startedAt, responseBytes, cache } = ended;
  const { path, search } = readTarget(target);
  const shown = query === false ? undefined : queryForLog(search, query);
  const address = addressOf(req, socket);
  return {
    requestId: ended.requestId ?? requestIdOf(req, ID_HEADER, true),
    method: escapeForLog(req.method ?? '', 32),
    path: pathForLog(path),
    ...(shown !== undefined && { query: shown }),
    ...(route !== undefined && { route }),
    status,
    seconds: Math.round((performance.now() - startedAt) * 1000) / 1e6,
    responseBytes,
    ...(cache !== undefined && { cache }),
    ...(address !== undefined && { clientAddress: escapeForLog(address, 100) }),
    aborted: ended.aborted,
  };
}

function levelOf(
  { level }: RequestLogSettings,
  fields: LoggedRequest,
  isOfOperators: boolean,
): LogLevel | false {
  const { status } = fields;
  const usual = status >= 500 ? 'error' : status >= 400 ? 'warn' : isOfOperators ? 'debug' : 'info';
  if (!level) return usual;
  try {
    return level(fields);
  } catch (error) {
    reportFault('log.level', error);
    return usual;
  }
}

function printLine(level: LogLevel, fields: object, message: string): void {
  console.log(JSON.stringify({ level, time: new Date().toISOString(), ...fields, msg: message }));
}
