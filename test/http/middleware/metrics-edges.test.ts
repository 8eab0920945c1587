import { connect } from 'node:net';
import type { RequestHandler, Response } from 'express';
import { Gauge, Registry } from 'prom-client';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { responseCache } from '../../../src/cache/index.js';
import { exchangeOf } from '../../../src/exchange/exchange.js';
import { hotpath } from '../../../src/hotpath.js';
import { metrics } from '../../../src/middleware/metrics/middleware.js';
import { timing, timingOf } from '../../../src/middleware/timing/index.js';
import { bodyOf, majors, raw, waitFor } from '../../helpers/http.js';
import { serveUntilAfterEach } from '../../helpers/serve.js';

const serve = serveUntilAfterEach();
afterEach(() => vi.restoreAllMocks());

/** Parses the text formats and undoes their escapes. */
function samplesOf(text: string, name: string): { labels: Record<string, string>; value: number }[] {
  const found = [];
  const escapes: Record<string, string> = { n: '\n', '"': '"', '\\': '\\' };
  for (const line of text.split('\n')) {
    const parts = /^(\w+)\{((?:\w+="(?:[^"\\]|\\["\\n])*",?)*)\} (\S+)$/.exec(line);
    if (parts?.[1] !== name) continue;
    const labels: Record<string, string> = {};
    for (const [, label, value] of parts[2]!.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
      labels[label!] = value!.replace(/\\(.)/g, (_, char: string) => escapes[char]!);
    found.push({ labels, value: Number(parts[3]) });
  }
  return found;
}

describe.each(majors)('edge cases of metrics and timing on %s', (_name, express) => {
  it.each([Registry.PROMETHEUS_CONTENT_TYPE, Registry.OPENMETRICS_CONTENT_TYPE])(
    'gives paths with special characters their own, readable series: %s [I04]',
    async (type) => {
      const registry = new Registry();
      registry.setContentType(type as never);
      const measured = metrics({ registry, defaultMetrics: false });
      const templates = [
        '/a',
        '/a,status:404',
        '/a|404',
        '/a"',
        '/a\\',
        '/a\\n',
        '/a\nb',
        '/a"} 1',
        '/é|,:',
        'GET|/a',
      ];
      const app = express();
      app.use(measured);
      app.use((req, res) => {
        // A hit uses the template of its entry in the same way.
        exchangeOf(req, res).template = templates[Number(req.query.i)];
        res.status(Number(req.query.status)).end();
      });
      const { url } = await serve(app);
      for (let i = 0; i < templates.length; i++)
        for (const status of [200, 404]) await (await fetch(`${url}/?i=${i}&status=${status}`)).text();
      const text = await waitForSeries(registry, 2 * templates.length);
      const series = samplesOf(text, 'http_requests_total');
      expect(series.map(({ labels, value }) => [labels.path, labels.status, value]).sort()).toEqual(
        templates.flatMap((path) => [[path, '200', 1] as const, [path, '404', 1] as const]).sort(),
      );
      const durations = samplesOf(text, 'http_request_duration_seconds_count');
      expect(durations.map(({ labels, value }) => [labels.path, value]).sort()).toEqual(
        templates.map((path) => [path, 2] as const).sort(),
      );
    },
  );

  async function waitForSeries(registry: Registry, count: number): Promise<string> {
    let text = '';
    await waitFor(async () => {
      text = await registry.metrics();
      return samplesOf(text, 'http_requests_total').reduce((sum, { value }) => sum + value, 0) >= count;
    });
    return text;
  }

  it('writes the text once for 100 parallel scrapes [I06]', async () => {
    const perf = hotpath();
    const registry = perf.metrics.registry!;
    const app = express();
    app.use(perf);
    app.get('/metrics', perf.metrics.handler);
    const { url } = await serve(app);
    let writes = 0;
    const inProgress = async () =>
      (await registry.getSingleMetric('http_requests_in_progress')!.get()).values[0]?.value ?? 0;
    new Gauge({
      name: 'slow_to_collect',
      help: 'Collected when all the scrapers are there.',
      registers: [registry],
      async collect() {
        writes++;
        await waitFor(async () => (await inProgress()) === 100);
        this.set(1);
      },
    });
    const texts = await Promise.all(
      Array.from({ length: 100 }, async () => (await fetch(`${url}/metrics`)).text()),
    );
    expect(writes).toBe(1);
    expect(new Set(texts).size).toBe(1);
    expect(texts[0]).toContain('slow_to_collect 1');
    await perf.close();
  });

  it.each([
    ['metrics outside of the cache', true],
    ['metrics inside of the cache', false],
  ])('counts each request once, with its template: %s [I13]', async (_order, isOutside) => {
    const measured = metrics({ defaultMetrics: false });
    const cache = responseCache({ routes: { '/items/:id': { ttl: '1m' } } });
    const app = express();
    for (const each of isOutside ? [measured, cache] : [cache, measured]) app.use(each as RequestHandler);
    let runs = 0;
    app.get('/items/:id', (_req, res) => void res.send(String(++runs)));
    const { url } = await serve(app);
    for (let i = 0; i < 5; i++) await (await fetch(`${url}/items/7`)).text();
    const hits = 5 - runs;
    const text = await waitForSeries(measured.registry, isOutside ? 5 : runs);
    expect(samplesOf(text, 'http_requests_total')).toEqual([
      { labels: { method: 'GET', path: '/items/:id', status: '200' }, value: isOutside ? 5 : runs },
    ]);
    expect(hits).toBe(cache.stats().hits);
  });

  it('counts hits once in the composed middleware, with template and cache outcome [I13]', async () => {
    const perf = hotpath({ routes: { '/items/:id': { cache: { ttl: '1m' } } } });
    const app = express();
    app.use(perf);
    let runs = 0;
    app.get('/items/:id', (_req, res) => void res.send(String(++runs)));
    const { url } = await serve(app);
    for (let i = 0; i < 5; i++) await (await fetch(`${url}/items/7`)).text();
    expect(runs).toBe(1);
    const text = await waitForSeries(perf.metrics.registry!, 5);
    expect(samplesOf(text, 'http_requests_total')).toEqual([
      { labels: { method: 'GET', path: '/items/:id', status: '200' }, value: 5 },
    ]);
    const results = samplesOf(text, 'hotpath_cache_requests_total');
    expect(Object.fromEntries(results.map(({ labels, value }) => [labels.result, value]))).toMatchObject({
      hit: 4,
      miss: 1,
    });
    await perf.close();
  });

  describe.each([
    ['standalone', () => timing() as RequestHandler],
    ['composed', () => hotpath() as RequestHandler],
  ])('timing, %s', (_mount, mount) => {
    it('sets headers once, before the head, for every kind of response and clock jump [I10]', async () => {
      let clock = Date.now();
      vi.spyOn(Date, 'now').mockImplementation(() => (clock += clock % 2 === 0 ? -3_600_001 : 7_200_001));
      const failures: unknown[] = [];
      const app = express();
      app.use(mount());
      const late = (res: Response) => {
        try {
          timingOf(res).add('late', 1);
          void timingOf(res).measure('later', async () => {});
        } catch (error) {
          failures.push(error);
        }
      };
      app.get('/streams', (_req, res) => {
        res.flushHeaders();
        late(res);
        setImmediate(() => res.end('b'));
      });
      app.get('/', (_req, res) => void res.set('ETag', '"1"').send('ok'));
      app.post('/', async (req, res) => void res.send(String((await bodyOf(req)).length)));
      app.use((_req, res) => {
        res.once('finish', () => late(res));
        res.status(404).end();
      });
      const { port } = await serve(app);
      for (const request of [
        'GET / HTTP/1.1',
        'HEAD / HTTP/1.1',
        'GET / HTTP/1.1\nIf-None-Match: "1"',
        'GET /streams HTTP/1.1',
        'GET /streams HTTP/1.0',
        'POST / HTTP/1.1\nContent-Length: 0',
        'GET /nowhere HTTP/1.1',
      ]) {
        const startedAt = performance.now();
        const answer = await raw(port, `${request}\nHost: a\nConnection: close\n\n`);
        for (const name of ['x-response-time', 'server-timing', 'x-request-id'])
          expect(
            answer.headers.filter(([key]) => key.toLowerCase() === name),
            `${request}: ${name}`,
          ).toHaveLength(1);
        const time = /^(\d+\.\d{3})ms$/.exec(answer.header('x-response-time')!)!;
        expect(Number(time[1]), request).toBeLessThanOrEqual(performance.now() - startedAt);
        expect(answer.header('server-timing'), request).toMatch(/^total;dur=\d+\.\d{3}(, cache;desc=\w+)?$/);
      }
      expect(failures).toEqual([]);
    });

    it('keeps names and descriptions of an attacker inside one line of ASCII [I11]', async () => {
      const app = express();
      app.use(mount());
      const hostile = [
        'a"b',
        'a\r\nSet-Cookie: x=1',
        'a;dur=1',
        'a,b',
        'a\\"',
        '\u0000',
        'é\u{1f600}',
        '__proto__',
        'x'.repeat(9999),
      ];
      app.get('/', (_req, res) => {
        for (const each of hostile) timingOf(res).add(each, 1);
        for (const each of hostile) timingOf(res).add('entry', 1, each);
        res.send('ok');
      });
      const { port } = await serve(app);
      const answer = await raw(port, 'GET / HTTP/1.1\nHost: a\nConnection: close\n\n');
      expect([answer.status, answer.header('set-cookie')]).toEqual([200, undefined]);
      const header = answer.header('server-timing')!;
      expect(header).toMatch(/^[\x20-\x7e]{1,4000}$/);
      const rest = header.replace(/"(?:[^"\\]|\\.)*"/g, 'quoted');
      for (const entry of rest.split(', ')) expect(entry).toMatch(/^[\w-]+(;desc=[\w.-]+)?(;dur=[\d.]+)?$/);
      expect(rest.split(', ').filter((entry) => entry.startsWith('entry;'))).toHaveLength(hostile.length);
    });

    it('tolerates a client that leaves before the head [I10]', async () => {
      const app = express();
      let closed = false;
      app.use(mount());
      app.get('/', (_req, res) => {
        res.once('close', () => {
          closed = true;
          timingOf(res).add('late', 1);
          res.send('nobody reads this');
        });
      });
      const { port, server } = await serve(app);
      const socket = connect(port, '127.0.0.1');
      socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      await new Promise((resolve) => server.once('request', resolve));
      socket.destroy();
      await waitFor(() => closed);
      expect((await raw(port, 'GET /nowhere HTTP/1.1\nHost: a\n\n')).status).toBe(404);
    });
  });
});
