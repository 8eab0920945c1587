import { afterEach, describe, expect, it } from 'vitest';
import { hotpath } from '../../../src/hotpath.js';
import { ask } from '../../helpers/client.js';
import { type Listening, listen, majors, waitFor } from '../../helpers/http.js';

const TEXT = 'A page that is rendered once and read often. '.repeat(60);

let server: Listening | undefined;
let close: (() => Promise<void>) | undefined;
afterEach(async () => {
  await server?.close();
  await close?.();
});

describe.each(majors)('headers set as arrays of one element on %s', (_major, express) => {
  it('are stored, compared and compressed as text is', async () => {
    let runs = 0;
    const perf = hotpath({ routes: { '/*path': { cache: { ttl: 60 } } } });
    close = () => perf.close();
    const app = express();
    app.use(perf);
    app.get('/page', (_req, res) => {
      runs++;
      res.setHeader('Content-Type', ['text/html; charset=utf-8']);
      res.setHeader('ETag', ['"one"']);
      res.setHeader('Vary', ['Accept']);
      res.setHeader('Last-Modified', ['Tue, 01 Jan 2030 00:00:00 GMT']);
      res.end(TEXT);
    });
    app.get('/private', (_req, res) => {
      runs++;
      res.setHeader('Content-Type', ['text/html']);
      res.setHeader('Cache-Control', ['private, max-age=60']);
      res.end(TEXT);
    });
    server = await listen(app);
    const get = (path: string, headers: object = {}) =>
      ask(server!.port, { path, headers: { 'Accept-Encoding': 'gzip', ...headers } });

    const miss = await get('/page');
    expect([miss.header('content-encoding'), miss.header('etag')]).toEqual(['gzip', 'W/"one--gzip"']);
    await get('/page');
    await waitFor(() => perf.cache.stats().encodings.made === 1);
    const hit = await get('/page');
    expect([
      hit.header('x-cache'),
      hit.header('content-encoding'),
      hit.header('etag'),
      hit.body.toString(),
    ]).toEqual(['HIT', 'gzip', 'W/"one--gzip"', TEXT]);
    const same = await get('/page', { 'If-None-Match': 'W/"one--gzip"' });
    expect([same.status, same.header('etag'), runs]).toEqual([304, 'W/"one--gzip"', 1]);
    const since = await get('/page', { 'If-Modified-Since': 'Tue, 01 Jan 2030 00:00:00 GMT' });
    expect([since.status, runs]).toEqual([304, 1]);
    await get('/page', { Accept: 'text/plain' });
    expect(runs).toBe(2);

    runs = 0;
    await get('/private');
    await get('/private');
    expect(runs).toBe(2);
  });
});
