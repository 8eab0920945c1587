import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import bodyParser from 'body-parser';
import cors from 'cors';
import type { Express, NextFunction, Request, RequestHandler, Response } from 'express';
import session from 'express-session';
import helmet from 'helmet';
import { createProxyMiddleware } from 'http-proxy-middleware';
import methodOverride from 'method-override';
import morgan from 'morgan';
import multer from 'multer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CACHED, casesFor, mountRows, placeOf } from '../../compat/mounts.js';
import type { Ask } from '../../helpers/client.js';
import { express5, majors } from '../../helpers/http.js';
import { invariants } from '../../helpers/invariants.js';
import { memoriesOf, pairOf } from '../../helpers/same.js';

const check = invariants();
const TEXT = 'a line that repeats itself. '.repeat(200);
const folder = fileURLToPath(new URL('../../../src/http', import.meta.url));

const origin = createServer((req, res) => {
  res.setHeader('X-Origin', '1');
  if (req.url?.endsWith('/coded')) res.setHeader('Cache-Control', 'no-transform');
  if (req.url?.endsWith('/missing')) res.writeHead(404).end('nothing here');
  else if (req.method === 'POST') req.pipe(res);
  else res.end(`${req.method} ${req.url} ${TEXT}`);
});
let upstream = '';
beforeAll(async () => {
  await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve));
  upstream = `http://127.0.0.1:${(origin.address() as AddressInfo).port}`;
});
afterAll(() => {
  origin.closeAllConnections();
  origin.close();
});

const lines: string[] = [];
const others: Record<string, () => RequestHandler[]> = {
  'none of them': () => [],
  helmet: () => [helmet()],
  'cors, reflecting': () => [cors({ origin: true, credentials: true, exposedHeaders: ['X-A'] })],
  'cors, of a list': () => [cors({ origin: ['http://a.example'] })],
  'express-session': () => [
    session({ secret: 's', resave: false, saveUninitialized: true }),
    ((req, _res, next) => {
      Object.assign(req.session, { visits: 1 });
      next();
    }) as RequestHandler,
  ],
  morgan: () => [morgan('combined', { stream: { write: (line) => void lines.push(line) } })],
  'body-parser': () => [bodyParser.json(), bodyParser.urlencoded({ extended: true }), bodyParser.text()],
  multer: () => [multer({ storage: multer.memoryStorage() }).any() as RequestHandler],
  'method-override': () => [methodOverride('X-HTTP-Method-Override', { methods: ['GET', 'POST'] })],
  'serve-static': () => [express5.static(folder)],
  'http-proxy-middleware': () => [
    createProxyMiddleware({ target: upstream, pathFilter: '/upstream/**' }) as RequestHandler,
  ],
  'all of them': () => [
    morgan('tiny', { stream: { write: () => {} } }),
    helmet(),
    cors(),
    session({ secret: 's', resave: false, saveUninitialized: false }),
    methodOverride(),
    express5.static(folder),
    createProxyMiddleware({ target: upstream, pathFilter: '/upstream/**' }) as RequestHandler,
    bodyParser.json(),
    bodyParser.urlencoded({ extended: false }),
    multer({ storage: multer.memoryStorage() }).any() as RequestHandler,
  ],
};

function routes(app: Express): void {
  app.get('/cached/text', (_req, res) => void res.set('X-A', '1').type('text').send(TEXT));
  app.get('/cached/own', (req, res) => {
    res.set('Cache-Control', 'public, max-age=60').json({ path: req.path, text: TEXT });
  });
  app.get('/plain', (req, res) => {
    const user = /user=(\w+)/.exec(req.headers.cookie ?? '')?.[1];
    res.send(user === undefined ? 'nobody' : check.canary(user));
  });
  app.get('/cached/me', (req, res) => {
    const user = /user=(\w+)/.exec(req.headers.cookie ?? '')?.[1];
    res.send(user === undefined ? 'nobody' : check.canary(user));
  });
  app.all('/echo', (req, res) => {
    const files = (req as Request & { files?: Express.Multer.File[] }).files?.map(
      ({ buffer }) => `${buffer}`,
    );
    res.json({ method: req.method, body: req.body ?? null, files: files ?? null });
  });
  app.get('/throws', () => {
    throw new Error('on purpose');
  });
  app.get('/gone', (_req, res) => void res.redirect('/plain'));
  app.use((error: Error, _req: Request, res: Response, next: NextFunction) => {
    if (res.headersSent) next(error);
    else res.status(500).json({ error: error.message });
  });
}

const form = '--b\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\n\r\nhello\r\n--b--\r\n';

