import { setFlagsFromString } from 'node:v8';
import type { Express, Request, Response } from 'express';
import { hotpath } from 'hotpath';
import { responseCache } from 'hotpath/cache';
import { compression } from 'hotpath/compression';
import { afterEach, describe, expect, it } from 'vitest';
import { type Listening, listen, majors, raw, waitFor } from '../../helpers/http.js';

setFlagsFromString('--allow-natives-syntax');
const areAlike = new Function('a', 'b', 'return %HaveSameMap(a, b)') as (a: object, b: object) => boolean;

let server: Listening | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

const body = 'some text, and then some more. '.repeat(100);
const ask = (path: string, coding = 'identity') =>
  raw(
    server!.port,
    `GET ${path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: ${coding}\r\nConnection: close\r\n\r\n`,
  );

describe.each(majors)('requests and responses of an app of %s, without a front door,', (_, express) => {
  async function serve(mount: (app: Express) => void): Promise<void> {
    const app = express();
    mount(app);
    server = await listen(app);
  }

  /** Compares two requests and two responses, in the handler and after the response, with requests before them. */
  async function compare(middleware: Parameters<Express['use']>[0], coding: string): Promise<boolean[]> {
    const held: [Request, Response][] = [];
    await serve((app) => {
      app.use(middleware);
      app.use((req, res, next) => {
        Object.assign(req, { user: { id: 1 }, log: console });
        res.locals.user = 1;
        next();
      });
      app.get('/:id', (req, res) => {
        if (String(req.params.id).startsWith('held')) held.push([req, res]);
        else res.send(body);
      });
    });
    for (const id of ['a', 'b', 'c']) await ask(`/${id}`, coding);
    const answers = ['held-1', 'held-2'].map((id) => ask(`/${id}`, coding));
    await waitFor(() => held.length === 2);
    const [[req, res], [otherReq, otherRes]] = held as [(typeof held)[0], (typeof held)[0]];
    const inHandler = [areAlike(req, otherReq), areAlike(res, otherRes)];
    for (const each of [res, otherRes]) each.send(body);
    await Promise.all(answers);
    await server?.close();
    return [...inHandler, areAlike(req, otherReq), areAlike(res, otherRes)];
  }

  it.each<[string, () => Parameters<Express['use']>[0]]>([
    ['hotpath()', () => hotpath({ routes: { '/*path': { cache: { ttl: 60 } } } }) as never],
    ['compression()', () => compression() as never],
    ['responseCache()', () => responseCache({ routes: { '/*path': { ttl: 60 } } }) as never],
  ])('have one hidden class behind %s, for any properties that the app adds', async (_name, middleware) => {
    for (const coding of ['identity', 'gzip']) {
      // V8 keeps a few dictionary classes, and drops them at a collection or on a collision, which may happen between
      // two requests. Without hotpath no two of them are ever alike.
      let alike: boolean[] = [];
      for (let attempt = 0; attempt < 5 && !(alike.length && alike.every(Boolean)); attempt++) {
        alike = await compare(middleware(), coding);
      }
      expect(alike).toEqual([true, true, true, true]);
    }
  });

  it('keep their properties', async () => {
    const seen: unknown[] = [];
    await serve((app) => {
      const look = (req: Request, res: Response) => {
        const { client, method, url } = req as Request & { client?: unknown };
        const names = Object.keys(req).filter((name) => name !== 'baseUrl'); // hotpath follows it on the prototype
        seen.push({
          isClient: client === req.socket,
          isOwn: res.req === req,
          names: names.sort(),
          method,
          url,
        });
      };
      app.use((req, res, next) => {
        look(req, res);
        next();
      });
      app.use(hotpath());
      app.use((req, res) => {
        look(req, res);
        res.send(body);
      });
    });
    await ask('/a'); // before the first request, `baseUrl` is an own property
    await ask('/a');
    expect(seen[3]).toEqual(seen[2]);
    expect(seen[2]).toMatchObject({ isClient: true, isOwn: true });
  });

  it('are served even when they cannot be changed', async () => {
    await serve((app) => {
      app.use((req, res, next) => {
        Object.defineProperty(req, 'client', { value: req.socket, configurable: false });
        Object.defineProperty(res, 'req', { value: req, configurable: false });
        next();
      });
      app.use(hotpath());
      app.get('/', (_req, res) => void res.send(body));
    });
    expect((await ask('/')).text).toBe(body);
  });
});
