import type { Response } from 'express';
import { hotpath } from 'hotpath';
import type { CacheRule, StandaloneCacheOptions } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors } from '../../helpers/http.js';

describe.each(majors)('what counts for the hit ratio (%s)', (_name, express) => {
  const make = (cache: StandaloneCacheOptions = {}) =>
    cacheApp({
      express,
      cache: { routes: { '/cached': { ttl: 600 } }, ...cache },
      routes: (app) => {
        app.get('/cached', (_req, res) => res.send('x'));
        app.get('/asset/:name', (_req, res) => res.send('x'));
        app.use('/static', express.static(import.meta.dirname));
        app.get('/no-cache', (_req, res) => res.set('Cache-Control', 'public, no-cache').send('x'));
        app.get('/private', (_req, res) => res.set('Cache-Control', 'private').send('x'));
        app.get('/public', (_req, res) =>
          res.set('Cache-Control', 'public, max-age=60').cookie('a', '1').send('x'),
        );
      },
    });

  it('counts a request that neither a rule nor the response lets be cached as a pass', async () => {
    const made = await make();
    for (const path of ['/asset/1', '/asset/2', '/none', '/private', '/static/head.test.ts', '/no-cache']) {
      expect([path, (await made.get(path)).xCache]).toEqual([path, 'PASS']);
    }
    // The response declares itself cacheable, and something else kept it out: a miss.
    expect(await made.get('/public')).toMatchObject({
      xCache: 'MISS',
      cacheStatus: 'hotpath; fwd=uri-miss; detail=set-cookie',
    });
    await made.get('/cached');
    await made.get('/cached');
    const { hits, misses, passes, bypasses, routes } = made.cache.stats();
    expect({ hits, misses, passes, bypasses }).toEqual({ hits: 1, misses: 2, passes: 6, bypasses: {} });
    const none = { hits: 0, misses: 0, stale: 0, revalidated: 0, passes: 0, bypasses: 0 };
    expect(routes).toEqual({
      '/asset/:name': { ...none, passes: 2 },
      unmatched: { ...none, passes: 1 },
      '/private': { ...none, passes: 1 },
      '/static': { ...none, passes: 1 },
      '/no-cache': { ...none, passes: 1 },
      '/public': { ...none, misses: 1 },
      '/cached': { ...none, hits: 1, misses: 1 },
    });
  });

  it('keeps what a rule covers a miss, whatever the response says', async () => {
    const made = await make({ routes: { '/private': { ttl: 600 } } });
    expect((await made.get('/private')).xCache).toBe('MISS');
  });

  it('is explained: without a rule, the response decides', async () => {
    const made = await make();
    const { result, possible } = made.cache.explain({ url: `${made.url}/asset/1` });
    expect([result, possible]).toEqual([undefined, ['PASS', 'MISS']]);
  });
});

describe.each(majors)('metrics of the response cache (%s)', (_name, express) => {
  it('show results by route, evictions by reason, and the limits of the memory tier', async () => {
    const perf = hotpath({
      routes: { '/item/:id': { cache: { ttl: 600 } } },
      cache: { memory: { maxEntries: 2, maxBytes: '1 MB' } },
    });
    const app = express();
    app.use(perf);
    app.get('/item/:id', (_req, res) => void res.send('x'));
    const { listen } = await import('../../helpers/http.js');
    const { url, close } = await listen(app);
    for (const id of [1, 2, 3, 3]) await (await fetch(`${url}/item/${id}`)).text();
    const text = await perf.metrics.registry!.metrics();
    expect(text).toContain('hotpath_cache_route_requests_total{path="/item/:id",result="miss"} 3');
    expect(text).toContain('hotpath_cache_route_requests_total{path="/item/:id",result="hit"} 1');
    expect(text).toContain('hotpath_cache_requests_total{result="pass"} 0');
    expect(text).toContain('hotpath_cache_evictions_total{reason="entries"} 1');
    expect(text).toContain('hotpath_cache_memory_max_bytes 1048576');
    expect(text).toContain('hotpath_cache_memory_max_entries 2');
    await perf.close();
    await close();
  });
});

describe.each(majors)('what Cache-Status says of storing (%s)', (_name, express) => {
  const make = (rule: CacheRule, body: (res: Response) => unknown = (res) => res.send('x')) =>
    cacheApp({
      express,
      cache: { routes: { '/x': rule } },
      routes: (app) => app.get('/x', (_req, res) => body(res)),
    });
  const throwing = () => {
    throw new Error('no tags');
  };

  it.each<[string, CacheRule['tags']]>([
    ['throws', throwing],
    ['returns a string', () => 'products' as never],
    ['returns a promise', (async () => ['products']) as never],
  ])('is detail=rule where `tags` %s, in the counts and in explain()', async (_what, tags) => {
    const made = await make({ ttl: 600, tags });
    for (let i = 0; i < 3; i++) {
      expect((await made.get('/x')).cacheStatus).toBe('hotpath; fwd=uri-miss; detail=rule');
    }
    const { stores, misses, refusals } = made.cache.stats();
    expect({ stores, misses, refusals }).toEqual({ stores: 0, misses: 3, refusals: { rule: 3 } });
    const { obstacles } = made.cache.explain({ url: `${made.url}/x` });
    expect(obstacles.map(({ reason }) => reason)).toEqual(['rule']);
    expect(made.faults).toHaveLength(3);
  });

  it('counts what keeps a response out of the store after its head has gone', async () => {
    const made = await make(
      { ttl: 600, tags: ({ res }) => ((res as Response | undefined)?.locals.done ? throwing() : []) },
      (res) => {
        res.write('x');
        res.locals.done = true;
        res.end();
      },
    );
    expect((await made.get('/x')).cacheStatus).toContain('stored');
    expect(made.cache.stats()).toMatchObject({ stores: 0, refusals: { rule: 1 } });
  });

  it('is detail=too-large where a body that is sent in one piece is larger than `maxEntryBytes`', async () => {
    const made = await cacheApp({
      express,
      cache: { maxEntryBytes: 1000, routes: { '/x': { ttl: 600 } } },
      routes: (app) => app.get('/x', (_req, res) => void res.end('x'.repeat(2000))),
    });
    expect((await made.get('/x')).cacheStatus).toBe('hotpath; fwd=uri-miss; detail=too-large');
  });

  it('is detail=too-large where only key and headers make the entry larger than the memory tier', async () => {
    const made = await cacheApp({
      express,
      cache: { memory: { maxBytes: 3000 }, routes: { '/x': { ttl: 600 } } },
      routes: (app) =>
        app.get(
          '/x',
          (req, res) => void res.set('X-Long', 'h'.repeat(Number(req.query.h))).end('x'.repeat(1500)),
        ),
    });
    for (const path of ['/x?h=1500', `/x?h=1&${'k'.repeat(1500)}`]) {
      expect((await made.get(path)).cacheStatus).toBe('hotpath; fwd=uri-miss; detail=too-large');
    }
    expect((await made.get('/x?h=1')).cacheStatus).toContain('stored');
    expect(made.cache.stats()).toMatchObject({ stores: 1, entries: 1, refusals: { 'too-large': 2 } });
  });

  it('is detail=no-lifetime under a rule without `ttl` for a response that sets none', async () => {
    const made = await make({ shared: true });
    expect((await made.get('/x')).cacheStatus).toBe('hotpath; fwd=uri-miss; detail=no-lifetime');
    expect(made.cache.explain({ url: `${made.url}/x` }).obstacles).toEqual([
      { reason: 'no-lifetime', final: false },
    ]);
  });
});
