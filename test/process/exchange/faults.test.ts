import type { ErrorRequestHandler, RequestHandler } from 'express';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { compression } from '../../../src/middleware/compression/index.js';
import { sizeLimit } from '../../../src/middleware/size-limit/index.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { type Listening, listen, majors, raw } from '../../helpers/http.js';
import { stacks } from '../../helpers/wire.js';

const GET = 'GET / HTTP/1.1\nHost: a\nAccept-Encoding: gzip\n\n';

let server: Listening | undefined;
beforeEach(() => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
});
afterEach(async () => {
  vi.restoreAllMocks();
  await server?.close();
  server = undefined;
});

describe.each(majors)('faults on %s', (_name, express) => {
  it.each([
    ['compression', compression],
    ['size limit', sizeLimit],
  ])('never break the route, within %s [K03]', async (_middleware, make) => {
    let calls = 0;
    const app = express();
    app.use(((req, _res, next) => {
      const { headers } = req;
      let isBroken = true;
      Object.defineProperty(req, 'headers', {
        get() {
          if (isBroken) throw new Error('a fault of ours');
          return headers;
        },
      });
      make()(req, _res, (error) => {
        isBroken = false;
        calls++;
        next(error);
      });
    }) as RequestHandler);
    app.use(((_req, res) => {
      res.end('the route');
    }) as RequestHandler);
    server = await listen(app);
    const answer = await raw(server.port, GET);
    expect([answer.status, answer.text, calls]).toEqual([200, 'the route', 1]);
  });

  it.each(Object.keys(stacks))('are answered after an await, behind %s [K03]', async (stack) => {
    const app = express();
    stacks[stack]!(app);
    app.use((async (_req, res, next) => {
      try {
        await nextTurn();
        res.setHeader('X-Bad', 'a\nb');
      } catch (error) {
        next(error);
      }
    }) as RequestHandler);
    const onError: ErrorRequestHandler = (error, _req, res, _next) => {
      res.status(500).send(error.code);
    };
    app.use(onError);
    server = await listen(app);
    const answer = await raw(server.port, GET);
    expect([answer.status, answer.text]).toEqual([500, 'ERR_INVALID_CHAR']);
  });

  it.each(Object.keys(stacks))('are answered without an error handler, behind %s [K03]', async (stack) => {
    const app = express();
    app.set('env', 'test');
    stacks[stack]!(app);
    app.use(((_req, _res, next) => {
      setImmediate(() => next(new Error('nobody handles it')));
    }) as RequestHandler);
    server = await listen(app);
    const answer = await raw(server.port, GET);
    expect([answer.status, answer.header('content-type')]).toEqual([500, 'text/html; charset=utf-8']);
  });
});
