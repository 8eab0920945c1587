import { isDeepStrictEqual } from 'node:util';
import type { Request, Response } from 'express';
import { type CacheExplanation, type CacheRule, hotpath, type ResponseCache } from 'hotpath';
import { afterEach, describe, expect, it } from 'vitest';
import { parseList } from '../../../src/http/structured-fields.js';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { listen, majors, waitFor } from '../../helpers/http.js';
import { type Connection, openConnection, type WireRequest, type WireResponse } from '../../leaks/clients.js';

/** The parameters of the hotpath member of `Cache-Status`, parsed by an independent structured field parser. */
function parametersOf(text: string): Record<string, unknown> {
  const [member] = parseList(text) ?? [];
  return Object.fromEntries([...member!.parameters].map(([name, { value }]) => [name, value]));
}

const rules: Record<string, CacheRule | false> = {
  '/ttl': { ttl: '1h' },
  '/never': false,
  '/when': { ttl: '1h', when: ({ req }) => req.headers['x-when'] === 'yes' },
  '/throws': {
    ttl: '1h',
    when: () => {
      throw new Error('of the rule');
    },
  },
  '/partition': { ttl: '1h', partition: ({ req }) => req.headers['x-user'] as string | undefined },
  '/keyed': { ttl: '1h', vary: { headers: ['x-tenant'], cookies: ['lang'], query: ['page'] } },
  '/while': { ttl: '1h', staleWhileRevalidate: '1h' },
  '/if-error': { ttl: '1h', staleIfError: '1h' },
  '/alone': { ttl: '1h', collapse: false },
};

/** The handlers of the same paths; `/x` has no rule. */
const handlers: Record<string, (req: Request, res: Response) => unknown> = {
  '/x/public': (_req, res) => res.set('Cache-Control', 'public, max-age=3600').send('x'),
  '/x/private': (_req, res) => res.set('Cache-Control', 'private').send('x'),
  '/x/cookie': (_req, res) =>
    res.set({ 'Cache-Control': 'public, max-age=9', 'Set-Cookie': 'a=1' }).send('x'),
  '/x/vary': (_req, res) =>
    res.set({ 'Cache-Control': 'public, max-age=3600', Vary: 'Accept-Language' }).send('x'),
  '/x/modified': (_req, res) =>
    res.set({ 'Cache-Control': 'max-age=3600', 'Last-Modified': 'Sat, 01 Nov 2025 00:00:00 GMT' }).send('x'),
  '/ttl': (_req, res) => res.send('x'),
  '/if-error': (req, res) => res.status(req.headers['x-fail'] ? 500 : 200).send('x'),
};

const shapes: Record<
  string,
  { method?: WireRequest['method']; query?: string; headers?: Record<string, string>; body?: string }
> = {
  GET: {},
  HEAD: { method: 'HEAD' },
  POST: { method: 'POST' },
  'a body': { body: 'ab' },
  'a query': { query: '?page=1&other=2' },
  'a cookie': { headers: { cookie: 'lang=de; session=secret' } },
  Authorization: { headers: { authorization: 'Bearer secret' } },
  'a partition': { headers: { 'x-user': 'anna', cookie: 'session=secret' } },
  'the condition of its rule': { headers: { 'x-when': 'yes', 'x-tenant': 't1' } },
  'a range': { headers: { range: 'bytes=0-0' } },
  'If-Match': { headers: { 'if-match': '"a"' } },
  'If-None-Match': { headers: { 'if-none-match': '*' } },
  'another language': { headers: { 'accept-language': 'fr' } },
  'a failure': { headers: { 'x-fail': '1' } },
  'no-cache': { headers: { 'cache-control': 'no-cache' } },
  'no-store': { headers: { 'cache-control': 'no-store' } },
  'only-if-cached': { headers: { 'cache-control': 'only-if-cached' } },
  'max-stale': { headers: { 'cache-control': 'max-stale=9999' } },
  'an origin': { headers: { origin: 'https://shop.example' } },
};

