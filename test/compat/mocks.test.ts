import { EventEmitter } from 'node:events';
import type { Request, Response } from 'express';
import { type Hotpath, type HotpathConfig, hotpath } from 'hotpath';
import { createMocks } from 'node-mocks-http';
import supertest from 'supertest';
import { afterEach, describe, expect, it } from 'vitest';
import { listen, majors } from '../helpers/http.js';

const text = JSON.stringify({ text: 'é'.repeat(3000) });
const open: Hotpath[] = [];
afterEach(async () => {
  for (const perf of open.splice(0)) await perf.close();
});

function make(config: HotpathConfig = {}): Hotpath {
  const routes = { '/items': { cache: { ttl: '1m', shared: true } } } as const;
  const perf = hotpath({ metrics: { defaultMetrics: false }, routes, ...config });
  open.push(perf);
  return perf;
}

describe.each(majors)('%s', (_major, express) => {
  const appOf = (perf: Hotpath) => {
    const app = express();
    app.use(perf);
    perf.attach(app);
    app.get('/items', (_req, res) => void res.set('X-Own', 'yes').type('json').send(text));
    return app;
  };

  it('serves hits through supertest, at the front door', async () => {
    const perf = make();
    const { server, close } = await listen(appOf(perf));
    const miss = await supertest(server).get('/items').set('Accept-Encoding', 'identity');
    const hit = await supertest(server)
      .get('/items')
      .set('Accept-Encoding', 'identity')
      .expect('X-Own', 'yes')
      .expect('Content-Type', /json/);
    await close();
    expect([miss.headers['x-cache'], hit.headers['x-cache'], hit.text]).toEqual(['MISS', 'HIT', text]);
    expect(perf.cache.stats().frontDoor).toEqual({ hits: 1, skipped: {} });
  });
});

describe('node-mocks-http', () => {
  /** Runs hotpath and a handler as a unit test does, without Express. */
  function run(perf: Hotpath, handler: (req: Request, res: Response) => unknown, request: object = {}) {
    const mocks = createMocks<Request, Response>(
      { method: 'GET', url: '/items', ...request },
      { eventEmitter: EventEmitter },
    );
    mocks.req.baseUrl = ''; // instead of the URL
    perf(mocks.req, mocks.res, (error) => {
      if (error) throw error;
      handler(mocks.req, mocks.res);
    });
    return mocks.res;
  }

  it('serves misses and hits, and reports no fault', async () => {
    const faults: unknown[] = [];
    const listen = (warning: Error) => faults.push(warning);
    process.on('warning', listen);
    try {
      const perf = make({ cache: { onError: (error) => void faults.push(error) } });
      const handler = (_req: Request, res: Response) => void res.set('X-Own', 'yes').type('json').end(text); // its `send` marks the head as sent first
      const [miss, hit] = [run(perf, handler), run(perf, handler)];
      expect([miss._getData(), hit._getBuffer().toString()]).toEqual([text, text]); // a hit is sent as bytes
      expect([hit.getHeader('x-own'), hit._isEndCalled()]).toEqual(['yes', true]);
      expect([miss.getHeader('x-cache'), hit.getHeader('x-cache')]).toEqual(['MISS', 'HIT']);
      await new Promise(setImmediate); // warnings come in a turn of their own
      expect(faults).toEqual([]);
    } finally {
      process.off('warning', listen);
    }
  });

  it('refuses a body over the limit', () => {
    const perf = make({ sizeLimit: { limit: 10 } });
    const headers = { 'content-type': 'text/plain', 'content-length': '11' };
    const res = run(perf, (_req, response) => response.end('handled'), { method: 'POST', headers });
    expect([res.statusCode, JSON.parse(res._getData()).limit]).toEqual([413, 10]);
  });
});
