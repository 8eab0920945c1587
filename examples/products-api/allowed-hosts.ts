import type { RequestHandler } from 'express';
import { sendProblem } from './problems.js';

/**
 * Answers 421 to requests for a host that is not ours (RFC 9110 §15.5.20). A page of another site whose name was
 * made to point here (DNS rebinding) gets nothing, and neither does a `Host` made up to end in a link or a cache.
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
