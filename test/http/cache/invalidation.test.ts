import type { Express, RequestHandler } from 'express';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { responseCache } from '../../../src/cache/index.js';
import { cacheApp } from '../../helpers/cache.js';
import { listen, majors } from '../../helpers/http.js';

describe.each(majors)('%s: invalidation by unsafe methods, RFC 9111 §4.4', (_name, express) => {
  async function shop() {
    const cache = responseCache({ routes: { '/items{/:id}': { ttl: '1h' } } });
    const runs = new Map<string, number>();
    const app = express();
    app.use(cache);
    app.get('/items', (req, res) => {
      runs.set(req.originalUrl, (runs.get(req.originalUrl) ?? 0) + 1);
      res.json({ run: runs.get(req.originalUrl) });
    });
    app.all('/items', (req, res) => {
      const { status = '200', location, contentLocation } = req.query as Record<string, string>;
      if (location) res.set('Location', location);
      if (contentLocation) res.set('Content-Location', contentLocation);
      res.status(Number(status)).end();
    });
    const server = await listen(app);
    const read = async (path: string) =>
      ((await (await fetch(server.url + path)).json()) as { run: number }).run;
    const send = (method: string, path: string) => fetch(server.url + path, { method });
    return { read, send, server };
  }

  it.each(['POST', 'PUT', 'PATCH', 'DELETE'])(
    'invalidates the stored response of the URL after a successful %s [A16]',
    async (method) => {
      const { read, send, server } = await shop();
      expect([await read('/items'), await read('/items')]).toEqual([1, 1]);
      await send(method, '/items');
      expect(await read('/items')).toBe(2);
      await server.close();
    },
  );

  it.each([400, 404, 500])('invalidates nothing after a POST with status %i [A16]', async (status) => {
    const { read, send, server } = await shop();
    await read(`/items?status=${status}`);
    await send('POST', `/items?status=${status}`);
    expect(await read(`/items?status=${status}`)).toBe(1);
    await server.close();
  });

  it.each(['OPTIONS', 'PROPFIND'])('invalidates nothing after %s, a safe method [A16]', async (method) => {
    const { read, send, server } = await shop();
    await read('/items');
    await send(method, '/items');
    expect(await read('/items')).toBe(1);
    await server.close();
  });

  it.each(['location', 'contentLocation'])(
    'invalidates the URL in %s if it has the same origin [A16]',
    async (name) => {
      const { read, send, server } = await shop();
      await read('/items?page=1');
      await read('/items?page=2');
      await send('POST', `/items?${name}=${encodeURIComponent('/items?page=1')}`);
      await send('POST', `/items?${name}=${encodeURIComponent('http://elsewhere.example/items?page=2')}`);
      expect([await read('/items?page=1'), await read('/items?page=2')]).toEqual([2, 1]);
      await server.close();
    },
  );

  it('invalidates the URL in Location on the host under which hosts share entries [A16]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/items': { ttl: '1h', vary: { host: 'www.example' } } } },
      routes: (app, { count }) => {
        app.get('/items', (_req, res) => void res.send(`run ${count()}`));
        app.post('/:host', (req, res) => res.redirect(303, `http://${req.params.host}/items`));
      },
    });
    const runs: string[] = [];
    for (const host of ['www.example', 'other.example']) {
      await made.raw(`POST /${host} HTTP/1.1\nHost: one.example\nContent-Length: 0\nConnection: close`);
      runs.push((await made.get('/items')).text);
    }
    expect(runs).toEqual(['run 1', 'run 1']);
    await made.raw('POST /www.example HTTP/1.1\nHost: one.example\nContent-Length: 0\nConnection: close');
    expect((await made.get('/items')).text).toBe('run 2');
  });
});

