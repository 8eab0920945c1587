import { createServer, type IncomingMessage, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import type { ErrorRequestHandler, Express } from 'express';
import { Gauge, Registry } from 'prom-client';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Dispatcher } from '../../../src/cache/revalidate/internal-request.js';
import { exchangeOf } from '../../../src/exchange/exchange.js';
import { type MetricsMiddleware, metrics } from '../../../src/middleware/metrics/middleware.js';
import type { MetricsOptions } from '../../../src/middleware/metrics/options.js';
import { gate } from '../../helpers/gate.js';
import { majors, partOn4, raw, waitFor } from '../../helpers/http.js';
import { askMany } from '../../helpers/pipelined.js';
import { serveUntilAfterEach } from '../../helpers/serve.js';

const serve = serveUntilAfterEach();
afterEach(() => vi.restoreAllMocks());

const options = { defaultMetrics: false };

/** The samples of one metric, as `label values joined by spaces` → value. */
async function samples(measured: MetricsMiddleware, name: string): Promise<Record<string, number>> {
  const text = await measured.registry.metrics();
  const found: Record<string, number> = {};
  for (const line of text.split('\n')) {
    const parts = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (parts?.[1] !== name) continue;
    const labels = [...(parts[2] ?? '').matchAll(/="((?:[^"\\]|\\.)*)"/g)].map((match) => match[1]);
    found[labels.join(' ')] = Number(parts[3]);
  }
  return found;
}
const requests = (measured: MetricsMiddleware) => samples(measured, 'http_requests_total');
async function total(measured: MetricsMiddleware): Promise<number> {
  return Object.values(await requests(measured)).reduce((sum, value) => sum + value, 0);
}
async function settled(
  measured: MetricsMiddleware,
  count: number,
  timed = count,
): Promise<Record<string, number>> {
  await waitFor(async () => (await total(measured)) >= count);
  const found = await requests(measured);
  const durations = await samples(measured, 'http_request_duration_seconds_count');
  expect(Object.values(durations).reduce((sum, value) => sum + value, 0)).toBe(timed);
  for (const [method, value] of Object.entries(await samples(measured, 'http_requests_in_progress')))
    expect(value, `${method} in progress`).toBe(0);
  return found;
}