const states: Record<string, (made: CacheApp, path: string) => Promise<unknown>> = {
  nothing: async (made) => made.cache.purge({ all: true }, { erase: true }),
  stored: async (made, path) => made.get(path, { 'x-user': 'anna', 'x-when': 'yes' }),
  expired: async (made) => made.cache.expire({ all: true }),
  purged: async (made, path) => {
    await made.get(path, { 'x-user': 'anna', 'x-when': 'yes' });
    await made.cache.purge({ all: true });
  },
};

/** `expect` costs more than the comparison, so it only reports failures. */
function expectEqual(actual: unknown, expected: unknown, what: string): void {
  if (!isDeepStrictEqual(actual, expected)) expect(actual, what).toEqual(expected);
}

let connection: Connection | undefined;
afterEach(() => connection?.close());

describe.each(majors)('explain() (%s)', (major, express) => {
  /** An app that keeps the explanation of each request, created just before the cache handles it. */
  async function explaining(options: object = {}) {
    const explained: { real: CacheExplanation; described: CacheExplanation }[] = [];
    let cache: ResponseCache | undefined;
    const made = await cacheApp({
      express,
      cache: { routes: rules, ...options },
      before: (app) =>
        app.use((req, _res, next) => {
          if (!(req as { hotpath?: object }).hotpath) {
            const { method, headers } = req;
            const url = `${req.protocol}://${headers.host}${req.originalUrl}`;
            explained.push({
              real: cache!.explain(req),
              described: cache!.explain({ method, url, headers }),
            });
          }
          next();
        }),
      routes: (app) => {
        for (const path of [...Object.keys(rules), ...Object.keys(handlers)]) {
          app.all(path, handlers[path] ?? handlers['/ttl']!);
        }
      },
    });
    cache = made.cache;
    return { made, explained };
  }

  const paths = [...new Set([...Object.keys(rules), ...Object.keys(handlers)])];
  describe.each([
    ['safe profile', {}, paths],
    [
      'profile rfc9111, directives honoured',
      { profile: 'rfc9111', requestDirectives: 'honor' },
      ['/ttl', '/while', '/if-error', '/x/public', '/x/vary', '/x/modified'],
    ],
  ])('%s', (_profile, options, routesOfProfile) => {
    it.each(routesOfProfile)(
      "predicts the cache's decision for %s, for any request and stored state",
      async (path) => {
        const { made, explained } = await explaining(options);
        connection = openConnection({ transport: 'http', port: made.port, ca: undefined, shown: undefined });
        const host = ['Host', `127.0.0.1:${made.port}`] as const;
        for (const [n, [state, prepare]] of Object.entries(states).entries()) {
          for (const [m, [shape, wanted]] of Object.entries(shapes).entries()) {
            const { method = 'GET', query = '', headers = {}, body } = wanted;
            // Express 4, where hotpath runs the same code, meets each two of path, shape and state.
            const takesTurn = shape === 'GET' || (n + m + paths.indexOf(path)) % 4 === 0;
            if (major !== 'Express 5' && !takesTurn) continue;
            if (state === 'purged' && !/^(?:GET|HEAD|a )/.test(shape)) continue;
            if (state !== 'expired') await states.nothing!(made, path);
            else await states.stored!(made, path);
            await prepare(made, path);
            const [answer] = (await connection.send([
              { method, target: path + query, headers: [host, ...Object.entries(headers)], body },
            ])) as [WireResponse];
            const { real, described } = explained.at(-1)!;
            const what = `${shape} with ${state}`;
            const said = answer.headers.get('x-cache')!;
            if (!real.possible.includes(said as never)) expect(real.possible, what).toContain(said);
            if (real.result) expectEqual(said, real.result, what);
            const actual = parametersOf(answer.headers.get('cache-status')!);
            if (said === 'HIT' || said === 'BYPASS') expectEqual(real.possible[0], said, what);
            if (real.possible[0] === said) {
              const { hit, fwd, ttl, detail } = real.status;
              expectEqual([hit, fwd], [actual.hit, actual.fwd], what);
              if (hit) expect(Math.abs(Number(actual.ttl) - ttl!), what).toBeLessThan(30);
              // The reason for refusing the response precedes the remembered reason.
              if (detail !== undefined && detail !== 'range') expectEqual(actual.detail, detail, what);
            }
            if (real.obstacles.some(({ final }) => final)) expectEqual(actual.stored, undefined, what);
            for (const key of ['result', 'possible', 'obstacles', 'pattern', 'key'] as const)
              expectEqual(described[key], real[key], `${what}: ${key} of a description`);
          }
        }
      },
    );
  });

  it('changes nothing: no counter, no use, no fill, and no handler runs', async () => {
    const made = await cacheApp({
      express,
      cache: { memory: { maxEntries: 10 }, routes: { '/:page': { ttl: '1h' } } },
      routes: (app, { count }) => app.get('/:page', (_req, res) => res.send(`run ${count()}`)),
    });
    await made.get('/explained');
    const before = made.cache.stats();
    for (let i = 0; i < 3; i++)
      expect(made.cache.explain({ url: `${made.url}/explained` }).result).toBe('HIT');
    expect(made.cache.explain({ url: `${made.url}/other` }).result).toBe('MISS');
    expect(made.cache.explain({ url: `${made.url}/explained` }).entry?.bytes).toBe(before.bytes);
    expect([made.cache.stats(), made.runs()]).toEqual([before, 1]);
    // If it counted as a use, the entry would survive a flood of others.
    for (let i = 0; i < 12; i++) await made.get(`/flood-${i}`);
    expect(made.cache.explain({ url: `${made.url}/explained` }).entry).toBeUndefined();
  });

  it('keeps bytes and state of a purged entry unchanged', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: '1h' } } },
      routes: (app) => app.get('/x', (_req, res) => res.send('x')),
    });
    await made.get('/x');
    await made.cache.purge({ url: '/x' });
    const before = made.cache.stats();
    const { entry, status } = made.cache.explain({ url: `${made.url}/x` });
    expect(entry).toMatchObject({ use: 'purged', ttl: undefined, freshUntil: undefined });
    expect(status).toMatchObject({ fwd: 'miss' });
    expect(made.cache.stats()).toEqual(before);
  });

  it('returns all properties that decide on the use of an entry', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/p/:id': { ttl: '1h', tags: ({ params }) => [`p:${params.id}`] } } },
      routes: (app) =>
        app.get('/p/:id', (_req, res) =>
          res
            .set({ ETag: '"v1"', 'Last-Modified': 'Sat, 01 Nov 2025 00:00:00 GMT', Vary: 'X-Key' })
            .send('body'),
        ),
    });
    await made.get('/p/1', { 'X-Key': 'k' });
    const ask = (headers: Record<string, string>) =>
      made.cache.explain({ url: '/p/1', headers: { host: new URL(made.url).host, ...headers } });
    const { entry, variants, key, pattern } = ask({ 'X-Key': 'k' });
    expect(entry).toMatchObject({
      use: 'fresh',
      expired: false,
      status: 200,
      age: 0,
      tags: ['p:1'],
      vary: ['x-key'],
      variant: { 'x-key': 'k' },
      bodyBytes: 4,
      encodings: {},
      etag: '"v1"',
      lastModified: 'Sat, 01 Nov 2025 00:00:00 GMT',
      template: '/p/:id',
    });
    expect(entry!.freshUntil!.getTime() - entry!.storedAt.getTime()).toBeCloseTo(3_600_000, -1);
    expect(variants).toEqual({ names: ['x-key'], count: 1 });
    expect([key?.url, pattern]).toEqual([`${made.url}/p/1`, '/p/:id']);
    expect(ask({ 'X-Key': 'other' })).toMatchObject({
      entry: undefined,
      variants: { count: 1 },
      status: { fwd: 'vary-miss' },
    });
    expect(ask({ 'X-Key': 'k', Cookie: 'a=1' })).toMatchObject({
      entry: { use: 'credential' },
      possible: ['BYPASS', 'MISS'],
      obstacles: [{ reason: 'cookie', final: false }],
    });
    await made.cache.expire({ tag: 'p:1' });
    expect(ask({ 'X-Key': 'k' }).entry).toMatchObject({ use: 'validate', expired: true });
  });

  it('returns the encoded forms that exist', async () => {
    const perf = hotpath({ timing: false, metrics: false, routes: { '/x': { cache: { ttl: '1h' } } } });
    const app = express();
    app.use(perf);
    app.get('/x', (_req, res) => {
      res.type('text').send('text '.repeat(1000));
    });
    const { url, close } = await listen(app);
    try {
      const get = async () => (await fetch(`${url}/x`, { headers: { 'accept-encoding': 'br' } })).text();
      await get();
      await waitFor(async () => {
        await get();
        return perf.cache.explain({ url: `${url}/x` }).entry?.encodings.br;
      });
      const { entry } = perf.cache.explain({ url: `${url}/x` });
      expect(entry!.encodings.br).toBeLessThan(entry!.bodyBytes);
    } finally {
      await close();
      await perf.close();
    }
  });

  it('returns no credential and no partition', async () => {
    const made = await cacheApp({
      express,
      cache: {
        routes: {
          '/x': { ttl: '1h', partition: ({ req }) => req.headers['x-user'] as string },
          '/y': { ttl: '1h', vary: { headers: ['authorization'], cookies: ['lang'] } },
        },
      },
      routes: (app) => app.get('/:page', (_req, res) => res.set('Vary', 'Authorization, Cookie').send('x')),
    });
    const headers = { 'x-user': 'CANARY1', authorization: 'CANARY2', cookie: 'lang=CANARY3' };
    for (const path of ['/x', '/y']) {
      await made.get(path, headers);
      const explained = made.cache.explain({ url: made.url + path, headers });
      expect(explained.entry, path).toBeDefined();
      expect(JSON.stringify(explained), path).not.toContain('CANARY');
    }
    expect(made.cache.explain({ url: `${made.url}/x`, headers }).key?.partitioned).toBe(true);
    expect(made.cache.explain({ url: `${made.url}/y`, headers }).key).toMatchObject({
      headers: ['authorization'],
      cookies: ['lang'],
    });
  });

  it('returns the hit-for-miss reason for as long as the cache remembers it', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: '1h' } } },
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => (count() === 1 ? res.cookie('a', '1').send('x') : res.send('x'))),
    });
    const ask = () => made.cache.explain({ url: `${made.url}/x` });
    expect(ask().hitForMiss).toBeUndefined();
    await made.get('/x');
    expect(ask()).toMatchObject({ hitForMiss: 'set-cookie', status: { fwd: 'uri-miss' }, result: 'MISS' });
    await made.get('/x');
    expect(ask()).toMatchObject({ hitForMiss: undefined, result: 'HIT' });
  });

  it('reports that a request would wait for a fill in flight', async () => {
    let release = () => {};
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: '1h' } } },
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => {
          count();
          release = () => res.send('x');
        }),
    });
    const first = made.get('/x');
    await waitFor(() => made.runs() === 1);
    expect(made.cache.explain({ url: `${made.url}/x` })).toMatchObject({
      filling: true,
      result: undefined,
      possible: ['HIT', 'MISS'],
      status: { fwd: 'uri-miss', collapsed: true },
    });
    release();
    await first;
    expect(made.cache.explain({ url: `${made.url}/x` })).toMatchObject({ filling: false, result: 'HIT' });
  });

  it('reports a rule function that throws, and returns the decision of the flow', async () => {
    const { made } = await explaining();
    expect(made.cache.explain({ url: `${made.url}/throws` })).toMatchObject({
      result: 'BYPASS',
      status: { fwd: 'bypass', detail: 'when' },
      cacheStatus: 'hotpath; fwd=bypass; detail=when',
      pattern: '/throws',
      key: undefined,
      obstacles: [{ reason: 'when', final: true }],
    });
    expect(made.faults.map(({ where }) => where)).toEqual(['when of routes["/throws"].cache']);
  });

  it('explains a cache.route() middleware with the state of the middlewares before it', async () => {
    let explained: CacheExplanation | undefined;
    const made = await cacheApp({
      express,
      routes: (app, { cache, count }) => {
        const cached = cache.route({ ttl: '1h', partition: ({ req }) => (req as { user?: string }).user });
        app.get(
          '/me/:page',
          (req, _res, next) => {
            (req as { user?: string | undefined }).user = req.get('x-user');
            explained = cached.explain(req);
            next();
          },
          cached,
          (_req: Request, res: Response) => res.send(`run ${count()}`),
        );
      },
    });
    for (const [user, expected] of [
      ['anna', 'MISS'],
      ['anna', 'HIT'],
      ['bert', 'MISS'],
    ] as const) {
      const { xCache } = await made.get('/me/a', { 'x-user': user });
      expect([xCache, explained?.result]).toEqual([expected, expected]);
    }
    expect((await made.get('/me/a')).xCache).toBe('BYPASS');
    expect(explained).toMatchObject({ result: 'BYPASS', status: { detail: 'no-partition' } });
    // Its entries are only served there.
    expect(
      made.cache.explain({ url: `${made.url}/me/a`, headers: { 'x-user': 'anna' } }).entry,
    ).toBeUndefined();
  });

  it("describes the next similar request when called in the request's own handler", async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/sub/why': { ttl: '1h', vary: { query: ['page'] } } } },
      routes: (app, { cache }) => {
        const router = express.Router();
        router.get('/why', (req, res) => res.json(cache.explain(req)));
        app.use('/sub', router);
      },
    });
    const answer = await made.get('/sub/why?page=1&x=2', { 'if-none-match': '*' });
    expect(JSON.parse((await made.get('/sub/why?page=1')).text)).toMatchObject({
      filling: true,
      key: { url: `${made.url}/sub/why?page=1` },
    });
    expect(answer.status).toBe(304);
  });

  it('returns no decision for a cache that is off, closed or does not apply', async () => {
    const perf = hotpath({ cache: false, timing: false, metrics: false });
    expect(perf.cache.explain({ url: '/x' })).toMatchObject({ possible: [], cacheStatus: undefined });
    const { made } = await explaining();
    expect(made.cache.explain({ url: '/ttl', headers: { Upgrade: 'websocket' } })).toMatchObject({
      possible: [],
      obstacles: [{ reason: 'upgrade', final: true }],
    });
    await made.cache.close();
    expect(made.cache.explain({ url: '/ttl' })).toMatchObject({
      obstacles: [{ reason: 'off', final: true }],
    });
  });

  it.each([
    ['http://Shop.example:80/a/../b?c#d', 'http://shop.example/a/../b?c'],
    ['https://shop.example', 'https://shop.example/'],
    ['HTTPS://shop.example:8443?a=1', 'https://shop.example:8443/?a=1'],
    ['/a?b', 'http://from.header/a?b'],
  ])('reads a description of %s as a request for %s', async (url, expected) => {
    const { made } = await explaining();
    expect(made.cache.explain({ url, headers: { Host: 'from.header' } }).key?.url).toBe(expected);
  });

  it.each([undefined, null, {}, '/x', { url: 'x' }, { url: 'ftp://x/' }, { url: 'http://' }, { url: 1 }])(
    'rejects %j with an error that describes a valid request',
    async (given) => {
      const { made } = await explaining();
      expect(() => made.cache.explain(given as never)).toThrow(
        expect.objectContaining({
          code: 'HOTPATH_REQUEST_INVALID',
          message: expect.stringContaining('{ method?, url, headers? }'),
        }),
      );
    },
  );
});
