import type { IncomingMessage, ServerResponse } from 'node:http';
import { cacheOf } from '../../cache/request/handler-hints.js';
import { leaveUncounted } from '../../exchange/uncounted.js';
import { unawaited } from '../../runtime/guard.js';
import { reportFault } from '../../runtime/report-fault.js';
import { Gate } from '../access/gate.js';
import {
  type PerformanceApiOptions,
  type PerformanceApiSettings,
  resolvePerformanceApi,
} from '../options.js';
import { readJsonBody } from '../read-body.js';
import { protectResponse, respondWith, respondWithJson, respondWithProblem } from '../respond.js';
import { EventStreams } from './event-streams.js';
import { readQuery } from './query.js';
import { AcceptedResult, type Resource, ResourceProblem, TextResult } from './resource-result.js';
import { makeResources } from './resources.js';

/** The performance API: a handler to mount with `app.use(path, api)`. */
export interface PerformanceApi {
  (req: IncomingMessage, res: ServerResponse, next?: (error?: unknown) => void): void;
  /**
   * A link with a new key, which works once: print it at the app's start. `undefined` if `authorize` is set, or if
   * `NODE_ENV` is `production`.
   *
   * @param url where the API is mounted, such as `http://localhost:3000/api/v1/performance`.
   * @throws HotpathError `HOTPATH_CONFIG_INVALID` unless it is a full URL.
   */
  link(url: string): string | undefined;
  /**
   * Ends the event streams, so that a server can close. Idempotent. `shutdown()` does it too, and `perf.close()` within
   * a second.
   */
  close(): void;
}

/**
 * Serves the figures of an instance as JSON: `app.use('/api/v1/performance', performanceApi({ perf, authorize }))`.
 * Without `authorize` nothing is served if `NODE_ENV` is `production`, and otherwise a key is needed: see `link`.
 *
 * No cache stores its responses, and its requests are in no series of metrics or telemetry.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function performanceApi(options: PerformanceApiOptions): PerformanceApi {
  const settings = resolvePerformanceApi(options);
  const gate = new Gate(settings.authorize, 'performanceApi');
  const api = createApi(settings, gate, true);
  function performanceApiHandler(req: IncomingMessage, res: ServerResponse): void {
    api.respond(req, res, req.url ?? '/');
  }
  return Object.assign(performanceApiHandler, {
    link: (url: string) => gate.link(url),
    close: () => api.close(),
  });
}

/** @internal The API behind a gate. */
export interface ApiBehindGate {
  /** @param target path and query below the mount. */
  respond(req: IncomingMessage, res: ServerResponse, target: string): void;
  close(): void;
}

/** @param hasPages whether links with a key may lead to it. */
export function createApi(settings: PerformanceApiSettings, gate: Gate, hasPages: boolean): ApiBehindGate {
  const { telemetry } = settings.perf;
  const resources = makeResources(settings);
  const streams = new EventStreams(
    () => telemetry.snapshot(),
    settings.maxListeners,
    () => telemetry.isClosed,
  );
  const handle = async (req: IncomingMessage, res: ServerResponse, target: string): Promise<void> => {
    const [path, search] = splitAtQuery(target);
    const query = new URLSearchParams(search);
    const resource = resources.get(path);
    const isPage = hasPages && resource?.method === 'GET';
    const action = resource && 'action' in resource ? resource.action : 'read';
    if (!(await gate.admit({ req, res, query, action, isPage, isRoot: path === '/' }))) return;
    await respondFrom({ req, res, query, streams }, resource);
  };
  return {
    respond: (req, res, target) => respondProtected(req, res, () => handle(req, res, target)),
    close: () => streams.close(),
  };
}

/** Responds to a request of operators: in no series, in no cache, and not readable by other sites. Never throws. */
export function respondProtected(
  req: IncomingMessage,
  res: ServerResponse,
  respond: () => Promise<void>,
): void {
  try {
    leaveUncounted(res);
    cacheOf(res).skip('performance-api');
    protectResponse(res);
    void unawaited(
      respond().catch((error: unknown) => fail(req, res, error)),
      'performance API',
    );
  } catch (error) {
    fail(req, res, error);
  }
}

/** The path and the query of a target. */
export function splitAtQuery(url: string): [path: string, search: string] {
  const at = url.indexOf('?');
  return at < 0 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)];
}

/** An admitted request. */
interface Admitted {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly query: URLSearchParams;
  readonly streams: EventStreams;
}

async function respondFrom(
  { req, res, query, streams }: Admitted,
  resource: Resource | undefined,
): Promise<void> {
  const refuse = ({ status, detail }: Pick<ResourceProblem, 'status' | 'detail'>) =>
    respondWithProblem(req, res, status, detail);
  if (!resource) return refuse({ status: 404, detail: 'There is no such resource.' });
  const isGet = req.method === 'GET' || req.method === 'HEAD';
  if (resource.method === 'GET' ? !isGet : req.method !== 'POST') {
    res.setHeader('Allow', resource.method === 'GET' ? 'GET, HEAD' : 'POST');
    return refuse({ status: 405, detail: 'This resource does not have the method.' });
  }
  if ('run' in resource) {
    const body = await readJsonBody(req);
    if ('status' in body) return refuse(body);
    return finish(await resource.run(body.value));
  }
  const values = readQuery(query, 'parameters' in resource ? resource.parameters : []);
  if (typeof values === 'string') return refuse({ status: 400, detail: values });
  if ('isStream' in resource) return streams.open(req, res);
  return finish(await resource.read(values, req));

  function finish(result: unknown): void {
    if (result instanceof ResourceProblem) refuse(result);
    else if (result instanceof TextResult) respondWith(req, res, 200, result.type, result.text);
    else if (result instanceof AcceptedResult) {
      res.setHeader('Location', result.location);
      respondWith(req, res, 202, 'application/json; charset=utf-8', JSON.stringify(result.body));
    } else respondWithJson(req, res, result);
  }
}

/** The cause is reported, and clients do not see it. */
function fail(req: IncomingMessage, res: ServerResponse, error: unknown): void {
  reportFault('performance API', error);
  if (res.headersSent) res.destroy();
  else respondWithProblem(req, res, 500, 'The request failed.');
}
