import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { connect } from 'node:net';
import { type Hotpath, type HotpathConfig, hotpath, type RequestEvent } from 'hotpath';
import { describe, expect, it } from 'vitest';
import { bucketOf } from '../../../src/telemetry/requests/histogram.js';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { express5, listen, majors, raw, waitFor } from '../../helpers/http.js';
import { askMany } from '../../helpers/pipelined.js';

const later = closeAfterEach();

type App = ReturnType<typeof express5>;

async function serve(
  express: typeof express5,
  config: HotpathConfig,
  routes: (app: App) => void,
  isAttached = false,
) {
  const perf = hotpath({ metrics: { defaultMetrics: false }, ...config });
  const app = express();
  app.use(perf);
  routes(app);
  if (isAttached) perf.attach(app);
  const server = await listen(app);
  later(server);
  later(perf);
  return { perf, ...server, telemetry: perf.telemetry! };
}

/** Requests by method, route and outcome, as telemetry counts them. */
function counted({ telemetry }: Hotpath): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { method, route, sinceStart } of telemetry!.routes()) {
    const { requests, clientErrors, serverErrors, aborted } = sinceStart;
    const outcomes = {
      ok: requests - clientErrors - serverErrors - aborted,
      '4xx': clientErrors,
      '5xx': serverErrors,
      aborted,
    };
    for (const [outcome, count] of Object.entries(outcomes))
      if (count > 0) counts[`${method} ${route} ${outcome}`] = count;
  }
  return counts;
}

/** The same, as metrics count them. */
async function measured({ metrics }: Hotpath): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const line of (await metrics.registry!.metrics()).split('\n')) {
    const [, method, path, status, value] =
      /^http_requests_total\{method="(.*?)",path="(.*?)",status="(\d+)"\} (\d+)$/.exec(line) ?? [];
    if (method === undefined) continue;
    const outcome =
      status === '499' ? 'aborted' : Number(status) >= 500 ? '5xx' : Number(status) >= 400 ? '4xx' : 'ok';
    // Within a label, a backslash is written twice.
    const key = `${method} ${path!.replaceAll('\\\\', '\\')} ${outcome}`;
    counts[key] = (counts[key] ?? 0) + Number(value);
  }
  return counts;
}

async function abort(port: number, path: string, began: () => boolean): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
  await waitFor(began);
  socket.destroy();
}