describe.each(majors)('metrics on %s', (name, express) => {
  const measuredApp = (given: MetricsOptions = options): { app: Express; measured: MetricsMiddleware } => {
    const app = express();
    const measured = metrics(given);
    app.use(measured);
    return { app, measured };
  };

  it('counts each request once, by method, route template and status', async () => {
    const { app, measured } = measuredApp();
    app.get('/users/:id', (_req, res) => void res.send('ok'));
    app.post('/users', (_req, res) => void res.status(201).send('ok'));
    app.get('/streams', (_req, res) => {
      res.write('a');
      setImmediate(() => res.end('b'));
    });
    const { url } = await serve(app);
    for (const id of [1, 2, 3]) await (await fetch(`${url}/users/${id}?q=${id}`)).text();
    await (await fetch(`${url}/users`, { method: 'POST' })).text();
    await fetch(`${url}/users/1`, { method: 'HEAD' });
    await (await fetch(`${url}/streams`)).text();
    expect(await settled(measured, 6)).toEqual({
      'GET /users/:id 200': 3,
      'POST /users 201': 1,
      'HEAD /users/:id 200': 1,
      'GET /streams 200': 1,
    });
  });

  it('records one histogram sample for each request, in seconds and in the given buckets', async () => {
    const { app, measured } = measuredApp({ ...options, buckets: [0.5, 60] });
    let passed = 0;
    const now = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => now() + passed);
    app.get('/', (_req, res) => {
      passed += 30_000;
      res.send('ok');
    });
    const { url } = await serve(app);
    await (await fetch(url)).text();
    await settled(measured, 1);
    const buckets = await samples(measured, 'http_request_duration_seconds_bucket');
    expect(buckets).toEqual({ '0.5 GET /': 0, '60 GET /': 1, '+Inf GET /': 1 });
  });

  it('uses the template of nested and mounted routers, with any parameters [I02]', async () => {
    const { app, measured } = measuredApp();
    const posts = express.Router({ mergeParams: true });
    posts.get('/:post', (_req, res) => void res.send('ok'));
    const users = express.Router();
    users.use('/users/:user/posts', posts);
    users.get('/', (_req, res) => void res.send('ok'));
    app.use('/:tenant', users);
    const { url, port } = await serve(app);
    const asked = 1_200;
    await askMany(
      port,
      Array.from({ length: asked }, (_unused, at) => `/tenant${at}/users/u%0a${at}/posts/${at}`),
    );
    await (await fetch(`${url}/acme`)).text();
    expect(await settled(measured, asked + 1)).toEqual({
      'GET /:tenant/users/:user/posts/:post 200': asked,
      'GET /:tenant 200': 1,
    });
  }, 60_000);

  it('has no client text, no long label and a short scrape after a flood of mounts [I02]', async () => {
    const { app, measured } = measuredApp();
    const leaf = () => express.Router({ mergeParams: true }).get('/x', (_req, res) => void res.send('ok'));
    app.use('/api', leaf());
    app.use('/@:user', leaf());
    app.use(/^\/re-[^/]+/, leaf());
    app.use('/t/:tenant', leaf());
    app.get(`/long/${'a'.repeat(500)}`, (_req, res) => void res.send('ok'));
    app.get('/quotes', (req, res) => {
      exchangeOf(req, res).template = `/${'"\\\n'.repeat(5000)}`; // from another instance
      res.send('ok');
    });
    const { port } = await serve(app);
    const long = 'q'.repeat(7_000);
    const spellings = Array.from({ length: 8 }, (_unused, at) =>
      [...'api'].map((letter, bit) => ((at >> bit) & 1 ? letter.toUpperCase() : letter)).join(''),
    );
    const paths = [
      ...spellings.map((each) => `/${each}/x`),
      ...Array.from({ length: 100 }, (_unused, at) => [
        `/@${at}${long}/x`,
        `/re-${at}${long}/x`,
        `/t/${at}%2F${long}/x`,
        `/nowhere/${at}${long}`,
      ]).flat(),
      `/long/${'a'.repeat(500)}`,
      '/quotes',
    ];
    await askMany(port, paths, undefined, 7);
    const found = await settled(measured, paths.length);
    expect(Object.keys(found)).toHaveLength(7);
    expect(found).toMatchObject({
      'GET /api/x 200': 8,
      'GET /@:user/x 200': 100,
      'GET /^\\\\/re-[^/]+//x 200': 100,
      'GET /t/:tenant/x 200': 100,
      'GET unmatched 404': 100,
    });
    const text = await measured.registry.metrics();
    expect(text).not.toContain('qqqqqqqq');
    for (const [, label = ''] of text.matchAll(/path="((?:[^"\\]|\\.)*)"/g)) {
      const value = label.replace(/\\(.)/g, '$1');
      expect(Buffer.byteLength(value)).toBeLessThanOrEqual(200);
    }
    expect(text.length).toBeLessThan(100_000);
  }, 60_000);

  it('uses the template of arrays, regular expressions, sub-apps and errors [I02]', async () => {
    const { app, measured } = measuredApp();
    app.get(['/a', '/b'], (_req, res) => void res.send('ok'));
    app.get(/^\/re"(gex)?\\?$/, (_req, res) => void res.send('ok'));
    const sub = express();
    sub.get('/things/:thing', (_req, res) => void res.send('ok'));
    app.use('/sub', sub);
    const router = express.Router();
    router.get('/boom/:id', () => {
      throw new Error('expected');
    });
    router.get('/rejects/:id', async (_req, _res, next) => next(new Error('expected')));
    router.get('/own404/:id', (_req, res) => void res.status(404).send('no'));
    app.use('/mount/:m', router);
    app.use(((_error, _req, res, _next) => void res.status(503).send('caught')) as ErrorRequestHandler);
    const { port } = await serve(app);
    const paths = ['/a', '/b', '/sub/things/5', '/mount/1/boom/2', '/mount/1/rejects/2', '/mount/1/own404/2'];
    for (const path of [...paths, '/re"gex'])
      await raw(port, `GET ${path} HTTP/1.1\nHost: a\nConnection: close\n\n`);
    const found = await settled(measured, 7);
    const regex = Object.keys(found).find((key) => key.includes('gex'));
    expect(regex).toBeDefined();
    delete found[regex!];
    expect(found).toEqual({
      'GET /a /b 200': 2,
      'GET /sub/things/:thing 200': 1,
      'GET /mount/:m/boom/:id 503': 1,
      'GET /mount/:m/rejects/:id 503': 1,
      'GET /mount/:m/own404/:id 404': 1,
    });
  });

  it('escapes special characters of a template, so that the text can be read back [I04]', async () => {
    const { app, measured } = measuredApp();
    app.get(/^\/q"\\?$/, (_req, res) => void res.send('ok'));
    const { port } = await serve(app);
    await raw(port, 'GET /q" HTTP/1.1\nHost: a\nConnection: close\n\n');
    await settled(measured, 1);
    const text = await measured.registry.metrics();
    expect(text).toContain(String.raw`path="/^\\/q\"\\\\?$/"`);
  });

  it('has one series for unmatched paths, wrong methods and malformed paths [I01]', async () => {
    const { app, measured } = measuredApp();
    app.get('/users/:id', (_req, res) => void res.send('ok'));
    app.use('/files', express.static('no-such-directory'));
    const { port } = await serve(app);
    const asked = partOn4(name, 10_000, 1_000);
    const paths = Array.from(
      { length: asked },
      (_unused, at) => `/${Math.random().toString(36)}${at}/x.php?x=${at}`,
    );
    // Express adds a listener to the connection for each unmatched request. Node warns about more of them.
    await askMany(port, paths, undefined, 7);
    const others = ['POST /users/1', 'GET /users/%E0%A4%A', 'GET /files/x', 'DELETE /'];
    for (const other of others) await raw(port, `${other} HTTP/1.1\nHost: a\nConnection: close\n\n`);
    const found = await settled(measured, asked + others.length);
    expect(Object.keys(found).every((key) => key.split(' ')[1] === 'unmatched')).toBe(true);
    expect(found['GET unmatched 404']).toBe(asked + 1);
    expect(Object.keys(found).length).toBeLessThanOrEqual(4);
  }, 60_000);

  it('counts a route that calls next() and ends in a 404 as unmatched [I01]', async () => {
    const { app, measured } = measuredApp();
    app.get('/fall/:id', (_req, _res, next) => next());
    const { url } = await serve(app);
    await (await fetch(`${url}/fall/1`)).text();
    expect(await settled(measured, 1)).toEqual({ 'GET unmatched 404': 1 });
  });

  it('limits methods and statuses [I03]', async () => {
    const { app, measured } = measuredApp();
    app.use((req, res) => {
      res.statusCode = Number(req.headers['x-status'] ?? 200);
      res.end();
    });
    const { port } = await serve(app);
    for (const method of ['PROPFIND', 'MKCOL', 'REPORT', 'PATCH', 'OPTIONS', 'TRACE'])
      await raw(port, `${method} / HTTP/1.1\nHost: a\nConnection: close\n\n`);
    for (const status of [299, 599, 600, 799, 999])
      await raw(port, `GET / HTTP/1.1\nHost: a\nX-Status: ${status}\nConnection: close\n\n`);
    expect(await settled(measured, 11)).toEqual({
      'other unmatched 200': 3,
      'PATCH unmatched 200': 1,
      'OPTIONS unmatched 200': 1,
      'TRACE unmatched 200': 1,
      'GET unmatched 299': 1,
      'GET unmatched 599': 1,
      'GET unmatched other': 3,
    });
  });

  it('counts series over the cap as overflow, and keeps counting known ones [I01, I02]', async () => {
    const { app, measured } = measuredApp({ ...options, maxSeries: 3 });
    for (const path of ['/a', '/b', '/c', '/d', '/e']) app.get(path, (_req, res) => void res.send('ok'));
    const { url } = await serve(app);
    for (const path of ['/a', '/b', '/c', '/d', '/e', '/e', '/a']) await (await fetch(url + path)).text();
    expect(await settled(measured, 7)).toEqual({
      'GET /a 200': 2,
      'GET /b 200': 1,
      'GET /c 200': 1,
      'GET overflow 200': 3,
    });
    expect(await samples(measured, 'hotpath_metrics_overflow_total')).toEqual({ '': 3 });
    expect(await samples(measured, 'hotpath_metrics_series')).toEqual({ '': 3 });
  });

  it('records incomplete responses as 499, and never leaves them in progress [I08]', async () => {
    const { app, measured } = measuredApp();
    let arrived = 0;
    app.get('/hangs', () => {
      arrived++;
    });
    app.get('/streams', (_req, res) => {
      res.write('a');
      arrived++;
    });
    app.get('/destroys', (_req, res) => void res.destroy());
    app.get('/breaks', (_req, res) => {
      res.write('a');
      throw new Error('expected');
    });
    app.use(((error, _req, _res, next) => next(error)) as ErrorRequestHandler);
    vi.spyOn(console, 'error').mockImplementation(() => {});
    const { port } = await serve(app);
    for (const path of ['/hangs', '/streams']) {
      const before = arrived;
      const socket = connect(port, '127.0.0.1', () =>
        socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`),
      );
      await waitFor(() => arrived > before);
      expect(await samples(measured, 'http_requests_in_progress')).toEqual({ GET: 1 });
      socket.destroy();
      await waitFor(async () => (await samples(measured, 'http_requests_in_progress')).GET === 0);
    }
    for (const path of ['/destroys', '/breaks'])
      await raw(port, `GET ${path} HTTP/1.1\nHost: a\n\n`).catch(() => {});
    expect(await settled(measured, 4)).toEqual({
      'GET /hangs 499': 1,
      'GET /streams 499': 1,
      'GET /destroys 499': 1,
      'GET /breaks 499': 1,
    });
  });

  it('counts a request whose client left before the middleware ran [I08]', async () => {
    const app = express();
    const measured = metrics(options);
    let waiting = false;
    app.use((_req, res, next) => {
      waiting = true;
      res.once('close', () => setImmediate(next));
    });
    app.use(measured);
    const { port } = await serve(app);
    const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'));
    await waitFor(() => waiting);
    socket.destroy();
    expect(await settled(measured, 1)).toEqual({ 'GET unmatched 499': 1 });
  });

  it('counts an upgraded request once, when its socket closes [I08]', async () => {
    const { app, measured } = measuredApp();
    app.get('/socket', (req) => void req.socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n'));
    const server = createServer(app);
    // Apps that route upgrades do this: the response has no socket.
    server.on('upgrade', (req: IncomingMessage) => {
      req.socket.on('end', () => req.socket.destroy()).resume();
      app(req as Parameters<Express>[0], new ServerResponse(req) as Parameters<Express>[1]);
    });
    const { port } = await serve(server);
    let text = '';
    const socket = connect(port, '127.0.0.1', () =>
      socket.write('GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'),
    );
    socket.on('data', (chunk) => (text += chunk));
    await waitFor(() => text.includes('101'));
    expect(await samples(measured, 'http_requests_in_progress')).toEqual({ GET: 1 });
    socket.destroy();
    expect(await settled(measured, 1, 0)).toEqual({ 'GET /socket 101': 1 });
  });

  it('adds no listener to the socket of a request that only offers an upgrade', async () => {
    const { app, measured } = measuredApp();
    const listeners: number[] = [];
    app.get('/', (req, res) => {
      listeners.push(req.socket.listenerCount('close'));
      res.send('ok');
    });
    const { port } = await serve(app);
    for (const header of ['Upgrade: h2c', 'Accept: */*'])
      await raw(port, `GET / HTTP/1.1\nHost: a\n${header}\nConnection: close\n\n`);
    expect(await settled(measured, 2)).toEqual({ 'GET / 200': 2 });
    expect(listeners[0]).toBe(listeners[1]);
  });

  it('counts each request once with two instances on one registry [I07]', async () => {
    const registry = new Registry();
    const { app, measured } = measuredApp({ registry });
    app.use(measured);
    app.use(metrics({ registry }));
    app.get('/', (_req, res) => void res.send('ok'));
    const { url } = await serve(app);
    await (await fetch(url)).text();
    expect(await settled(measured, 1)).toEqual({ 'GET / 200': 1 });
  });

  it('counts responses sent before the routes under the given template [I13]', async () => {
    const { app, measured } = measuredApp();
    app.use((req, res) => {
      exchangeOf(req, res).template = '/users/:id';
      res.send('hit');
    });
    const { url } = await serve(app);
    await (await fetch(`${url}/users/5`)).text();
    expect(await settled(measured, 1)).toEqual({ 'GET /users/:id 200': 1 });
  });

  it('leaves out internal requests', async () => {
    const { app, measured } = measuredApp();
    app.get('/', (_req, res) => void res.send('ok'));
    await new Dispatcher().dispatch(app, { target: '/', headers: { host: 'a' } });
    const { url } = await serve(app);
    await (await fetch(url)).text();
    expect(await settled(measured, 1)).toEqual({ 'GET / 200': 1 });
  });

  it('sends the format of the registry, with no-store', async () => {
    const { app, measured } = measuredApp({});
    app.get('/metrics', measured.handler);
    const { url } = await serve(app);
    const answer = await fetch(`${url}/metrics`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const text = await answer.text();
    expect(text).toContain('process_cpu_user_seconds_total');
    expect(text).toContain('http_requests_in_progress{method="GET"} 1');
    const head = await fetch(`${url}/metrics`, { method: 'HEAD' });
    expect(head.status).toBe(200);
    expect(await head.text()).toBe('');
  });

  it('shares one run among parallel scrapes [I06]', async () => {
    const { app, measured } = measuredApp();
    app.get('/metrics', measured.handler);
    const { url } = await serve(app);
    const { registry } = measured;
    const held = gate();
    let reads = 0;
    new Gauge({
      name: 'slow_to_collect',
      help: 'x',
      registers: [registry],
      collect: async () => {
        reads++;
        await held.opened;
      },
    });
    let waiting = 0;
    app.use((_req, _res, next) => next());
    const answers = Array.from({ length: 50 }, async () => (await fetch(`${url}/metrics`)).text());
    await waitFor(async () => {
      waiting = (await registry.getSingleMetric('http_requests_in_progress')!.get()).values[0]?.value ?? 0;
      return waiting === 50;
    });
    held.open();
    const texts = await Promise.all(answers);
    expect(reads).toBe(1);
    expect(new Set(texts).size).toBe(1);
    await (await fetch(`${url}/metrics`)).text();
    expect(reads).toBe(2);
  });

  it('passes a failing scrape to the error handler, and serves the next one', async () => {
    const { app, measured } = measuredApp();
    app.get('/metrics', measured.handler);
    app.use(((error, _req, res, _next) => void res.status(500).send(error.message)) as ErrorRequestHandler);
    const { url } = await serve(app);
    const gauge = measured.registry.getSingleMetric('http_requests_in_progress')!;
    vi.spyOn(gauge, 'get').mockRejectedValueOnce(new Error('a collector failed'));
    const failed = await fetch(`${url}/metrics`);
    expect(failed.status).toBe(500);
    expect(await failed.text()).toBe('a collector failed');
    expect((await fetch(`${url}/metrics`)).status).toBe(200);
  });

  it('counts nothing after close, and can be closed again', async () => {
    const { app, measured } = measuredApp();
    app.get('/', (_req, res) => void res.send('ok'));
    const { url } = await serve(app);
    await (await fetch(url)).text();
    await settled(measured, 1);
    measured.close();
    measured.close();
    expect(await (await fetch(url)).text()).toBe('ok');
    expect(await settled(measured, 1)).toEqual({ 'GET / 200': 1 });
  });
});
