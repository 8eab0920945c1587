import type { IncomingMessage, ServerResponse } from 'node:http';
import { cacheOf } from '../../cache/request/handler-hints.js';
import { unawaited } from '../../runtime/guard.js';
import { reportFault } from '../../runtime/report-fault.js';
import { Gate } from '../access/gate.js';
import { type PerformanceApiOptions, resolvePerformanceApi } from '../options.js';
import { protectResponse, respondWithJson, respondWithProblem } from '../respond.js';
import { makeResources, type Resource } from './resources.js';

/** The performance API: a handler to mount with `app.use(path, api)`. */
export interface PerformanceApi {
  (req: IncomingMessage, res: ServerResponse, next?: (error?: unknown) => void): void;
  /**
   * A link with a new key, which works once: print it at the app's start. `undefined` if `authorize` is set, or if
   * `NODE_ENV` is `production`.
   *
   * @param url where the API is mounted, such as `http://localhost:3000/api/v1/performance`.
   */
  link(url: string): string | undefined;
}

/**
 * Serves the figures of an instance as JSON: `app.use('/api/v1/performance', performanceApi({ perf, authorize }))`.
 * Without `authorize` nothing is served if `NODE_ENV` is `production`, and otherwise a key is needed: see `link`.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem.
 */
export function performanceApi(options: PerformanceApiOptions): PerformanceApi {
  const settings = resolvePerformanceApi(options);
  const gate = new Gate(settings.authorize);
  const resources = makeResources(settings);
  const handle = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const [path = '/', search = ''] = (req.url ?? '/').split('?', 2);
    const query = new URLSearchParams(search);
    const resource = resources.get(path);
    const isPage = resource?.methods.includes('GET') === true;
    const action = resource?.action ?? 'read';
    if (await gate.admit({ req, res, query, action, isPage, isRoot: path === '/' }))
      await answer(req, res, resource, query);
  };
  function performanceApiHandler(req: IncomingMessage, res: ServerResponse): void {
    try {
      cacheOf(res).skip('performance-api');
      protectResponse(res);
      void unawaited(
        handle(req, res).catch((error: unknown) => fail(req, res, error)),
        'performance API',
      );
    } catch (error) {
      fail(req, res, error);
    }
  }
  return Object.assign(performanceApiHandler, { link: (url: string) => gate.link(url) });
}

async function answer(
  req: IncomingMessage,
  res: ServerResponse,
  resource: Resource | undefined,
  query: URLSearchParams,
): Promise<void> {
  if (!resource) return respondWithProblem(req, res, 404, 'There is no such resource.');
  const { methods } = resource;
  const method = req.method === 'HEAD' ? 'GET' : (req.method ?? '');
  if (!methods.includes(method)) {
    res.setHeader('Allow', methods.includes('GET') ? 'GET, HEAD' : methods.join(', '));
    return respondWithProblem(req, res, 405, `${req.method} is not supported here.`);
  }
  respondWithJson(req, res, await resource.read(query));
}

/** The cause is reported, and clients do not see it. */
function fail(req: IncomingMessage, res: ServerResponse, error: unknown): void {
  reportFault('performance API', error);
  if (res.headersSent) res.destroy();
  else respondWithProblem(req, res, 500, 'The figures could not be read.');
}