describe.each(majors)('telemetry of requests on %s', (_name, express) => {
  it('agrees with the requests that were made and with the metrics, whatever the routes look like', async () => {
    let hanging = 0;
    const { perf, port, url } = await serve(express, { cache: false }, (app) => {
      const posts = express.Router({ mergeParams: true });
      posts.get('/:post', (_req, res) => void res.send('post'));
      posts.get('/:post/boom', () => {
        throw new Error('boom');
      });
      const users = express.Router();
      users.use('/:user/posts', posts);
      app.use('/users', users);
      app.get(['/a', '/b'], (_req, res) => void res.send('array'));
      app.get(/^\/re(gex)?$/, (_req, res) => void res.send('regexp'));
      app.post('/orders', (_req, res) => void res.status(201).send('made'));
      app.get('/missing/:id', (_req, res) => void res.status(404).send('none'));
      app.get('/hang', () => void hanging++);
      app.use(
        (_error: unknown, _req: unknown, res: { status(code: number): { end(): void } }, _next: unknown) =>
          res.status(500).end(),
      );
    });
    const plan: [method: string, path: string, key: string, times: number][] = [
      ['GET', '/users/{}/posts/{}', 'GET /users/:user/posts/:post ok', 9],
      ['HEAD', '/users/{}/posts/{}', 'HEAD /users/:user/posts/:post ok', 2],
      ['GET', '/users/{}/posts/{}/boom', 'GET /users/:user/posts/:post/boom 5xx', 4],
      ['GET', '/a', 'GET /a /b ok', 3],
      ['GET', '/b?x={}', 'GET /a /b ok', 3],
      ['GET', '/regex', 'GET /^\\/re(gex)?$/ ok', 5],
      ['POST', '/orders', 'POST /orders ok', 6],
      ['GET', '/missing/{}', 'GET /missing/:id 4xx', 7],
      ['GET', '/nowhere/{}', 'GET unmatched 4xx', 8],
      ['PROPFIND', '/{}', 'other unmatched 4xx', 2],
    ];
    const expected: Record<string, number> = {};
    for (const [method, path, key, times] of plan) {
      expected[key] = (expected[key] ?? 0) + times;
      for (let at = 0; at < times; at++) {
        const target = path.replaceAll('{}', String(at));
        if (method === 'PROPFIND')
          await raw(port, `PROPFIND ${target} HTTP/1.1\nHost: a\n\n`, { first: true });
        else await (await fetch(url + target, { method })).text();
      }
    }
    for (let at = 1; at <= 3; at++) await abort(port, '/hang', () => hanging === at);
    expected['GET /hang aborted'] = 3;
    const total = Object.values(expected).reduce((sum, count) => sum + count);
    await waitFor(() => perf.telemetry!.snapshot().requests.sinceStart.requests === total);
    expect(counted(perf)).toEqual(expected);
    expect(await measured(perf)).toEqual(expected);
    expect(perf.telemetry!.snapshot().requests).toMatchObject({
      active: 0,
      recent: { requests: total },
      sinceStart: { requests: total, aborted: 3, serverErrors: 4, clientErrors: 17 },
    });
  });

  it('tells percentiles within one bucket of the durations that events give', async () => {
    const durations: { total: number; toHeaders: number }[] = [];
    const note = (message: unknown) => {
      const { seconds, secondsToHeaders } = message as RequestEvent;
      durations.push({ total: seconds * 1000, toHeaders: secondsToHeaders * 1000 });
    };
    subscribe('hotpath:request', note);
    try {
      const { telemetry, url } = await serve(express, {}, (app) => {
        app.get('/streams/:n', (req, res) => {
          res.write('a');
          setTimeout(() => res.end('b'), Number(req.params.n));
        });
      });
      await Promise.all(
        Array.from({ length: 60 }, async (_, n) => (await fetch(`${url}/streams/${n}`)).text()),
      );
      await waitFor(() => durations.length === 60);
      const { total, toHeaders } = telemetry.snapshot().requests.sinceStart;
      for (const [share, name] of [
        [0.5, 'p50'],
        [0.95, 'p95'],
        [0.99, 'p99'],
      ] as const) {
        for (const [figures, of] of [
          [total, 'total'],
          [toHeaders, 'toHeaders'],
        ] as const) {
          const sorted = durations.map((each) => each[of]).sort((a, b) => a - b);
          const exact = sorted[Math.ceil(share * sorted.length) - 1]!;
          expect(
            Math.abs(bucketOf(figures[name]! * 1000) - bucketOf(exact)),
            `${of} ${name}`,
          ).toBeLessThanOrEqual(1);
        }
      }
    } finally {
      unsubscribe('hotpath:request', note);
    }
  });

  it('counts hits inside Express and at the front door, their bytes and the time that they saved', async () => {
    for (const isAttached of [false, true]) {
      const config = { routes: { '/items/:id': { cache: { ttl: '1h', shared: true } } } } as const;
      const { perf, telemetry, url } = await serve(
        express,
        config,
        (app) => {
          app.get('/items/:id', (_req, res) => {
            setTimeout(() => res.send('x'.repeat(5000)), 20);
          });
        },
        isAttached,
      );
      for (let at = 0; at < 10; at++)
        await (await fetch(`${url}/items/1?secret=7`, { headers: { 'accept-encoding': 'identity' } })).text();
      const [entry] = [await (await fetch(`${url}/items/1?secret=7`)).text()];
      expect(entry).toHaveLength(5000);
      await waitFor(() => telemetry.snapshot().requests.sinceStart.requests === 11);
      const { all, routes, topKeys, store } = telemetry.cache();
      expect(all).toMatchObject({ requests: 11, hits: 10, misses: 1, servedBytes: 50_000 });
      expect(all.hitRatio).toBeCloseTo(10 / 11, 9);
      expect(all.savedSeconds).toBeGreaterThan(10 * 0.015);
      expect(routes).toMatchObject([{ method: 'GET', route: '/items/:id', hits: 10 }]);
      expect(topKeys).toEqual([{ url: '/items/1?…', hits: 10 }]);
      expect(store).toMatchObject({ hits: 10, frontDoor: { hits: isAttached ? 9 : 0 } });
      expect(counted(perf)).toEqual(await measured(perf));
      const { responseBytes, savedBytes } = telemetry.snapshot().requests.sinceStart;
      expect(responseBytes + savedBytes).toBe(55_000);
    }
  });

  it('counts aborted and pipelined responses of the front door', async () => {
    const config = { routes: { '/items/:id': { cache: { ttl: '1h', shared: true } } } } as const;
    const { perf, telemetry, port } = await serve(
      express,
      config,
      (app) => {
        app.get('/items/:id', (_req, res) => void res.send(Buffer.alloc(900_000)));
      },
      true,
    );
    await raw(port, 'GET /items/1 HTTP/1.1\nHost: shop.example\n\n', { first: true });
    await askMany(port, ['/items/1', '/items/1', '/items/1']);
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.pause();
    socket.write('GET /items/1 HTTP/1.1\r\nHost: shop.example\r\n\r\n'.repeat(20));
    await waitFor(() => telemetry.snapshot().requests.active > 0);
    socket.destroy();
    await waitFor(() => telemetry.snapshot().requests.active === 0);
    const { requests, aborted } = telemetry.snapshot().requests.sinceStart;
    expect(requests).toBeGreaterThan(4);
    expect(aborted).toBeGreaterThan(0);
    expect(counted(perf)).toEqual(await measured(perf));
  });

  it('counts what compression saves, and the bytes of bodies', async () => {
    const { telemetry, url } = await serve(express, { cache: false }, (app) => {
      app.post('/echo', (req, res) => {
        req.resume().on('end', () => res.send('a'.repeat(100_000)));
      });
    });
    const answer = await fetch(`${url}/echo`, { method: 'POST', body: 'b'.repeat(1234) });
    expect((await answer.text()).length).toBe(100_000);
    await waitFor(() => telemetry.snapshot().requests.sinceStart.requests === 1);
    const { requestBytes, responseBytes, savedBytes } = telemetry.snapshot().requests.sinceStart;
    expect(requestBytes).toBe(1234);
    expect(responseBytes).toBeLessThan(2000);
    expect(savedBytes + responseBytes).toBe(100_000);
    const { receivedBytes, sentBytes } = telemetry.snapshot().requests;
    expect(receivedBytes).toBeGreaterThan(1234);
    expect(sentBytes).toBeGreaterThan(responseBytes);
    expect(sentBytes).toBeLessThan(5000);
  });

  it('counts a 499 of the app as a client error, and no length that a client only declares', async () => {
    const { telemetry, url, port } = await serve(express, {}, (app) => {
      app.get('/mine', (_req, res) => void res.status(499).end());
    });
    await fetch(`${url}/mine`);
    const head = (path: string) => `POST ${path} HTTP/1.1\nHost: a\nContent-Length: 9007199254740993000\n\n`;
    await raw(port, head('/refused'), { first: true });
    await waitFor(() => telemetry.snapshot().requests.sinceStart.requests === 2);
    const { requestBytes, clientErrors, aborted } = telemetry.snapshot().requests.sinceStart;
    expect([requestBytes, clientErrors, aborted]).toEqual([0, 2, 0]);
  });

  it('tells open connections of the server, idle ones too', async () => {
    const { telemetry, port } = await serve(express, {}, (app) => {
      app.get('/', (_req, res) => void res.send('ok'));
    });
    const idle = Array.from({ length: 3 }, () => connect(port, '127.0.0.1'));
    for (const socket of idle) later({ close: () => socket.destroy() });
    await raw(port, 'GET / HTTP/1.1\nHost: a\n\n', { first: true });
    await waitFor(async () => {
      await telemetry.step();
      return telemetry.snapshot().requests.openConnections === 3;
    });
  });

  it('names reasons of bypasses and refusals for each route, and says what to do about them', async () => {
    const { telemetry, url } = await serve(
      express,
      { routes: { '/products': { cache: { ttl: '1m' } } } },
      (app) => {
        app.get('/products', (_req, res) => void res.send('ok'));
        app.get('/login', (_req, res) => {
          res.cookie('session', '1').set('Cache-Control', 'public, max-age=60').send('ok');
        });
        app.get('/report', (_req, res) => {
          const until = performance.now() + 15;
          while (performance.now() < until);
          res.send('ok');
        });
      },
    );
    for (let at = 0; at < 60; at++) {
      await (await fetch(`${url}/products`, { headers: { cookie: `a=${at}` } })).text();
      await (await fetch(`${url}/products`)).text();
      await (await fetch(`${url}/login`)).text();
      await (await fetch(`${url}/login?${at}`)).text();
    }
    await (await fetch(`${url}/report`)).text();
    await waitFor(() => telemetry.snapshot().requests.sinceStart.requests === 241);
    // `/report` passes: it lowers no hit ratio. `/login` misses, since it declares itself cacheable.
    expect(telemetry.cache().all).toMatchObject({ hits: 59, misses: 121, passes: 1, bypasses: 60 });
    expect(telemetry.cache().all.hitRatio).toBeCloseTo(59 / 180, 9);
    const byRoute = new Map(telemetry.cache().routes.map((figures) => [figures.route, figures]));
    expect(byRoute.get('/products')).toMatchObject({ bypasses: 60, bypassReasons: { cookie: 60 } });
    expect(byRoute.get('/login')!.refusalReasons['set-cookie']).toBe(120);
    const advice = telemetry.advice();
    expect(advice.find(({ id }) => id === 'cache-cookie')).toMatchObject({
      route: 'GET /products',
      text: expect.stringContaining('/products: 50 % of requests carry a cookie'),
      config: `routes: { "/products": { cache: { ttl: '1m', cookies: 'ignore' } } }`,
    });
    expect(advice.map(({ id }) => id)).toContain('cache-set-cookie');
    const report = telemetry.routes().find(({ route }) => route === '/report');
    expect(report!.longestBlockSeconds).toBeGreaterThanOrEqual(0.015);
    expect(report!.longestBlockSeconds).toBeLessThan(60);
  });

  it('keeps series bounded under random URLs, methods and ids on real sockets', async () => {
    const { telemetry, port } = await serve(express, { telemetry: { maxRoutes: 5 } }, (app) => {
      for (let at = 0; at < 20; at++) app.get(`/route${at}/:id`, (_req, res) => void res.send('ok'));
    });
    const paths = Array.from({ length: 3000 }, (_, at) => `/route${at % 30}/${at}?id=secret${at * 7919}`);
    await askMany(port, paths);
    await waitFor(() => telemetry.snapshot().requests.sinceStart.requests === 3000);
    const { self } = telemetry.snapshot();
    expect(self.routes).toBe(5);
    expect(self.overflowed).toBeGreaterThan(1000);
    expect(telemetry.routes().reduce((sum, { sinceStart }) => sum + sinceStart.requests, 0)).toBe(3000);
    expect(telemetry.routes().length).toBeLessThanOrEqual(6);
    expect(JSON.stringify(telemetry.routes())).not.toContain('secret');
  });
});

