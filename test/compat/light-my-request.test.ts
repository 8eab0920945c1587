// Alone in its process: with Express, light-my-request changes the prototype of requests for good.
import { IncomingMessage } from 'node:http';
import { gunzipSync } from 'node:zlib';
import express from 'express';
import { hotpath } from 'hotpath';
import inject from 'light-my-request';
import { expect, it } from 'vitest';
import { waitFor } from '../helpers/http.js';

const text = JSON.stringify({ text: 'é'.repeat(3000) });

it('serves hits through light-my-request', async () => {
  const perf = hotpath({
    metrics: { defaultMetrics: false },
    routes: { '/items': { cache: { ttl: '1m', shared: true } } },
  });
  const app = express();
  app.use(perf);
  perf.attach(app);
  app.get('/items', (_req, res) => void res.set('X-Own', 'yes').type('json').send(text));
  const ask = (headers = {}) =>
    inject(app as never, { url: '/items', headers, Request: class extends IncomingMessage {} });
  const [miss, hit] = [await ask(), await ask()];
  expect([miss.headers['x-cache'], hit.headers['x-cache'], hit.payload]).toEqual(['MISS', 'HIT', text]);
  for (const name of ['content-type', 'etag', 'x-own', 'content-length']) {
    expect(hit.headers[name]).toBe(miss.headers[name]);
  }
  await ask({ 'accept-encoding': 'gzip' });
  await waitFor(() => perf.cache.stats().encodings.made === 1);
  const coded = await ask({ 'accept-encoding': 'gzip' });
  expect([coded.headers['content-encoding'], gunzipSync(coded.rawPayload).toString()]).toEqual([
    'gzip',
    text,
  ]);
  expect(perf.cache.stats().frontDoor).toMatchObject({ hits: 0, skipped: { adapter: 4 } });
  await perf.close();
});
