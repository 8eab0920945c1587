import type { Express, Response } from 'express';
import type { HotpathConfig } from 'hotpath';
import { describe, expect, it } from 'vitest';
import { settled, site, still, type Way } from '../../front/helper.js';
import { majors, partOn4, type RawAnswer } from '../../helpers/http.js';

const DATE = new Date(Date.now() - 1000).toUTCString();
const TEXT = JSON.stringify({ items: Array.from({ length: 200 }, (_, id) => ({ id, name: `item ${id}` })) });

/** Handlers by path. */
const handlers: Record<string, (res: Response) => unknown> = {
  '/json': (res) => res.type('json').send(TEXT),
  '/small': (res) => res.send('small'),
  '/tagged': (res) => res.set({ ETag: '"own"', 'Last-Modified': DATE }).send(TEXT),
  '/binary': (res) => res.type('application/octet-stream').send(Buffer.alloc(3000, 7)),
  '/lines': (res) => res.set('Link', ['<a>; rel=preload', '<b>; rel=preload'] as never).send(TEXT),
  '/unpowered': (res) => res.removeHeader('X-Powered-By') ?? res.send(TEXT),
  '/powered': (res) => res.set('X-Powered-By', 'steam').send(TEXT),
  '/own-id': (res) => res.set({ 'X-Response-Time': '1s', 'X-Request-Id': 'mine' }).send(TEXT),
  '/moved': (res) => res.redirect(301, '/json'),
  '/empty': (res) => res.status(204).end(),
  '/gone': (res) => res.status(404).send('no such thing'),
  '/public': (res) => res.set('Cache-Control', 'public, max-age=600').send(TEXT),
  '/varying': (res) => res.vary('Accept-Language').send(`in ${res.req.headers['accept-language']}`),
  '/queries': (res) => res.send(res.req.url),
  '/keyed': (res) => res.send(String(res.req.headers['x-tenant'])),
  '/no-transform': (res) => res.set('Cache-Control', 'public, max-age=60, no-transform').send(TEXT),
  '/plain': (res) => res.type('text/plain').send(TEXT),
  '/cookies': (res) => res.send(TEXT),
  '/aged': (res) => res.set('Age', '0').send(TEXT),
  '/cors': (res) => res.set('Access-Control-Allow-Origin', '*').send(TEXT),
};

const wholeOf = (answer: RawAnswer) =>
  JSON.stringify([answer.head.split('\r\n')[0], still(answer), answer.body.toString('latin1')]);

const shared = { ttl: 600, shared: true } as const;
const config: HotpathConfig = {
  routes: {
    '/public': { cacheControl: 'no-cache' },
    '/gone': { cache: { ...shared, statuses: [404] } },
    '/empty': { cache: { ...shared, statuses: [204] } },
    '/queries': { cache: { ...shared, ignoreQuery: ['utm_*'] } },
    '/keyed': { cache: { ...shared, vary: { headers: ['X-Tenant'] } } },
    '/cookies': { cache: { ...shared, vary: { cookies: [] } }, cacheControl: { maxAge: 60, public: false } },
    '/plain': { cache: shared, compression: false, cacheControl: { public: true, maxAge: 60 } },
    '/*path': { cache: shared },
  },
};

const encodings = ['', 'gzip', 'br, gzip', 'gzip;q=0', 'identity;q=0, gzip'];
const get = (path: string, fields: Record<string, string> = {}, method = 'GET') => ({ path, fields, method });

