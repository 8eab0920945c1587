import { randomBytes, randomUUID } from 'node:crypto';
import cors from 'cors';
import type { Express, Response } from 'express';
import helmet from 'helmet';
import { type CacheRule, responseCache } from 'hotpath/cache';
import { cacheControl } from 'hotpath/cache-control';
import { compression } from 'hotpath/compression';
import { timing } from 'hotpath/timing';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ADDED_HEADERS, answerFrom, cacheApp, expectSame } from '../../helpers/cache.js';
import { stopClock } from '../../helpers/clock.js';
import { listen, majors } from '../../helpers/http.js';

const RULE: Record<string, CacheRule> = { '/*path': { ttl: '1m' } };

const OF_ONE_RESPONSE = [
  ...['X-Request-Id', 'X-Correlation-Id', 'X-Response-Time', 'Server-Timing', 'Traceparent', 'Request-Id'],
  ...['RateLimit-Remaining', 'X-RateLimit-Remaining', 'Retry-After', 'X-Trace-Id', 'X-B3-TraceId', 'B3'],
  ...['X-B3-Sampled', 'X-Amzn-Trace-Id', 'X-Amz-Request-Id', 'X-Amz-Cf-Id', 'CF-Ray', 'X-Runtime'],
  'X-Cloud-Trace-Context',
];

const FORMS: [string, (res: Response, headers: Record<string, string>) => Response][] = [
  ['an object', (res, headers) => res.writeHead(200, headers)],
  ['a flat array', (res, headers) => res.writeHead(200, Object.entries(headers).flat())],
  ['nested arrays', (res, headers) => res.writeHead(200, Object.entries(headers) as never)],
  ['a status text and an object', (res, headers) => res.writeHead(200, 'Fine', headers)],
];

afterEach(() => void vi.restoreAllMocks());

