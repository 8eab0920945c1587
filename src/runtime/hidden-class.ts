import type { IncomingMessage, ServerResponse } from 'node:http';

/** From V8 13 on (Node 24), objects with a changed prototype share hidden classes. */
const IS_NEEDED = Number.parseInt(process.versions.v8, 10) < 13;

/** Marks requests that need no preparation. */
export const PREPARED = Symbol.for('hotpath.prepared');

type Held = IncomingMessage & { [PREPARED]?: unknown; client?: unknown; readonly app?: unknown };

/**
 * Makes all requests that arrive through Express share one hidden class, and all responses another. Every
 * later property access is faster, in Node, Express and the app.
 *
 * Express changes the prototype of each object. Up to Node 22, V8 then creates a hidden class per object and
 * added property (`Map::IsDetached`). That takes 1.5 µs, and inline caches never hit. An object that has lost
 * a property becomes a dictionary instead, and dictionaries of one kind share their class. So one property is
 * deleted and restored at once.
 *
 * Requests of the front door need none of this, because `RequestShapes` adds the properties early. V8 has 64
 * slots for classes of dictionaries. In one of 64 processes, requests and responses collide, and the
 * optimisation has no effect.
 */
export function shareHiddenClass(req: IncomingMessage, res: ServerResponse): void {
  const request = req as Held;
  if (!IS_NEEDED || request.app === undefined || Object.hasOwn(req, PREPARED)) return;
  try {
    // Own properties that Node sets first and never deletes.
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
    // A frozen object stays as slow as before.
  }
}