/** Requests that do not depend on each other. @param headers of those without a body. */
function requests(headers: Record<string, string>): Ask[] {
  const paths = ['/cached/own', '/plain', '/nowhere', '/throws', '/gone', '/vary.ts'];
  const upstreamPaths = ['/upstream/a', '/upstream/missing', '/upstream/coded'];
  const [json, urlencoded, multipart, text] = [
    'application/json',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=b',
    'text/x',
  ].map((type) => ({ 'Content-Type': type }));
  return [
    ...[...paths, ...upstreamPaths].map((path) => ({ path, headers })),
    {
      path: '/plain',
      method: 'OPTIONS',
      headers: { Origin: 'http://a.example', 'Access-Control-Request-Method': 'PUT' },
    },
    { path: '/echo', method: 'POST', headers: json, body: '{"a":1}' },
    { path: '/echo', method: 'POST', headers: json, body: '{"a":' },
    { path: '/echo', method: 'PUT', headers: urlencoded, body: 'a=1&b=2' },
    { path: '/echo', method: 'POST', headers: multipart, body: form },
    { path: '/echo', method: 'POST', headers: { 'X-HTTP-Method-Override': 'DELETE' }, body: '' },
    { path: '/upstream/post', method: 'POST', headers: text, body: TEXT },
  ];
}

describe.each(majors)('other middlewares on %s', (major, express) => {
  const remembered = memoriesOf(Object.keys(others));
  describe.each(mountRows)('%s', (way, mount) => {
    // A session id, and fields that depend on the time of the request.
    const volatile = ['set-cookie', 'ratelimit-reset'];

    it.each(casesFor(major, way, Object.keys(others)))(
      'sends every response the same with and without hotpath: %s [K10, D14, E12]',
      async (name) => {
        const pair = await pairOf(check, express, {
          mount,
          remembered: remembered[name]!,
          others: others[name]!,
          routes,
        });
        // Under these paths the second response may be a hit; elsewhere the handler runs again.
        const same = (wanted: Parameters<typeof pair.expectSame>[0]) =>
          pair.expectSame(wanted, { volatile, times: wanted?.path?.startsWith(CACHED) ? 2 : 1 });
        const place = Object.keys(others).indexOf(name) + placeOf(way);
        const coding = [undefined, 'gzip', 'br'][place % 3];
        const headers = coding === undefined ? {} : { 'Accept-Encoding': coding };
        // Pairwise: every middleware and every way of mounting meet each coding and each request.
        const half = requests(headers).filter((_, i) => (i + Math.floor(place / 4)) % 2 === 0);
        for (const each of half) await same(each);
        await same({ path: '/cached/text', headers });
        await same({ path: '/cached/text', method: 'HEAD', headers });
        for (const origin of ['http://a.example', 'http://b.example']) {
          await same({ path: '/cached/text', headers: { Origin: origin } });
        }
        for (const user of ['anna', 'ben']) {
          await same({ path: '/plain', user });
          await same({ path: '/cached/me', user });
        }
      },
    );
  });

  it('serves hits in every order unless a middleware made the response personal [K10, E12]', async () => {
    for (const [order, mount] of mountRows) {
      const names = ['helmet', 'morgan', 'body-parser', 'cors, of a list', 'all of them'];
      for (const name of casesFor(major, order, names)) {
        const pair = await pairOf(check, express, { mount, others: others[name]!, routes });
        for (const coding of ['gzip', 'identity', 'br']) {
          const headers = { 'Accept-Encoding': coding };
          const { ours } = await pair.expectSame({ path: '/cached/text', headers }, { times: 2 });
          expect(ours[1]!.header('x-cache'), name).toBe('HIT');
          // Mounted outside compression, the cache answers first, with the plain stored body.
          const isPlain = coding === 'identity' || order.includes('outside compression');
          expect(ours[1]!.header('content-encoding'), name).toBe(isPlain ? undefined : coding);
        }
      }
      const sessions = await pairOf(check, express, { mount, others: others['express-session']!, routes });
      const { ours } = await sessions.expectSame({ path: '/cached/text' }, { volatile: ['set-cookie'] });
      expect(ours.map((each) => each.header('x-cache'))).not.toContain('HIT');
      expect(ours[0]!.header('set-cookie')).not.toBe(ours[1]!.header('set-cookie'));
    }
  });

  it('lets morgan log each request once with the sent status, before and after hotpath [I08]', async () => {
    for (const [, mount] of mountRows.slice(0, 2)) {
      const pair = await pairOf(check, express, { mount, others: others.morgan!, routes });
      lines.length = 0;
      await pair.expectSame({ path: '/cached/text', headers: { 'Accept-Encoding': 'gzip' } }, { times: 1 });
      await pair.expectSame({ path: '/nowhere' }, { times: 1 });
      await expect.poll(() => lines.length).toBe(4);
      const statuses = lines.map((line) => /" (\d{3}) /.exec(line)?.[1]);
      expect(statuses).toEqual(['200', '200', '404', '404']);
    }
  });
});
