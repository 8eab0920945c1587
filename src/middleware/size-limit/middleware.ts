import type { IncomingMessage, ServerResponse } from 'node:http';
import { exchangeOf } from '../../exchange/exchange.js';
import { reportFault } from '../../exchange/run-listeners.js';
import type { RouteTable } from '../../options/route-table.js';
import { warnOnce } from '../../runtime/warn.js';
import { type BodyGuard, type Bounds, bodyGuardOf, isUninvited } from './body-counter.js';
import {
  resolveSizeLimitStandalone,
  type SizeLimitRoutePolicies,
  type SizeLimitSettings,
  type StandaloneSizeLimitOptions,
} from './options.js';
import type { BodyCodingError, BodyEvictedError, BodyTooLargeError } from './rejection.js';

export type { BodyCodingError, BodyEvictedError, BodyTooLargeError };

/** Refuses request bodies that are too large. */
export type SizeLimitMiddleware = (
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/**
 * The request-size limit, alone. Mount it before body parsers.
 *
 * A body whose `Content-Length` exceeds the limit is refused before the app runs. Other bodies are counted as they
 * arrive, and not buffered here. If a body exceeds the limit, the client receives `413` as `application/problem+json`
 * (RFC 9457), and the connection is closed. The reader of the body gets an error with `code` `HOTPATH_BODY_TOO_LARGE`,
 * and later output of the handler is ignored. If the handler is writing the response already, the connection is
 * destroyed; a response that it has ended arrives whole. If several limits apply to one request, the smallest wins.
 *
 * With `respond: 'next'`, the request continues, and the first read of its body fails with that error, in the form of
 * `http-errors`. `express.json()` passes it to the app's error handler, after `cors` and `helmet` have run. A response
 * below 400, or none within a second, is replaced by the problem. A response that has begun arrives whole.
 *
 * The bytes are counted as they come over the wire and, where there is a `Content-Encoding`, also as they come out of
 * it, against `inflated`. The app receives a piece of such a body only when all that comes out of it has been counted.
 * The app still decodes it itself. hotpath decodes it only while the app reads it, and the decoders of all bodies
 * share `decoderMemory`.
 *
 * `Expect: 100-continue`: by default Node sends `100 Continue` before any middleware runs. After
 * `server.on('checkContinue', app)` this middleware decides, and a body that declares too much is refused before it is
 * sent.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for invalid options.
 */
export function sizeLimit(options?: StandaloneSizeLimitOptions): SizeLimitMiddleware {
  const { settings, routes } = resolveSizeLimitStandalone(options);
  return createSizeLimit(settings, routes);
}

/** Creates the middleware from resolved settings and a route table. */
export function createSizeLimit(
  settings: SizeLimitSettings,
  routes: RouteTable<SizeLimitRoutePolicies>,
): SizeLimitMiddleware {
  const warnLate = () => warnOfLateMount(settings);
  const { onRefused } = settings;
  return function sizeLimitMiddleware(req, res, next) {
    let guard: BodyGuard | undefined;
    try {
      const match = mayHaveBody(req) ? exchangeOf(req, res).match(routes) : undefined;
      const bounds = mayHaveBody(req) && boundsOf(match?.policy, settings);
      if (bounds) {
        guard = bodyGuardOf(req, res, warnLate);
        guard.restrict(bounds, { respond: bounds.respond, path: match?.pattern, onRefused });
      }
    } catch (error) {
      reportFault('size-limit', error);
    }
    const proceed = () => {
      if (!guard?.refused) invite(req, res);
      next();
    };
    if (guard) guard.whenAdmitted(proceed);
    else proceed();
  };
}

/** @returns `undefined` for no limit. */
function boundsOf(
  policies: SizeLimitRoutePolicies | undefined,
  settings: SizeLimitSettings,
): (Bounds & Pick<SizeLimitSettings, 'respond'>) | undefined {
  const policy = policies?.sizeLimit;
  if (policy === false) return undefined;
  const own = typeof policy === 'number' ? { limit: policy } : policy;
  const {
    limit,
    inflated = limit,
    brotliWindow,
    zstdWindow,
    decoderMemory,
    respond,
  } = { ...settings, ...own };
  return {
    limit,
    respond,
    zstdWindow,
    inflated: inflated === false ? Number.POSITIVE_INFINITY : inflated,
    brotliWindow,
    decoderMemory,
  };
}

/** Warns once if bodies are read before they can be counted. */
function warnOfLateMount(middleware: object): void {
  warnOnce(
    middleware,
    'HOTPATH_SIZE_LIMIT_LATE',
    () =>
      'a request body was read before the size limit ran, so only its Content-Length was checked; ' +
      'mount hotpath() or sizeLimit() before body parsers',
  );
}

/** Without either field, an HTTP/1 request has no body (RFC 9112 §6.3). */
function mayHaveBody({ headers, httpVersionMajor }: IncomingMessage): boolean {
  const length: unknown = headers['content-length'];
  return (
    (length !== undefined && String(length) !== '0') ||
    headers['transfer-encoding'] !== undefined ||
    httpVersionMajor > 1
  );
}

/** With a `checkContinue` listener, the app must send `100 Continue` itself. */
function invite(req: IncomingMessage, res: ServerResponse): void {
  try {
    if (isUninvited(req, res)) res.writeContinue();
  } catch (error) {
    reportFault('size-limit', error);
  }
}
