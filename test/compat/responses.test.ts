import { type IncomingMessage, ServerResponse } from 'node:http';
import express from 'express';
import { type Hotpath, hotpath } from 'hotpath';
import { Registry } from 'prom-client';
import { afterEach, expect, it } from 'vitest';
import { listen, raw } from '../helpers/http.js';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function start(wrap: (res: ServerResponse) => void = () => {}) {
  const routes = { '/items': { cache: { ttl: '1m', shared: true } } } as const;
  const perf: Hotpath = hotpath({ metrics: { defaultMetrics: false }, routes });
  const app = express();
  app.use(perf);
  perf.attach(app);
  app.get('/items', (_req, res) => {
    res
      .set({ ETag: '"v1"', 'Content-Language': 'en', 'Content-Disposition': 'inline' })
      .type('json')
      .send('{}');
  });
  app.get('/phrase', (_req, res) => void res.writeHead(200, '').end('x'));
  const { port, close } = await listen((req: IncomingMessage, res: ServerResponse) => {
    wrap(res);
    app(req, res);
  });
  closers.push(() => perf.close(), close);
  const ask = (path: string, fields = '') =>
    raw(port, `GET ${path} HTTP/1.1\nHost: shop.test\nConnection: close\n${fields}\n`);
  return { perf, ask };
}

const namesOf = ({ headers }: Awaited<ReturnType<typeof raw>>) =>
  headers.map(([name]) => name.toLowerCase()).sort();

it('leaves hits to Express when writeHead of the prototype is patched, so that the patch is called', async () => {
  const { writeHead } = ServerResponse.prototype;
  closers.push(() => Object.assign(ServerResponse.prototype, { writeHead }));
  Object.assign(ServerResponse.prototype, {
    writeHead(this: ServerResponse, ...args: [number]) {
      this.setHeader('X-Agent', 'seen');
      return writeHead.apply(this, args);
    },
  });
  const { perf, ask } = await start();
  await ask('/items');
  const hit = await ask('/items');
  expect([hit.header('x-cache'), hit.header('x-agent'), hit.text]).toEqual(['HIT', 'seen', '{}']);
  expect(perf.cache.stats().frontDoor).toEqual({ hits: 0, skipped: { patched: 2 } });
});

it('keeps headers that a wrapper has set before the app', async () => {
  let isWrapping = false;
  const { perf, ask } = await start((res) => void (isWrapping && res.setHeader('X-Wrapper', 'yes')));
  await ask('/items');
  isWrapping = true;
  const hit = await ask('/items');
  expect([hit.header('x-cache'), hit.header('x-wrapper')]).toEqual(['HIT', 'yes']);
  expect(perf.cache.stats().frontDoor).toEqual({ hits: 0, skipped: { headers: 1 } });
});

it('shows listeners of the response the headers of a hit at the front door', async () => {
  const seen: unknown[] = [];
  const { perf, ask } = await start((res) => {
    res.on('finish', () => seen.push([res.statusCode, res.getHeader('content-language')]));
  });
  const [miss, hit] = [await ask('/items'), await ask('/items')];
  expect(namesOf(hit)).toEqual([...namesOf(miss), 'age'].sort());
  expect([seen, perf.cache.stats().frontDoor.hits]).toEqual([Array(2).fill([200, 'en']), 1]);
});

it('sends the same fields in a 304 that it makes on a miss and on a hit', async () => {
  const { ask } = await start();
  const [miss, hit] = [
    await ask('/items', 'If-None-Match: "v1"\n'),
    await ask('/items', 'If-None-Match: "v1"\n'),
  ];
  expect([miss.status, hit.status, miss.header('content-language')]).toEqual([304, 304, undefined]);
  expect(namesOf(hit)).toEqual([...namesOf(miss), 'age'].sort());
});

it('keeps an empty reason phrase that writeHead was given', async () => {
  const { ask } = await start();
  expect((await ask('/phrase')).head).toMatch(/^HTTP\/1\.1 200 \r\n/);
});

it('registers its HTTP metrics again in a registry that was cleared', async () => {
  const registry = new Registry();
  const make = () => hotpath({ cache: false, metrics: { registry, defaultMetrics: false } });
  await make().close();
  registry.clear();
  const perf = make();
  closers.push(() => perf.close());
  expect(await registry.metrics()).toContain('# TYPE http_requests_total counter');
});