/** Requests; each is repeated until the response is a hit in its stored form. */
const requests = [
  ...Object.keys(handlers).flatMap((path) =>
    encodings.map((accepted) => get(path, accepted ? { 'Accept-Encoding': accepted } : {})),
  ),
  ...['/json', '/small', '/empty', '/moved'].map((path) => get(path, {}, 'HEAD')),
  get('/json', { 'Accept-Encoding': 'gzip' }, 'HEAD'),
  get('/tagged', { 'If-None-Match': '"own"' }),
  get('/tagged', { 'If-None-Match': '"own"' }, 'HEAD'),
  get('/tagged', { 'If-None-Match': 'W/"own--gzip"', 'Accept-Encoding': 'gzip' }),
  get('/tagged', { 'If-None-Match': '"other"' }),
  get('/tagged', { 'If-None-Match': '*' }),
  get('/tagged', { 'If-Modified-Since': DATE }),
  get('/tagged', { 'If-Modified-Since': 'Thu, 01 Jan 1970 00:00:00 GMT' }),
  get('/tagged', { 'If-None-Match': '"other"', 'If-Modified-Since': DATE }),
  get('/tagged', { Range: 'bytes=0-9' }),
  get('/tagged', { Range: 'bytes=0-9', 'If-Range': '"own"' }),
  get('/queries?a=1&utm_source=x'),
  get('/keyed', { 'X-Tenant': 'a' }),
  get('/keyed', { 'X-Tenant': 'b' }),
  get('/varying', { 'Accept-Language': 'de' }),
  get('/varying', { 'Accept-Language': 'fr' }),
  get('/json', { 'X-Request-Id': 'given-by-a-proxy' }),
  get('/json', { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'elsewhere.example' }),
  get('/cookies', { Cookie: 'a=1' }),
  get('/json', { Origin: 'https://page.example' }),
  get('/cors', { Origin: 'https://page.example' }),
  get('/json', { 'Cache-Control': 'no-cache' }),
  get('/json?x=%zz'),
  get('//json'),
];

describe.each(majors)(
  'hits are the same from the front door, the fast path and the middlewares (%s)',
  (major, express) => {
    const make = (way: Way, trust: boolean | undefined) =>
      site({
        express,
        way,
        config,
        before: (app: Express) => trust !== undefined && app.set('trust proxy', trust),
        routes: (app) => {
          for (const [path, handle] of Object.entries(handlers)) {
            app.get(path, (_req, res) => {
              res.set('Date', DATE);
              handle(res);
            });
          }
        },
      });

    it.each([undefined, true])('in each byte of head and body (trust proxy %s)', async (trust) => {
      const ways = await Promise.all(
        (['middlewares', 'lane', 'door'] as const).map((way) => make(way, trust)),
      );
      // On Express 4, each request meets one setting of the proxy.
      const asked = requests.filter((_request, i) => partOn4(major, true, i % 2 === (trust ? 1 : 0)));
      for (const request of asked) {
        const [long, lane, door] = await Promise.all(ways.map((made) => settled(made, request)));
        const what = JSON.stringify(request);
        for (const answer of [lane!, door!]) {
          // `expect` costs more than the comparison, so it only reports the responses that differ.
          if (wholeOf(answer) === wholeOf(long!)) continue;
          expect(answer.head.split('\r\n')[0], what).toBe(long!.head.split('\r\n')[0]);
          expect(still(answer), what).toEqual(still(long!));
          expect(answer.body.equals(long!.body), what).toBe(true);
        }
      }
      // The compared responses came from the intended place.
      expect(ways[0]!.perf.cache.stats().frontDoor.hits).toBe(0);
      expect(ways[2]!.perf.cache.stats().frontDoor.hits).toBeGreaterThan(asked.length);
    });

    it('also without per-response header fields, and with the key in Cache-Status', async () => {
      for (const cache of [{ statusHeader: false }, { statusHeader: 'key' as const }]) {
        const ways = await Promise.all(
          (['middlewares', 'lane', 'door'] as const).map((way) =>
            site({
              express,
              way,
              config: {
                cache,
                routes: { '/*path': { cache: shared } },
                timing: { header: false, serverTiming: false, requestId: false },
              },
              before: (app) => app.disable('x-powered-by'),
              routes: (app) => app.get('/json', (_req, res) => void res.set('Date', DATE).json({ a: 1 })),
            }),
          ),
        );
        const [long, ...others] = await Promise.all(ways.map((made) => settled(made, get('/json?a="b"'))));
        for (const answer of others) expect(still(answer)).toEqual(still(long!));
      }
    });
  },
);