describe('telemetry', () => {
  it('is absent where it is off, and the requests go on', async () => {
    const { perf, url } = await serve(express5, { telemetry: false }, (app) => {
      app.get('/', (_req, res) => void res.send('ok'));
    });
    expect(perf.telemetry).toBeUndefined();
    expect(await (await fetch(url)).text()).toBe('ok');
  });

  it('counts a request once where hotpath is mounted twice', async () => {
    const { perf, url } = await serve(express5, {}, (app) => {
      app.use((req, res, next) => perf(req, res, next));
      app.get('/', (_req, res) => void res.send('ok'));
    });
    await (await fetch(url)).text();
    await waitFor(() => perf.telemetry!.snapshot().requests.active === 0);
    expect(perf.telemetry!.snapshot().requests.sinceStart.requests).toBe(1);
  });

  it('can be closed twice, and read afterwards', async () => {
    const { perf, telemetry, url } = await serve(express5, {}, (app) => {
      app.get('/', (_req, res) => void res.send('ok'));
    });
    await (await fetch(url)).text();
    await waitFor(() => telemetry.snapshot().requests.sinceStart.requests === 1);
    await perf.close();
    await perf.close();
    expect(await (await fetch(url)).text()).toBe('ok');
    expect(telemetry.snapshot().requests.sinceStart.requests).toBe(1);
    expect((await telemetry.instances()).instances).toHaveLength(1);
  });
});
