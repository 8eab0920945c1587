import { setFlagsFromString } from 'node:v8';
import type { Request, Response } from 'express';
import { describe, expect, it } from 'vitest';
import { head, site } from '../../front/helper.js';
import { majors, waitFor } from '../../helpers/http.js';

setFlagsFromString('--allow-natives-syntax');
/** Whether V8 gives two objects the same hidden class, other than a slow dictionary. */
const areAlike = new Function('a', 'b', 'return %HaveSameMap(a, b) && %HasFastProperties(a)') as (
  a: object,
  b: object,
) => boolean;

type Held = readonly [req: Request, res: Response];
const body = { text: 'x'.repeat(2_000) };
const config = { routes: { '/:id': { cache: { ttl: 60, shared: true } } } };

describe.each(majors)('requests and responses of an Express app (%s)', (_, express) => {
  /** Compares two requests and two responses at the same stage, after others have been served. */
  async function compare(coding: string): Promise<Record<string, boolean>> {
    const held: Held[] = [];
    const routes = (app: ReturnType<typeof express>) =>
      app.get('/:id', (req: Request, res: Response) => {
        if (req.params.id?.toString().startsWith('held')) held.push([req, res]);
        else res.json(body);
      });
    const made = await site({ express, way: 'door', config, routes });
    const ask = (id: string) => made.ask(head(`/${id}`, { 'Accept-Encoding': coding }));
    for (const id of ['a', 'b', 'c']) await ask(id);
    const answers = ['held-1', 'held-2'].map(ask);
    await waitFor(() => held.length === 2);
    const [[req, res], [otherReq, otherRes]] = held as [Held, Held];
    const requests = areAlike(req, otherReq);
    const responses = areAlike(res, otherRes);
    for (const [, each] of held) each.json(body);
    await Promise.all(answers);
    return { requests, responses, answered: areAlike(res, otherRes) };
  }

  it.each(['identity', 'gzip'])(
    'have one hidden class behind a front door, encoded as %s',
    async (coding) => {
      expect(await compare(coding)).toEqual({ requests: true, responses: true, answered: true });
    },
  );

  /** Prepares requests and responses before the front door, as a server that hosts several apps does. */
  function inFront(app: ReturnType<typeof express>, prepare: (req: Request, res: Response) => void): void {
    const handling = app as unknown as { handle: (req: Request, res: Response) => void };
    const { handle } = handling;
    handling.handle = (req, res) => {
      prepare(req, res);
      handle.call(app, req, res);
    };
  }

  it('keep properties that were set before, and gain no other values', async () => {
    const seen: unknown[] = [];
    const made = await site({
      express,
      way: 'door',
      config,
      routes: (app) => {
        inFront(app, (req, res) => {
          req.params = { early: 'yes' };
          res.locals = { early: 'yes' };
          res.statusCode = 201;
        });
        app.use((req, res, next) => {
          seen.push(res.locals, res.statusCode, req.originalUrl, req.query, req.baseUrl, req.route);
          next();
        });
        app.get('/:id', (req, res) => {
          seen.push(req.params, req.route.path, req.res === res, 'body' in req, 'user' in req);
          res.json(body);
        });
      },
    });
    await made.ask(head('/a?b=c'));
    expect(seen).toEqual([
      ...[{ early: 'yes' }, 201, '/a?b=c', { b: 'c' }, '', undefined],
      ...[{ id: 'a' }, '/:id', true, false, false],
    ]);
  });

  it('are still served when they cannot be prepared', async () => {
    const made = await site({
      express,
      way: 'door',
      config,
      routes: (app) => {
        inFront(app, (_req, res) => {
          Object.defineProperty(res, 'once', { configurable: true, writable: false, value: res.once });
        });
        app.get('/:id', (_req, res) => void res.send('ok'));
      },
    });
    expect((await made.ask(head('/a'))).text).toBe('ok');
  });
});
