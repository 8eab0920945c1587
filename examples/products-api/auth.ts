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
 * Knows the visitor by `Authorization: Bearer customer-<id>`, or answers 401.
 *
 * A demonstration token, without any secret. Like a signed token it names its bearer by itself, so that a cached
 * answer needs no query to find out whose it is.
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

/** Who was authenticated; `undefined` before, so that nothing is ever cached for nobody. */
export function userOf(req: IncomingMessage): User | undefined {
  return (req as WithUser).user;
}
