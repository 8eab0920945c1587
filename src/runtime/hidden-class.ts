import type { IncomingMessage, ServerResponse } from 'node:http';

/** From V8 13 on (Node 24), an object whose prototype was changed is like any other. */
const IS_NEEDED = Number.parseInt(process.versions.v8, 10) < 13;

/** On requests that need it no more. */
export const PREPARED = Symbol.for('hotpath.prepared');

type Held = IncomingMessage & { [PREPARED]?: unknown; client?: unknown; readonly app?: unknown };

/**
 * Has all requests that come to us through Express share one hidden class, and all responses, so that whatever reads
 * them from here on is faster: Node, Express and the app as much as we.
 *
 * Express changes the prototype of each. Up to Node 22, V8 then has a hidden class for each single object with each
 * property that is added (`Map::IsDetached`): that takes 1.5 µs, and no inline cache of whoever reads the object ever
 * hits. An object that has lost a property is kept as a dictionary instead, and dictionaries of one kind share theirs.
 * So each loses one, and gets it back at once. Behind a front door there is no need: what is going to be set is there
 * before (`Shapes`). V8 has 64 places for classes of dictionaries: in one process of so many those of requests and of
 * responses fall on the same place, and it all remains as it was.
 */
export function shareHiddenClass(req: IncomingMessage, res: ServerResponse): void {
  const request = req as Held;
  if (!IS_NEEDED || request.app === undefined || Object.hasOwn(req, PREPARED)) return;
  try {
    // Own properties of Node's, which it set first and nobody takes away.
    if (Object.hasOwn(req, 'client')) {
      const { client } = request;
      delete request.client;
      request.client = client;
      request[PREPARED] = true;
    }
    if (Object.hasOwn(res, 'req')) {
      const response = res as { req?: unknown };
      const { req: own } = response;
      delete response.req;
      response.req = own;
    }
  } catch {
    // One that can't be changed is as slow as it was.
  }
}