describe.each(majors)('stored header fields (%s)', (_name, express) => {
  it.each(['content-security-policy', 'content-security-policy-report-only'])(
    'does not store a page with a nonce in its %s [A17]',
    async (header) => {
      const made = await cacheApp({
        express,
        cache: { routes: RULE },
        routes: (app) => {
          app.use((_req, res, next) => {
            res.locals.nonce = randomBytes(16).toString('base64');
            helmet.contentSecurityPolicy({
              directives: { scriptSrc: ["'self'", () => `'nonce-${res.locals.nonce}'`] },
              reportOnly: header.endsWith('only'),
            })(_req, res, next);
          });
          app.get('/page', (_req, res) => {
            made.count();
            res.set('Cache-Control', 'public, max-age=60').send(`<script nonce="${res.locals.nonce}">`);
          });
        },
      });
      const pages = [await made.get('/page'), await made.get('/page')];
      // A client with the first page gets a new one, not a 304 with a header that does not match it.
      pages.push(await made.get('/page', { 'if-none-match': pages[0]?.headers.get('etag') ?? '' }));
      const nonces = pages.map((page) => {
        expect(page.status).toBe(200);
        const nonce = /nonce="(.+)"/.exec(page.text)?.[1];
        expect(page.headers.get(header)).toContain(`'nonce-${nonce}'`);
        return nonce;
      });
      expect(new Set(nonces).size).toBe(3);
    },
  );

  describe.each(['before', 'after'] as const)('set by a middleware mounted %s the cache', (place) => {
    it('never serves the ids, traces and times of one request to another [A18]', async () => {
      const use = (app: Express) =>
        app.use((_req, res, next) => {
          for (const name of OF_ONE_RESPONSE) res.setHeader(name, randomUUID());
          next();
        });
      const made = await cacheApp({
        express,
        cache: { routes: RULE },
        before: place === 'before' ? use : undefined,
        routes: (app) => {
          if (place === 'after') use(app);
          app.get('/x', (_req, res) => res.send(`run ${made.count()}`));
        },
      });
      const answers = [await made.get('/x'), await made.get('/x'), await made.get('/x')];
      expect(made.runs()).toBe(1);
      for (const name of OF_ONE_RESPONSE) {
        const seen = answers.map(({ headers }) => headers.get(name)).filter((value) => value !== null);
        expect([name, new Set(seen).size]).toEqual([name, place === 'before' ? 3 : 1]);
        expect([name, seen.length]).toEqual([name, place === 'before' ? 3 : 1]);
      }
    });

    it("sends a separate id and time per response with hotpath's timing [A18]", async () => {
      const made = await cacheApp({
        express,
        cache: { routes: RULE },
        before: (app) => void (place === 'before' && app.use(timing({ serverTiming: true }))),
        routes: (app) => {
          if (place === 'after') app.use(timing({ serverTiming: true }));
          app.get('/x', (_req, res) => res.send(`run ${made.count()}`));
        },
      });
      const answers = [await made.get('/x'), await made.get('/x'), await made.get('/x')];
      expect(made.runs()).toBe(1);
      const ids = answers.map((answer) => answer.headers.get('x-request-id')).filter((id) => id !== null);
      expect(new Set(ids).size).toBe(place === 'before' ? 3 : 1);
      expect(ids.length).toBe(place === 'before' ? 3 : 1);
    });
  });

  it('omits response headers listed in perResponseHeaders, by name or prefix [A18]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: RULE, perResponseHeaders: ['X-Acme-Call', 'X-Job-*'] },
      routes: (app) =>
        app.get('/x', (_req, res) => {
          res.set({
            'X-Acme-Call': randomUUID(),
            'X-Job-Id': randomUUID(),
            'X-Trace-Id': 'a',
            'X-Acme': 'kept',
          });
          res.send('x');
        }),
    });
    expect((await made.get('/x')).headers.get('x-job-id')).not.toBeNull();
    const { headers, xCache } = await made.get('/x');
    const kept = ['x-acme-call', 'x-job-id', 'x-trace-id', 'x-acme'].map((name) => headers.get(name));
    expect([xCache, ...kept]).toEqual(['HIT', null, null, null, 'kept']);
  });

  it.each(['X-*-Id', '*', 'X Id', ''])('rejects %j in perResponseHeaders [K06]', (name) => {
    expect(() => responseCache({ perResponseHeaders: [name] })).toThrow(/perResponseHeaders\[0\]/);
  });

  it('sends a hit with Age, original Date and never a longer lifetime than before [A18]', async () => {
    const clock = stopClock();
    const made = await cacheApp({
      express,
      routes: (app) =>
        app.get('/x', (_req, res) =>
          res.set({ 'Cache-Control': 'public, max-age=60', Age: '7' }).send(`${made.count()}`),
        ),
    });
    const first = await made.get('/x');
    expect(first.headers.get('age')).toBe('7');
    for (let i = 0; i < 3; i++) {
      const hit = await made.get('/x');
      expect(hit.headers.get('age')).toBe(String(7 + i));
      clock.pass(1_000);
      expect(hit.headers.get('date')).toBe(first.headers.get('date'));
      expect(hit.headers.get('cache-control')).toBe('public, max-age=60');
    }
    expect(made.runs()).toBe(1);
  });

  it('does not store a response older than its lifetime [A18]', async () => {
    const made = await cacheApp({
      express,
      routes: (app) =>
        app.get('/x', (req, res) => {
          res.set('Cache-Control', 'public, max-age=60');
          if (req.query.age) res.set('Age', '60');
          else res.set('Date', new Date(Date.now() - 120_000).toUTCString());
          res.send(`${made.count()}`);
        }),
    });
    for (const path of ['/x', '/x?age=1']) {
      expect((await made.get(path)).text).not.toBe((await made.get(path)).text);
    }
  });

  it('does not repeat hop-by-hop fields or those listed in Connection [A19]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: RULE },
      routes: (app) =>
        app.get('/x', (_req, res) => {
          made.count();
          res.set({
            Connection: 'close, X-Secret , x-other',
            'X-Secret': '1',
            'X-Other': '1',
            'Keep-Alive': 'timeout=1',
            'Proxy-Connection': 'close',
            'Proxy-Authenticate': 'Basic',
            Upgrade: 'x',
            TE: 'trailers',
            'X-Kept': '1',
          });
          res.send('body');
        }),
    });
    expect((await made.get('/x')).headers.get('x-secret')).toBe('1');
    const hit = await made.raw('GET /x HTTP/1.1\nConnection: close');
    expect(made.runs()).toBe(1);
    const names = hit.headers.map(([name]) => name.toLowerCase());
    expect(names).toContain('x-kept');
    for (const name of [
      'x-secret',
      'x-other',
      'keep-alive',
      'proxy-connection',
      'proxy-authenticate',
      'upgrade',
      'te',
    ]) {
      expect(names).not.toContain(name);
    }
    expect(hit.header('connection')).toBe('close');
    expect(hit.text).toBe('body');
  });

  describe.each(FORMS)('given to writeHead as %s', (_form, write) => {
    it.each<Record<string, string>>([
      { 'Cache-Control': 'no-store' },
      { 'Set-Cookie': 'a=1', 'Cache-Control': 'public, max-age=60' },
    ])('does not store %o even if no header was set before [A20]', async (headers) => {
      const made = await cacheApp({
        express,
        cache: { routes: RULE, statusHeader: false },
        before: (app) => app.disable('x-powered-by'),
        routes: (app) =>
          app.get('/x', (_req, res) =>
            write(res, { ...headers, 'Content-Type': 'application/json' }).end(`${made.count()}`),
          ),
      });
      expect((await made.get('/x')).text).toBe('1');
      expect((await made.get('/x')).text).toBe('2');
      expect(made.cache.stats().entries).toBe(0);
    });

    it('repeats the headers of a public response on a hit [A20]', async () => {
      const made = await cacheApp({
        express,
        cache: { statusHeader: false },
        before: (app) => app.disable('x-powered-by'),
        routes: (app) =>
          app.get('/x', (_req, res) => {
            made.count();
            write(res, {
              'Content-Type': 'application/json',
              'Cache-Control': 'public, max-age=60',
              'X-A': '1',
            }).end('{}');
          }),
      });
      const first = await made.get('/x');
      const second = await made.get('/x');
      expect(made.runs()).toBe(1);
      expectSame(second, first, [...ADDED_HEADERS, 'content-length', 'transfer-encoding']);
    });
  });

  it.each<[string, (res: Response) => unknown]>([
    [
      'a flat array with a name twice',
      (res) => res.writeHead(200, ['X-A', '1', 'X-B', '2', 'X-A', '3']).end('x'),
    ],
    [
      'nested arrays with a name twice',
      (res) =>
        res
          .writeHead(200, [
            ['X-A', '1'],
            ['X-A', '3'],
          ] as never)
          .end('x'),
    ],
    ['an array over fields set before', (res) => res.set('X-A', '0').writeHead(200, ['X-A', '1']).end('x')],
    [
      'lists',
      (res) =>
        res
          .set('Link', ['<a>; rel=x', '<b>; rel=y'] as never)
          .set('X-N', '5')
          .end('x'),
    ],
    ['appended fields', (res) => res.append('X-A', '1').append('X-A', '2').append('Link', '<a>').send('x')],
    ['numbers', (res) => res.setHeader('X-N', 5).writeHead(200, { 'X-M': 6 }).end('x')],
  ])('sends %s through the whole stack like the app alone, on fill and hit [A22]', async (_case, respond) => {
    const build = (use: (app: Express) => void) => {
      const app = express();
      app.disable('x-powered-by');
      use(app);
      app.get('/x', (_req, res) => void respond(res));
      return listen(app);
    };
    const alone = await build(() => undefined);
    const cache = responseCache({ routes: RULE });
    const stacked = await build((app) => {
      app.use(timing());
      app.use(cacheControl({ routes: { '/y': 'no-cache' } }));
      app.use(compression());
      app.use(cache);
    });
    try {
      const ignored = [
        'cache-control',
        'x-cache',
        'cache-status',
        'age',
        'date',
        'etag',
        'vary',
        'x-response-time',
        'x-request-id',
        'server-timing',
        'content-length',
        'transfer-encoding',
      ];
      const expected = await answerFrom(alone.port, { path: '/x' });
      for (let i = 0; i < 3; i++)
        expectSame(await answerFrom(stacked.port, { path: '/x' }), expected, ignored);
      expect(cache.stats()).toMatchObject({ hits: 2, stores: 1 });
    } finally {
      await Promise.all([alone.close(), stacked.close(), cache.close()]);
    }
  });

  describe.each(['before', 'after'] as const)('with cors mounted %s the cache', (place) => {
    const allowed = ['https://a.example', 'https://b.example'];
    it.each<[string, cors.CorsOptions]>([
      ['a list', { origin: allowed }],
      ['any origin, reflected', { origin: true }],
      ['a function', { origin: (origin, answer) => answer(null, allowed.includes(origin ?? '')) }],
      ['every origin', {}],
    ])('sends each origin its own Access-Control-Allow-Origin: %s [A23]', async (_case, options) => {
      const build = (app: Express) => {
        app.use(cors(options));
        app.get('/x', (_req, res) => res.send('data'));
      };
      const alone = express();
      build(alone);
      const server = await listen(alone);
      const made = await cacheApp({
        express,
        cache: { routes: RULE },
        before: (app) => void (place === 'before' && app.use(cors(options))),
        routes: (app) => {
          if (place === 'after') app.use(cors(options));
          app.get('/x', (_req, res) => {
            made.count();
            res.send('data');
          });
        },
      });
      const expected = new Map<string, Awaited<ReturnType<typeof answerFrom>>>();
      try {
        for (const origin of ['', ...allowed, 'https://evil.example']) {
          const headers = origin ? { origin } : undefined;
          expected.set(origin, await answerFrom(server.port, { path: '/x', headers }));
        }
        // The first origin must not decide for the others: each of them comes first once.
        for (let first = 0; first < 4; first++) {
          const origins = [...expected.keys()];
          origins.unshift(...origins.splice(first));
          await made.cache.purge({ all: true });
          for (const origin of [...origins, ...origins]) {
            const headers = origin ? { origin } : undefined;
            expectSame(await made.get('/x', headers), expected.get(origin)!);
          }
        }
        expect(made.runs()).toBeLessThan(32);
      } finally {
        await server.close();
      }
    });
  });

  it('does not share a manually allowed origin without Vary [A23]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: RULE },
      routes: (app) =>
        app.get('/x', (req, res) => {
          made.count();
          res.set('Access-Control-Allow-Origin', req.get('origin') ?? 'https://a.example').send('data');
        }),
    });
    for (const origin of ['https://a.example', 'https://b.example', 'https://a.example']) {
      expect((await made.get('/x', { origin })).headers.get('access-control-allow-origin')).toBe(origin);
    }
    expect(made.runs()).toBe(3);
  });

  it.each([
    ['cache-control, then the cache', true],
    ['the cache, then cache-control', false],
  ])('%s: a preset makes nothing storable that handler or request forbid [A25]', async (_case, outside) => {
    const preset = cacheControl({ default: { public: true, maxAge: '1m' } });
    const made = await cacheApp({
      express,
      before: (app) => void (outside && app.use(preset)),
      routes: (app, { count }) => {
        if (!outside) app.use(preset);
        app.get('/private', (_req, res) => res.set('Cache-Control', 'private').send(`${count()}`));
        app.get('/cookie', (_req, res) => res.cookie('a', '1').send(`${count()}`));
        app.get('/401', (_req, res) => res.status(401).send(`${count()}`));
        app.get('/500', (_req, res) => res.status(500).send(`${count()}`));
        app.get('/auth', (_req, res) => res.send(`${count()}`));
      },
    });
    for (const path of ['/private', '/cookie', '/401', '/500', '/auth']) {
      const headers = path === '/auth' ? { authorization: 'x' } : undefined;
      const first = await made.get(path, headers);
      const second = await made.get(path, headers);
      expect(second.text).not.toBe(first.text);
      expect(second.headers.get('cache-control')).not.toMatch(/public|s-maxage/);
    }
    expect(made.cache.stats().entries).toBe(0);
  });

  it('does not store a preset outside the cache, and sends it on hits and misses [A25]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: RULE },
      before: (app) => app.use(cacheControl({ default: { private: true, maxAge: '1m' } })),
      routes: (app) => app.get('/x', (_req, res) => res.send(`${made.count()}`)),
    });
    const first = await made.get('/x');
    const second = await made.get('/x');
    expect(first.headers.get('cache-control')).toBe('private, max-age=60');
    expectSame(second, first, ['x-cache', 'cache-status', 'age', 'date', 'etag']);
    expect(made.runs()).toBe(1);
  });
});
