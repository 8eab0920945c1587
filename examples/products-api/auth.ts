import type { IncomingMessage } from 'node:http';
import type { RequestHandler } from 'express';
import { sendProblem } from './problems.js';

export interface User {
  readonly id: number;
}

interface WithUser {
  user?: User;
}

/**
 * Identifies the user by `Authorization: Bearer customer-<id>`, or responds with 401.
 *
 * A demonstration token without a secret. Like a signed token it contains the user's id, so that a cached
 * response needs no query to identify its user.
 */
export const authenticate: RequestHandler = (req, res, next) => {
  const id = /^Bearer customer-([1-9]\d{0,8})$/i.exec(req.get('authorization') ?? '')?.[1];
  if (id === undefined) {
    res.set('WWW-Authenticate', 'Bearer realm="products-api"');
    sendProblem(res, {
      status: 401,
      title: 'Unauthorized',
      detail: 'Send "Authorization: Bearer customer-<id>".',
    });
    return;
  }
  (req as WithUser).user = { id: Number(id) };
  next();
};

/** The authenticated user; `undefined` before authentication, so that nothing is cached without a user. */
export function userOf(req: IncomingMessage): User | undefined {
  return (req as WithUser).user;
}
