import type { RequestHandler } from 'express';
import { hotpath } from 'hotpath';
import { afterEach, describe, expect, it } from 'vitest';
import { type Listening, listen, majors, raw, waitFor } from '../../helpers/http.js';

let close: (() => Promise<void>) | undefined;
afterEach(() => close?.());

describe.each(majors)('a response that ends without an ordinary head (%s)', (_name, express) => {
  async function serve(first: RequestHandler) {
    const perf = hotpath({
      metrics: false,
      cache: { waitTimeout: 60 },
      routes: { '/a': { cache: { ttl: '1m', shared: true } } },
    });
    const app = express();
    perf.attach(app);
    app.use(perf);
    let runs = 0;
    app.get('/a', (req, res, next) => {
      if (++runs === 1) first(req, res, next);
      else res.send(`run ${runs}`);
    });
    const server: Listening = await listen(app);
    close = async () => {
      await perf.close();
      await server.close();
    };
    return { ...server, perf, runs: () => runs };
  }

  const ends: Record<string, RequestHandler> = {
    'with status 101': (_req, res) => void res.status(101).end(),
    'with status 101, later': (_req, res) => void setImmediate(() => res.status(101).end()),
    'with 102 given to writeHead': (_req, res) => void res.writeHead(102).end(),
    'with status 199 and a body': (_req, res) => void res.status(199).end('body'),
  };

  it.each(Object.keys(ends))('releases the requests that wait for its fill: %s', async (name) => {
    let begun = () => {};
    const waiting = new Promise<void>((resolve) => (begun = resolve));
    const { port, runs, perf } = await serve((req, res, next) => {
      begun();
      setTimeout(() => ends[name]!(req, res, next), 20);
    });
    const request = 'GET /a HTTP/1.1\nHost: a\nConnection: close\n\n';
    const first = raw(port, request).catch(() => undefined);
    await waiting;
    const second = await raw(port, request);
    expect(second.text).toBe('run 2');
    await first;
    expect((await raw(port, request)).status).toBe(200);
    await waitFor(() => perf.cache.stats().pending === 0);
    expect(runs()).toBeLessThanOrEqual(3);
  });
});
