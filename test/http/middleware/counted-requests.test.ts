import { once } from 'node:events';
import { request } from 'node:http';
import type { Express, Request, Response } from 'express';
import { type Hotpath, type HotpathConfig, hotpath, type SlowRequest } from 'hotpath';
import { Registry } from 'prom-client';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { majors, raw, waitFor } from '../../helpers/http.js';
import { serveUntilAfterEach } from '../../helpers/serve.js';

const serve = serveUntilAfterEach();
const head = (path: string, more = '') =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${more}\r\n`;
const text = (req: Request, res: Response) => void res.send(`text of ${req.path}`);

/** Lines of a metric that are not zero, without the buckets. */
async function linesOf(registry: Registry, name: string): Promise<string[]> {
  const all = (await registry.metrics()).split('\n');
  return all
    .filter((line) => line.startsWith(name) && !line.includes('_bucket') && !line.endsWith(' 0'))
    .sort();
}

describe.each(majors)('requests that count, on %s', (_name, express) => {
  afterEach(() => vi.restoreAllMocks());

  /** Serves an app, requests paths one after the other, and waits until their responses are closed. */
  async function run(
    config: HotpathConfig,
    setUp: (app: Express, perf: Hotpath) => void,
    paths: readonly string[],
    isAttached = false,
  ) {
    const metrics = typeof config.metrics === 'object' ? config.metrics : {};
    const perf = hotpath({ ...config, metrics: { defaultMetrics: false, ...metrics } });
    const app = express();
    app.use(perf);
    if (isAttached) perf.attach(app);
    setUp(app, perf);
    const { port, server } = await serve(app);
    let closed = 0;
    server.prependListener('request', (_req, res) => void res.once('close', () => closed++));
    const answers = [];
    for (const path of paths) answers.push(await raw(port, head(path)));
    await waitFor(() => closed === paths.length);
    await perf.close();
    const registry = perf.metrics.registry!;
    return {
      answers,
      registry,
      paths: async () =>
        (await linesOf(registry, 'http_requests_total')).map((line) => /path="([^"]*)"/.exec(line)?.[1]),
      text: await registry.metrics(),
    };
  }

  it.each([false, true])(
    'leaves a route out of metrics and timing that turns them off (door: %s)',
    async (door) => {
      const seen: SlowRequest[] = [];
      const {
        paths,
        answers,
        text: all,
      } = await run(
        {
          timing: { onRequest: (each) => void seen.push(each), slow: 0.000001, onSlow: () => {} },
          routes: {
            '/health': { metrics: false, timing: false, cache: { ttl: '1m', shared: true } },
            '/a': { cache: { ttl: '1m', shared: true } },
          },
        },
        (app) => void app.get('/health', text).get('/a', text),
        ['/health', '/health', '/a', '/a'],
        door,
      );
      expect(await paths()).toEqual(['/a']);
      expect(seen.map(({ path, route }) => [path, route])).toEqual([
        ['/a', '/a'],
        ['/a', '/a'],
      ]);
      expect(answers.map((answer) => answer.header('x-response-time') !== undefined)).toEqual([
        false,
        false,
        true,
        true,
      ]);
      expect(answers.map((answer) => answer.header('x-cache'))).toEqual(['MISS', 'HIT', 'MISS', 'HIT']);
      expect(all).toMatch(/http_requests_in_progress\{method="GET"\} 0/);
    },
  );

  it('leaves the scrape of the metrics out', async () => {
    const { paths } = await run(
      {},
      (app, perf) => void app.get('/metrics', perf.metrics.handler).get('/a', text),
      ['/metrics', '/a', '/metrics'],
    );
    expect(await paths()).toEqual(['/a']);
  });

  it('labels a mounted middleware and express.static by their mount, where they responded', async () => {
    const { paths } = await run(
      {},
      (app) => {
        const router = express.Router();
        router.get('/items', text);
        app.use('/graphql', text);
        app.use('/assets', express.static(import.meta.dirname));
        app.use('/api', router);
        app.get('*name'.slice(_name === 'Express 4' ? 0 : 0, _name === 'Express 4' ? 1 : 5), (_q, _s, next) =>
          next(),
        );
        app.use('/late', text);
      },
      [
        '/graphql',
        '/graphql/x',
        '/assets/counted-requests.test.ts',
        '/assets/none',
        '/api/items',
        '/api/none',
        '/late',
      ],
    );
    expect((await paths()).toSorted()).toEqual(
      ['/graphql', '/assets', '/api/items', 'unmatched', '/late'].toSorted(),
    );
  });

  it('labels express.static at the root, and no other middleware there', async () => {
    const { paths, registry } = await run(
      { routes: { '/counted-requests.test.ts': { cache: { ttl: '1m' } } } },
      (app) => {
        app.use(express.static(import.meta.dirname));
        app.use((_req, res) => void res.status(404).end());
      },
      ['/counted-requests.test.ts', '/counted-requests.test.ts', '/none'],
    );
    expect(await paths()).toEqual(['/', 'unmatched']);
    expect((await linesOf(registry, 'http_requests_total'))[0]).toMatch(/ 2$/);
  });

  it('keeps event streams out of durations and slow requests', async () => {
    const slow: string[] = [];
    const { text: all } = await run(
      { timing: { slow: 0.000001, onSlow: ({ path }) => void slow.push(path) } },
      (app) => {
        app.get('/events', (_req, res) => {
          res.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8' });
          res.write('data: 1\n\n');
          setImmediate(() => res.end());
        });
        app.get('/a', text);
      },
      ['/events', '/a'],
    );
    expect(all).toMatch(/http_requests_total\{method="GET",path="\/events",status="200"\} 1/);
    expect(all).not.toMatch(/http_request_duration_seconds_count\{method="GET",path="\/events"\} [1-9]/);
    expect(all).toMatch(/http_request_duration_seconds_count\{method="GET",path="\/a"\} 1/);
    expect(slow).toEqual(['/a']);
  });

  it('keeps connections with another protocol out of durations and slow requests', async () => {
    const slow: string[] = [];
    const perf = hotpath({
      metrics: { defaultMetrics: false },
      timing: { slow: 0.000001, onSlow: ({ path }) => void slow.push(path) },
    });
    const app = express();
    app.use(perf);
    app.get('/socket', (req, res) => {
      req.socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
      req.socket.end();
      res.emit('close');
    });
    const { server, port } = await serve(app);
    server.on('upgrade', (req) => {
      const { ServerResponse } = require('node:http') as typeof import('node:http');
      app(req, new ServerResponse(req) as never);
    });
    const client = request({ port, path: '/socket', headers: { Connection: 'Upgrade', Upgrade: 'x' } });
    client.end();
    const [, socket] = (await once(client, 'upgrade')) as [unknown, import('node:net').Socket];
    socket.destroy();
    await waitFor(async () => (await perf.metrics.registry!.metrics()).includes('status="101"} 1'));
    expect(await linesOf(perf.metrics.registry!, 'http_request_duration_seconds_count')).toEqual([]);
    expect(slow).toEqual([]);
    await perf.close();
  });

  it.each([false, true])('gives a route buckets of its own (door: %s)', async (door) => {
    const { text: all } = await run(
      {
        metrics: { buckets: [1] },
        routes: { '/slow/:id': { metrics: { buckets: [5, 30] }, cache: { ttl: '1m', shared: true } } },
      },
      (app) => void app.get('/slow/:id', text).get('/a', text),
      ['/slow/1', '/slow/1', '/a'],
      door,
    );
    const bounds = (path: string) =>
      [...all.matchAll(/_bucket\{le="([^"]+)",method="GET",path="([^"]+)"\} (\d+)/g)]
        .filter(([, , each]) => each === path)
        .map(([, bound, , count]) => `${bound}: ${count}`);
    expect(bounds('/slow/:id')).toEqual(['5: 2', '30: 2', '+Inf: 2']);
    expect(bounds('/a')).toEqual(['1: 1', '+Inf: 1']);
    expect(all.match(/# TYPE http_request_duration_seconds histogram/g)).toHaveLength(1);
  });

  it.each([false, true])('adds fixed and computed labels, and a prefix (door: %s)', async (door) => {
    const { registry } = await run(
      {
        metrics: {
          prefix: 'shop_',
          labels: { service: 'web', tenant: ({ req }) => String(req.headers.host) },
          statusInDurations: true,
        },
        routes: { '/a': { cache: { ttl: '1m', shared: true } } },
      },
      (app) => void app.get('/a', text),
      ['/a', '/a'],
      door,
    );
    expect(await linesOf(registry, 'shop_http_requests_total')).toEqual([
      'shop_http_requests_total{method="GET",path="/a",status="200",service="web",tenant="a"} 2',
    ]);
    expect(await linesOf(registry, 'shop_http_request_duration_seconds_count')).toEqual([
      'shop_http_request_duration_seconds_count{method="GET",path="/a",status="200",service="web",tenant="a"} 2',
    ]);
    const names = (await registry.getMetricsAsJSON()).map(({ name }) => name);
    expect(names.filter((name) => !name.startsWith('shop_'))).toEqual([]);
    expect(names).toContain('shop_hotpath_cache_requests_total');
  });

  it('bounds the values of computed labels, and survives a function that fails', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    let at = 0;
    const { registry } = await run(
      {
        metrics: {
          maxSeries: 110,
          labels: {
            many: () => `value ${at++}`.padEnd(500, '.'),
            broken: () => {
              throw new Error('on purpose');
            },
          },
        },
      },
      (app) => void app.get('/a', text).get('/b', text),
      [...Array.from({ length: 150 }, () => '/a'), ...Array.from({ length: 20 }, (_, i) => `/b?${i}`)],
    );
    const lines = await linesOf(registry, 'http_requests_total');
    expect(lines).toHaveLength(102);
    expect(
      lines.filter((line) => line.includes('many="other"')).map((line) => line.replace(/.* /, '')),
    ).toEqual(['50', '20']);
    expect(lines.every((line) => line.includes('broken=""') && line.length < 250)).toBe(true);
  });

  it('sends fewer decimals when `digits` says so', async () => {
    const shapes = async (digits: number, door: boolean) => {
      const { answers } = await run(
        { timing: { digits }, routes: { '/a': { cache: { ttl: '1m', shared: true } } } },
        (app) => void app.get('/a', text),
        ['/a', '/a'],
        door,
      );
      return answers.map((answer) => answer.header('x-response-time')?.replace(/\d/g, '').length);
    };
    expect(await shapes(0, false)).toEqual([2, 2]);
    expect(await shapes(0, true)).toEqual([2, 2]);
    expect(await shapes(1, true)).toEqual([3, 3]);
  });

  it('reports an exception or a rejection of onRequest and goes on', async () => {
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    delete (globalThis as Record<symbol, unknown>)[Symbol.for('hotpath.faults')];
    const { answers } = await run(
      { timing: { onRequest: () => Promise.reject(new Error('on purpose')) as never } },
      (app) => void app.get('/a', text),
      ['/a'],
    );
    expect(answers[0]!.status).toBe(200);
    await waitFor(() => warning.mock.calls.length === 1);
    expect(String(warning.mock.calls[0]![0])).toContain('onRequest failed');
  });
});

describe('options of the metrics', () => {
  it.each([
    [{ prefix: 'a-b' }, /metrics\.prefix/],
    [{ labels: { path: 'x' } }, /metrics\.labels\.path/],
    [{ labels: { __x: 'x' } }, /metrics\.labels\.__x/],
    [{ labels: { 'a-b': 'x' } }, /metrics\.labels\['a-b'\]/],
    [{ labels: { a: 1 } }, /metrics\.labels\.a/],
  ])('rejects %j', (metrics, message) => {
    expect(() => hotpath({ metrics } as never)).toThrow(message);
  });

  it('rejects two prefixes in one registry', async () => {
    const registry = new Registry();
    const first = hotpath({ metrics: { registry, prefix: 'a_', defaultMetrics: false } });
    expect(() => hotpath({ metrics: { registry, prefix: 'b_' } })).toThrow(
      /metrics\.prefix: conflicts.*"a_"/,
    );
    await first.close();
  });

  it.each([{ metrics: true }, { timing: true }])('rejects a policy of a route: %j', (policy) => {
    expect(() => hotpath({ routes: { '/a': policy } } as never)).toThrow(/routes\['\/a'\]/);
  });
});
