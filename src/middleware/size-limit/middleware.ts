import type { IncomingMessage, ServerResponse } from 'node:http';
import { exchangeOf } from '../../exchange/exchange.js';
import { reportFault } from '../../exchange/run-listeners.js';
import type { RouteTable } from '../../options/route-table.js';
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
 * The request-size limit, alone. Mount it before whatever reads bodies.
 *
 * A body that declares more than the limit is refused before anything runs. Any other is counted as it
 * arrives, whoever reads it, and nothing of it is kept here. When it grows over the limit, the client receives
 * `413` as `application/problem+json` (RFC 9457) and the connection is closed; whoever reads the body gets
 * an error with `code` `HOTPATH_BODY_TOO_LARGE`; and what the handler sends from then on is ignored. If its
 * answer had begun already, the connection is cut. Several limits on one request: the smallest holds.
 *
 * The bytes are counted as they come over the wire and, where there is a `Content-Encoding`, also as they come
 * out of it, against `inflated`. Of such a body the app receives a piece only when all that comes out of it has
 * been counted; to decode it is still the app's own affair. It is decoded only while somebody reads it, and the
 * decoders of all bodies share `decoderMemory`.
 *
 * `Expect: 100-continue`: Node invites the body before any middleware is asked. After
 * `server.on('checkContinue', app)` it is for this middleware to decide, and a body that declares too much
 * is refused without being invited.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for options that make no sense.
 */
export function sizeLimit(options?: StandaloneSizeLimitOptions): SizeLimitMiddleware {
  const { settings, routes } = resolveSizeLimitStandalone(options);
  return createSizeLimit(settings, routes);
}

/** The same from resolved settings and a table of routes that others may share. */
export function createSizeLimit(
  settings: SizeLimitSettings,
  routes: RouteTable<SizeLimitRoutePolicies>,
): SizeLimitMiddleware {
  const warnLate = warnOnce();
  return function sizeLimitMiddleware(req, res, next) {
    let guard: BodyGuard | undefined;
    try {
      const bounds = mayHaveBody(req) && boundsOf(exchangeOf(req, res).match(routes)?.policy, settings);
      if (bounds) {
        guard = bodyGuardOf(req, res, warnLate);
        guard.restrict(bounds);
      }
    } catch (error) {
      reportFault('size-limit', error);
    }
    const proceed = () => {
      invite(req, res);
      next();
    };
    if (guard) guard.whenAdmitted(proceed);
    else proceed();
  };
}

/** @returns `undefined` for none. */
function boundsOf(
  policies: SizeLimitRoutePolicies | undefined,
  settings: SizeLimitSettings,
): Bounds | undefined {
  const policy = policies?.sizeLimit;
  if (policy === false) return undefined;
  const own = typeof policy === 'number' ? { limit: policy } : policy;
  const { limit, inflated = limit, brotliWindow, decoderMemory } = { ...settings, ...own };
  return {
    limit,
    inflated: inflated === false ? Number.POSITIVE_INFINITY : inflated,
    brotliWindow,
    decoderMemory,
  };
}

/** Whose bodies are read before they can be counted is told so, once. */
function warnOnce(): () => void {
  let isSaid = false;
  return () => {
    if (isSaid) return;
    isSaid = true;
    process.emitWarning(
      'hotpath: a request body was read before the size limit saw it, and only its declared length was checked; ' +
        'mount hotpath, or sizeLimit(), before what reads bodies',
      { type: 'HotpathWarning', code: 'HOTPATH_SIZE_LIMIT_LATE' },
    );
  };
}

/** RFC 9112 §6.3: over HTTP/1 a request without either field has no body. */
function mayHaveBody({ headers, httpVersionMajor }: IncomingMessage): boolean {
  const length = headers['content-length'];
  return (
    (length !== undefined && length !== '0') ||
    headers['transfer-encoding'] !== undefined ||
    httpVersionMajor > 1
  );
}

/** With a `checkContinue` listener it is for the app to say `100 Continue`. */
function invite(req: IncomingMessage, res: ServerResponse): void {
  try {
    if (isUninvited(req, res)) res.writeContinue();
  } catch (error) {
    reportFault('size-limit', error);
  }
}
