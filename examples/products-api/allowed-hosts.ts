import type { RequestHandler } from 'express';
import { sendProblem } from './problems.js';

/**
 * Responds with 421 to requests for an unknown host (RFC 9110 §15.5.20). This defeats DNS rebinding, where a
 * page of another site resolves its name to this server. It also keeps an invented `Host` out of links and
 * the cache.
 */
export function allowedHosts(names: readonly string[]): RequestHandler {
  const allowed = new Set(names);
  return (req, res, next) => {
    const name = /^(.+?)(?::\d{1,5})?$/.exec(req.headers.host?.toLowerCase() ?? '')?.[1];
    if (name !== undefined && allowed.has(name)) next();
    else
      sendProblem(res, {
        status: 421,
        title: 'Misdirected Request',
        detail: 'This host is not served here.',
      });
  };
}
