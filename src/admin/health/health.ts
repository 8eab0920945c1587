import type { IncomingMessage, ServerResponse } from 'node:http';
import { isHttp2 } from '../../exchange/connection.js';
import { readTarget } from '../../exchange/request-path.js';
import { leaveUncounted, markHarmless } from '../../exchange/uncounted.js';
import { unawaited } from '../../runtime/guard.js';
import { serverOf } from '../../runtime/server-connections.js';
import { askPermission } from '../access/authorize.js';
import { shutdownReason } from '../shutdown/shutdown-state.js';
import { type HealthOptions, type HealthSettings, resolveHealth } from './options.js';
import { Readiness } from './readiness.js';
import type { HealthReport } from './report.js';

/** The health endpoints. */
export interface HealthMiddleware {
  (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void): void;
  /** The readiness with all reasons, as `/readyz` has it: from memory while the results hold. Never rejects. */
  read(): Promise<HealthReport>;
}

/**
 * Serves `/healthz` and `/readyz` to GET and HEAD; passes all other requests on.
 *
 * `/healthz` says whether the process runs: 200, without any input or output. `/readyz` says whether requests may come:
 * 200, or 503 if a critical check fails or the server shuts down. The body is JSON: `{"status":"pass"}`, `warn` or
 * `fail`; for those whom `authorize` accepts, the checks too.
 *
 * Mount it before or after hotpath, before authentication and redirects. No cache stores its responses, load shedding
 * spares them, and they are in no series of metrics or telemetry.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for invalid options.
 */
export function health(options?: HealthOptions): HealthMiddleware {
  const settings = resolveHealth(options);
  const readiness = new Readiness(settings);
  const endpoints = endpointsBy(settings);
  const read = (req?: IncomingMessage) => {
    const owners = [healthMiddleware, settings.perf, req && serverOf(req)];
    const reason = owners.map(shutdownReason).find((each) => each !== undefined);
    return reason === undefined ? readiness.read() : readiness.refuse(reason);
  };
  function healthMiddleware(req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) {
    const isRead = req.method === 'GET' || req.method === 'HEAD';
    const endpoint = isRead ? endpoints.get(readTarget(req.url ?? '').path) : undefined;
    if (!endpoint) return next();
    leaveUncounted(res);
    if (endpoint === 'live') return send(req, res, 200, { status: 'pass' });
    void unawaited(respond(settings, req, res, read), 'health');
  }
  return markHarmless(Object.assign(healthMiddleware, { read: async () => read() }));
}

/** By path. As in Express, a slash may follow. */
function endpointsBy({ live, ready, prefixes }: HealthSettings): ReadonlyMap<string, 'live' | 'ready'> {
  const endpoints = new Map<string, 'live' | 'ready'>();
  for (const prefix of prefixes) {
    for (const end of ['', '/']) {
      if (live !== false) endpoints.set(prefix + live + end, 'live');
      if (ready !== false) endpoints.set(prefix + ready + end, 'ready');
    }
  }
  return endpoints;
}

async function respond(
  settings: HealthSettings,
  req: IncomingMessage,
  res: ServerResponse,
  read: (req: IncomingMessage) => HealthReport | Promise<HealthReport>,
): Promise<void> {
  const [report, isAllowed] = await Promise.all([read(req), mayReadReasons(settings, req)]);
  const { status } = report;
  send(req, res, status === 'fail' ? 503 : 200, isAllowed ? report : { status });
}

/** Never takes longer than a check: a probe must not wait for a sign-in. */
async function mayReadReasons(
  { authorize, timeout }: HealthSettings,
  req: IncomingMessage,
): Promise<boolean> {
  if (!authorize) return false;
  return (await askPermission(authorize, req, { action: 'read', timeoutMs: timeout * 1000 })) === 'granted';
}

function send(req: IncomingMessage, res: ServerResponse, status: number, body: object): void {
  // The client has left.
  if (res.headersSent || res.destroyed) return;
  const text = `${JSON.stringify(body)}\n`;
  res.statusCode = status;
  if (!isHttp2(req)) res.statusMessage = '';
  res.setHeader('Content-Type', 'application/json; charset=utf-8');
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('X-Content-Type-Options', 'nosniff');
  res.setHeader('Content-Length', Buffer.byteLength(text));
  res.end(req.method === 'HEAD' ? undefined : text);
}