describe.each(majors)('%s: a write to another spelling of a URL', (_name, express) => {
  const RULES = { '/*path': { ttl: 3600 }, '/': { ttl: 3600 } } as const;

  it.each([
    ['http://other.example/x', '/x'],
    ['HTTP://other.example/x?a=1', '/x?a=1'],
    ['http://other.example', '/'],
    ['/x#part', '/x'],
    ['/x#part?a=1', '/x'],
    ['http://other.example/a\\b', '/a/b'],
    ['/a\\b#', '/a/b'],
    ['/x/', '/x'],
    ['/X', '/x'],
    ['/x', '/X/'],
    ['/x?', '/x'],
    ['/mounted', '/mounted/'],
    ['/mounted//', '/mounted'],
    ['/mounted//y', '/mounted/y'],
    ['/%78', '/x'],
    ['/rewritten/x', '/x'],
  ])('a POST to %s purges the response to %s [A16, B09]', async (target, stored) => {
    const made = await cacheApp({
      express,
      cache: { routes: RULES },
      routes: (app, { count }) => {
        const answer: RequestHandler = (_req, res) => void res.send(`run ${count()}`);
        app.use((req, _res, next) => {
          req.url = req.url.replace('/rewritten', '');
          next();
        });
        const router = express.Router();
        router.all('/y', answer).all('/', answer);
        app.use('/mounted', router);
        app.use(answer);
      },
    });
    const run = async () => (await made.get(stored)).text;
    const first = await run();
    expect(await run()).toBe(first);
    const written = await made.raw(
      `POST ${target} HTTP/1.1\nHost: shop.example\nContent-Length: 0\nConnection: close`,
    );
    expect(written.status).toBe(200);
    expect(await run()).toBe('run 3');
    expect(made.faults).toEqual([]);
  });

  it.each(['*', 'http://[::1/x'])('reports no fault after a POST to %s [A16]', async (target) => {
    const made = await cacheApp({
      express,
      cache: { routes: RULES },
      routes: (app) => app.use((_req, res) => void res.set('Cache-Group-Invalidation', '"a"').send('ok')),
    });
    await made.raw(`POST ${target} HTTP/1.1\nHost: shop.example\nContent-Length: 0\nConnection: close`);
    expect(made.faults).toEqual([]);
  });

  it.each([
    ['with default routing', false],
    ['with case-sensitive, strict routing', true],
  ])('purges all targets that look the same to a handler, %s [A16, B09]', async (_case, isStrict) => {
    const configure = (app: Express) => {
      if (isStrict) app.enable('strict routing').enable('case sensitive routing');
    };
    const made = await cacheApp({
      express,
      cache: { routes: RULES },
      before: configure,
      routes: (app, { count }) => {
        const answer =
          (name: string): RequestHandler =>
          (req, res) =>
            void res.send(JSON.stringify([count(), name, req.params, req.query]));
        const router = express.Router();
        router.all('/', answer('root')).all('/y', answer('y')).all('/z/:id', answer('z'));
        app.use('/:run/m', router);
        app.all('/:run/items/:id', answer('items'));
        app.use((_req, res) => void res.status(404).send('none'));
      },
    });
    const one = (...spellings: string[]) => fc.constantFrom(...spellings);
    const mounted = one('m', 'm', 'm', 'M', '%6d');
    const items = one('items', 'items', 'ITEMS');
    const id = fc.constantFrom(
      one('a', '%61'),
      one('a', 'A'),
      one('%C3%A9', '%c3%a9'),
      one('a%2fb', 'a%2Fb'),
      one('@', '%40'),
    );
    const route = id.chain((id) =>
      fc.constantFrom([mounted], [mounted, one('y', 'Y')], [mounted, one('z', 'Z'), id], [items, id]),
    );
    const query = fc.constantFrom(
      one('', '?', '?&'),
      one('?a=1', '?a=%31', '?&a=1&'),
      one('?a=1&b', '?a=1&b='),
      one('?q=x+y', '?q=x%20y', '?q=x%2By'),
    );
    const slash = one('/', '/', '/', '/', '/', '/', '//');
    const spelled = (parts: readonly fc.Arbitrary<string>[], end: fc.Arbitrary<string>) =>
      fc
        .tuple(fc.tuple(...parts.flatMap((part) => [slash, part])), one('', '', '', '/', '//'), end)
        .map(([path, trailing, search]) => path.join('') + trailing + search);
    const two = fc
      .tuple(route, query)
      .chain(([parts, end]) => fc.tuple(spelled(parts, end), spelled(parts, end)));
    let pairs = 0;
    let same = 0;
    await fc.assert(
      fc.asyncProperty(two, async ([stored, written]) => {
        const run = `/run${pairs++}`;
        const read = async (path: string, method = 'GET') => {
          const { status, text } = await made.get(run + path, {}, { method });
          if (status === 404) return undefined;
          const [number, ...seen] = JSON.parse(text) as unknown[];
          return { number, seen: JSON.stringify(seen) };
        };
        const [before, write] = [await read(stored), await read(written, 'POST')];
        if (!before || before.seen !== write?.seen) return;
        same++;
        expect((await read(stored))?.number).not.toBe(before.number);
      }),
      { numRuns: 300 },
    );
    expect(same).toBeGreaterThan(5);
  });
});
