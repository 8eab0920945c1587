import { createRequire } from 'node:module';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import express from 'express';
import { hotpath } from 'hotpath';
import { afterAll, expect, it } from 'vitest';
import { listen, raw } from '../helpers/http.js';

// Before `node:http` is used, as with `--import`. It patches `Server.prototype.emit` of the module that `require` gives.
const exporter = new InMemorySpanExporter();
const instrumentation = new HttpInstrumentation({
  headersToSpanAttributes: { server: { responseHeaders: ['x-own'] } },
});
instrumentation.setTracerProvider(
  new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
);
instrumentation.enable();
createRequire(import.meta.url)('http');
afterAll(() => instrumentation.disable());

it('serves hits at the front door under the HTTP instrumentation of OpenTelemetry', async () => {
  const perf = hotpath({
    metrics: { defaultMetrics: false },
    routes: { '/items': { cache: { ttl: '1m', shared: true } } },
  });
  const app = express();
  app.use(perf);
  perf.attach(app);
  app.get('/items', (_req, res) => void res.set('X-Own', 'yes').type('json').send('{"a":1}'));
  const { port, close } = await listen(app);
  const ask = () => raw(port, 'GET /items HTTP/1.1\nHost: shop.test\nConnection: close\n\n');
  const [miss, hit] = [await ask(), await ask()];
  expect([miss.header('x-cache'), hit.header('x-cache'), hit.text]).toEqual(['MISS', 'HIT', '{"a":1}']);
  const fields = ({ headers }: typeof hit) => headers.map(([name]) => name.toLowerCase()).sort();
  expect(fields(hit)).toEqual([...fields(miss), 'age'].sort());
  expect(perf.cache.stats().frontDoor).toEqual({ hits: 1, skipped: {} });
  await close();
  await perf.close();
  const spans = exporter.getFinishedSpans().filter(({ kind }) => kind === 1);
  expect(
    spans.map(
      ({ attributes }) =>
        attributes['http.response.header.x_own'] ?? attributes['http.response.header.x-own'],
    ),
  ).toEqual([['yes'], ['yes']]);
});
