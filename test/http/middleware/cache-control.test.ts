import { createServer } from 'node:http';
import onHeaders from 'on-headers';
import { describe, expect, it, vi } from 'vitest';
import { parseCacheControl } from '../../../src/http/cache-control.js';
import { cacheControl } from '../../../src/middleware/cache-control/middleware.js';
import type { StandaloneCacheControlOptions } from '../../../src/middleware/cache-control/options.js';
import { majors, raw } from '../../helpers/http.js';
import { serveUntilAfterEach } from '../../helpers/serve.js';

const serve = serveUntilAfterEach();

const shared = { public: true, maxAge: '1m', sMaxage: '5m', immutable: true } as const;
const routes: StandaloneCacheControlOptions['routes'] = {
  '/assets/*path': 'immutable',
  '/secret': 'no-store',
  '/mine': 'private',
  '/fresh': 'no-cache',
  '/lasting': { maxAge: 60 },
  '/full': {
    public: true,
    noTransform: true,
    maxAge: '1h',
    sMaxage: '1d',
    proxyRevalidate: true,
    staleWhileRevalidate: '5m',
    staleIfError: '10m',
  },
  '/understood': { noStore: true, mustUnderstand: true, maxAge: 60 },
  '/alone': false,
  '/shared/*path': shared,
};

describe.each(majors)('cacheControl on %s', (_, express) => {
  const appWith = (options: StandaloneCacheControlOptions = { routes }) => {
    const app = express();
    app.use(cacheControl(options));
    return app;
  };

  it.each([
    ['/assets/app.1f3.js', 'public, max-age=31536000, immutable'],
    ['/secret', 'no-store'],
    ['/mine', 'private, no-cache'],
    ['/fresh', 'no-cache'],
    ['/lasting', 'max-age=60'],
    [
      '/full',
      'public, no-transform, max-age=3600, s-maxage=86400, stale-while-revalidate=300, stale-if-error=600, proxy-revalidate',
    ],
    ['/understood', 'no-store, must-understand, max-age=60'],
    ['/alone', null],
    ['/elsewhere', 'no-cache'],
  ])('sends %s the policy of its route, on one line', async (path, expected) => {
    const app = appWith();
    app.use((_req, res) => void res.send('ok'));
    const { url, port } = await serve(app);
    expect((await fetch(url + path)).headers.get('cache-control')).toBe(expected);
    expect((await fetch(url + path, { method: 'HEAD' })).headers.get('cache-control')).toBe(expected);
    const { headers } = await raw(port, `GET ${path} HTTP/1.1\nHost: a\nConnection: close\n\n`);
    const lines = headers.filter(([name]) => name.toLowerCase() === 'cache-control');
    expect(lines.length).toBe(expected === null ? 0 : 1);
  });

  it('adds nothing by default when the default is false', async () => {
    const app = appWith({ default: false });
    app.use((req, res) => void res.status(req.url === '/gone' ? 410 : 200).send('ok'));
    const { url } = await serve(app);
    for (const path of ['/', '/gone'])
      expect((await fetch(url + path)).headers.get('cache-control')).toBe(null);
  });

  it.each([
    ['Cache-Control', 'private'],
    ['Cache-Control', 'no-store'],
    ['Cache-Control', 'max-age=5'],
    ['Cache-Control', ''],
    ['Expires', '0'],
    ['Pragma', 'No-Cache'],
  ])('keeps the header of a handler that sets %s: %s [A25]', async (name, value) => {
    const app = appWith();
    app.get('/shared/set', (_req, res) => void res.set(name, value).send('ok'));
    app.get('/shared/written', (_req, res) => void res.writeHead(200, { [name]: value }).end('ok'));
    app.get('/shared/late', (_req, res) => {
      res.set('Content-Type', 'text/plain');
      const { writeHead } = res;
      res.writeHead = function (this: typeof res, ...args: Parameters<typeof writeHead>) {
        this.setHeader(name, value);
        return writeHead.apply(this, args);
      } as typeof writeHead;
      res.end('ok');
    });
    const { url } = await serve(app);
    for (const path of ['/shared/set', '/shared/written', '/shared/late']) {
      const { headers } = await fetch(url + path);
      expect(headers.get(name)).toBe(value);
      for (const other of ['Cache-Control', 'Expires', 'Pragma'])
        if (other !== name) expect(headers.get(other), `${path} ${other}`).toBe(null);
    }
  });

  it('sends no-store with errors, on every route [A25]', async () => {
    const app = appWith();
    app.get('/shared/throws', () => {
      throw new Error('expected');
    });
    app.get('/shared/:status', (req, res) => void res.status(Number(req.params.status)).send('no'));
    app.use(((error, _req, res, next) =>
      error ? res.status(500).send('caught') : next()) as import('express').ErrorRequestHandler);
    const { url } = await serve(app);
    for (const path of ['400', '401', '404', '410', '429', '500', '503', 'throws']) {
      const { headers } = await fetch(`${url}/shared/${path}`);
      expect(headers.get('cache-control'), path).toBe('no-store');
      expect(headers.get('expires'), path).toBe(null);
    }
  });

  it('removes its lifetime when sending the headers fails and an error is sent instead [A25]', async () => {
    const app = appWith();
    app.use(((_req, res, next) => {
      const { writeHead } = res;
      let broken = false;
      // Below hotpath: the fields of the middleware are on the response when this fails.
      res.writeHead = function (this: typeof res, ...args: Parameters<typeof writeHead>) {
        if (broken) return writeHead.apply(this, args);
        broken = true;
        this.statusMessage = 'bad\nreason';
        return writeHead.apply(this, args);
      } as typeof writeHead;
      next();
    }) as import('express').RequestHandler);
    app.get('/shared/a', (_req, res) => void res.send('ok'));
    app.use(((_error, _req, res, _next) => {
      res.statusMessage = '';
      res.status(500).send('caught');
    }) as import('express').ErrorRequestHandler);
    const { url } = await serve(app);
    const { status, headers } = await fetch(`${url}/shared/a`);
    expect(status).toBe(500);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('expires')).toBe(null);
  });

  it('makes a response with Set-Cookie private, and keeps its max-age [A25]', async () => {
    const app = appWith();
    app.use((_req, res) => void res.cookie('session', '1').send('ok'));
    const { url } = await serve(app);
    for (const path of ['/shared/a', '/assets/a.js', '/full', '/lasting', '/elsewhere', '/understood']) {
      const { headers } = await fetch(url + path);
      const directives = parseCacheControl(headers.get('cache-control') ?? '');
      expect(directives, path).toMatchObject({ private: true, public: false, immutable: false });
      expect(directives.sMaxage, path).toBe(undefined);
      expect(headers.get('expires'), path).toBe(null);
    }
    expect((await fetch(`${url}/shared/a`)).headers.get('cache-control')).toBe('private, max-age=60');
    expect((await fetch(`${url}/secret`)).headers.get('cache-control')).toBe('no-store');
  });

  it('sees a cookie that is set just before the headers are sent, as sessions do [A25]', async () => {
    const app = appWith();
    app.use((_req, res, next) => {
      onHeaders(res, () => void res.setHeader('Set-Cookie', 'session=1'));
      next();
    });
    app.use((_req, res) => void res.send('ok'));
    const { url } = await serve(app);
    const { headers } = await fetch(`${url}/shared/a`);
    expect(headers.get('cache-control')).toBe('private, max-age=60');
  });

  it.each(['Authorization', 'Proxy-Authorization', 'X-Api-Key'])(
    'makes the response to a request with %s private [A25]',
    async (name) => {
      const app = appWith();
      app.use((_req, res) => void res.send('ok'));
      const { url } = await serve(app);
      for (const [path, expected] of [
        ['/shared/a', 'private, max-age=60'],
        ['/lasting', 'private, max-age=60'],
        ['/elsewhere', 'private, no-cache'],
        ['/secret', 'no-store'],
      ] as const) {
        const { headers } = await fetch(url + path, { headers: { [name]: 'x' } });
        expect(headers.get('cache-control'), path).toBe(expected);
      }
    },
  );

  it('makes a response to a cookie private unless its policy is public [A25]', async () => {
    const app = appWith();
    app.use((_req, res) => void res.send('ok'));
    const { url } = await serve(app);
    const ask = async (path: string) =>
      (await fetch(url + path, { headers: { cookie: 'a=1' } })).headers.get('cache-control');
    expect(await ask('/lasting')).toBe('private, max-age=60');
    expect(await ask('/elsewhere')).toBe('private, no-cache');
    expect(await ask('/assets/a.js')).toBe('public, max-age=31536000, immutable');
  });

  it('sends no lifetime with other methods and temporary redirects', async () => {
    const app = appWith();
    app.all(
      '/shared/:status',
      (req, res) => void res.status(Number(req.params.status)).set('Location', '/').end(),
    );
    const { url } = await serve(app);
    const ask = async (status: number, init: RequestInit = {}) =>
      (await fetch(`${url}/shared/${status}`, { redirect: 'manual', ...init })).headers.get('cache-control');
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
      expect(await ask(200, { method }), method).toBe('no-cache');
    for (const status of [302, 303, 307]) expect(await ask(status), `${status}`).toBe('no-cache');
    const headers = { authorization: 'x' };
    expect(await ask(302, { headers })).toBe('private, no-cache');
    expect(await ask(200, { method: 'POST', headers })).toBe('private, no-cache');
    for (const status of [301, 308])
      expect(await ask(status), `${status}`).toBe('public, max-age=60, s-maxage=300, immutable');
  });

  it('sends a 304 with the policy of its 200', async () => {
    const app = appWith();
    app.get('/shared/a', (_req, res) => void res.set('ETag', '"1"').send('ok'));
    const { port } = await serve(app);
    const answer = await raw(port, 'GET /shared/a HTTP/1.1\nHost: a\nIf-None-Match: "1"\n\n');
    expect(answer.status).toBe(304);
    expect(answer.header('cache-control')).toBe('public, max-age=60, s-maxage=300, immutable');
  });

  it('keeps Expires in step with max-age, on the clock of Date', async () => {
    const app = appWith();
    app.get('/lasting', (req, res) => {
      if (req.query.dated) res.set('Date', 'Sun, 06 Nov 1994 08:49:37 GMT');
      if (req.query.undated) res.sendDate = false;
      res.send('ok');
    });
    app.get('/mine', (_req, res) => void res.send('ok'));
    const { url } = await serve(app);
    // Node reads its own clock for Date, and the test mocks another one.
    const clock = vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 3_600_000);
    const now = await fetch(`${url}/lasting`);
    clock.mockRestore();
    const date = Date.parse(now.headers.get('date') ?? '');
    expect(Date.parse(now.headers.get('expires') ?? '') - date).toBe(60_000);
    const dated = await fetch(`${url}/lasting?dated=1`);
    expect(dated.headers.get('date')).toBe('Sun, 06 Nov 1994 08:49:37 GMT');
    expect(dated.headers.get('expires')).toBe('Sun, 06 Nov 1994 08:50:37 GMT');
    const undated = await fetch(`${url}/lasting?undated=1`);
    expect(undated.headers.get('date')).toBe(null);
    expect(undated.headers.get('expires')).toBe(null);
    expect((await fetch(`${url}/mine`)).headers.get('expires')).toBe(null);
  });

  it('uses the inner policy, on one line, when mounted again on a router', async () => {
    const app = appWith();
    const router = express.Router();
    router.use(cacheControl({ default: { maxAge: 5 } }));
    router.get('/a', (_req, res) => void res.send('ok'));
    app.use('/inner', router);
    app.get('/outer', (_req, res) => void res.send('ok'));
    const { url } = await serve(app);
    expect((await fetch(`${url}/inner/a`)).headers.get('cache-control')).toBe('max-age=5');
    expect((await fetch(`${url}/outer`)).headers.get('cache-control')).toBe('no-cache');
  });
});

describe('cacheControl', () => {
  it('works on a plain Node server, streams included', async () => {
    const middleware = cacheControl({ default: { maxAge: 5 } });
    const server = await serve(
      createServer((req, res) => {
        middleware(req, res, () => {
          res.write('a');
          res.end('b');
        });
      }),
    );
    const answer = await fetch(server.url);
    expect(answer.headers.get('cache-control')).toBe('max-age=5');
    expect(await answer.text()).toBe('ab');
  });

  it.each([
    { default: { maxAge: 'abc' } },
    { default: { maxAge: -1 } },
    { default: { maxAge: Number.NaN } },
    { default: { maxAge: Number.POSITIVE_INFINITY } },
    { default: 'forever' },
    { default: { public: true, private: true } },
  ])('rejects %j at creation [A25]', (options) => {
    expect(() => cacheControl(options as StandaloneCacheControlOptions)).toThrow(/cacheControl|default/);
  });
});
