import type { NextFunction, Request, Response } from 'express';
import session from 'express-session';
import { type CacheRule, responseCache, type StandaloneCacheOptions } from 'hotpath/cache';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { stopClock } from '../../helpers/clock.js';
import { majors, waitFor } from '../../helpers/http.js';

afterEach(() => vi.restoreAllMocks());

type Handler = (run: number, req: Request, res: Response) => unknown;

const settled = (made: CacheApp) =>
  waitFor(() => {
    const { refreshing, pending } = made.cache.stats();
    return refreshing.running + refreshing.waiting + pending === 0;
  });

/** A page that shows what the handler sees of cookies. */
const page: Handler = (run, req, res) => res.send(`run ${run} for ${req.headers.cookie ?? 'nobody'}`);

describe.each(majors)("cookies: 'ignore' (%s)", (_name, express) => {
  const make = (
    handler: Handler = page,
    given: {
      rule?: CacheRule;
      cache?: StandaloneCacheOptions;
      gate?: (req: Request, res: Response, next: NextFunction) => void;
    } = {},
  ) =>
    cacheApp({
      express,
      cache: { routes: { '/:id': { ttl: 600, cookies: 'ignore', ...given.rule } }, ...given.cache },
      routes: (app, { count }) => {
        if (given.gate) app.use(given.gate);
        app.get('/:id', (req, res) => handler(count(), req, res));
      },
    });

  it('serves a request with a cookie from an entry that a request without cookies filled', async () => {
    const made = await make();
    await made.get('/x');
    expect(await made.get('/x', { cookie: 'sid=ann' })).toMatchObject({
      xCache: 'HIT',
      text: 'run 1 for nobody',
    });
    expect(made.runs()).toBe(1);
  });

  it('answers a miss as itself and fills the entry without the cookie', async () => {
    const made = await make();
    const own = await made.get('/x', { cookie: 'sid=ann' });
    expect(own).toMatchObject({
      xCache: 'MISS',
      cacheStatus: 'hotpath; fwd=uri-miss; detail=anonymous-fill',
    });
    expect(own.text).toContain('for sid=ann');
    await settled(made);
    for (const cookie of ['sid=ann', 'sid=bob']) {
      const hit = await made.get('/x', { cookie });
      expect([hit.xCache, hit.text.replace(/\d/, 'n')]).toEqual(['HIT', 'run n for nobody']);
    }
    expect(made.runs()).toBe(2);
    expect(made.cache.stats()).toMatchObject({ hits: 2, misses: 1, stores: 1, bypasses: {} });
  });

  it('runs one background fill for many requests at once; those that come later wait for it', async () => {
    const made = await make();
    const all = await Promise.all(
      Array.from({ length: 30 }, (_, at) => made.get('/x', { cookie: `sid=${at}` })),
    );
    await settled(made);
    expect(made.cache.stats().refreshes).toBe(1);
    for (const [at, { text, xCache }] of all.entries()) {
      expect(text).toMatch(xCache === 'HIT' ? /for nobody$/ : new RegExp(`for sid=${at}$`));
    }
    expect(made.runs()).toBe(2);
  });

  it('refreshes a stale entry without the cookie', async () => {
    const clock = stopClock();
    const made = await make(page, { rule: { ttl: 10, staleWhileRevalidate: 600 } });
    await made.get('/x');
    clock.pass(11_000);
    expect(await made.get('/x', { cookie: 'sid=ann' })).toMatchObject({ xCache: 'STALE' });
    await settled(made);
    expect(await made.get('/x', { cookie: 'sid=ann' })).toMatchObject({
      xCache: 'HIT',
      text: 'run 2 for nobody',
    });
  });

  it('replaces an expired entry in the background', async () => {
    const made = await make();
    await made.get('/x');
    await made.cache.expire({ all: true });
    expect((await made.get('/x', { cookie: 'a=b' })).text).toMatch(/for a=b$/);
    await settled(made);
    expect((await made.get('/x', { cookie: 'a=b' })).text).toMatch(/run [23] for nobody$/);
  });

  it.each<[string, (res: Response) => unknown, string]>([
    ['Set-Cookie', (res) => res.cookie('sid', '1').send('mine'), 'set-cookie'],
    ['Vary: Cookie', (res) => res.vary('Cookie').send('mine'), 'vary-cookie'],
    ['private', (res) => res.set('Cache-Control', 'private').send('mine'), 'private'],
    ['a 404', (res) => res.status(404).send('none'), 'status'],
  ])('stores nothing of %s and does not ask again for each request', async (_what, answer, detail) => {
    const made = await make((_run, _req, res) => answer(res));
    const first = await made.get('/x', { cookie: 'sid=ann' });
    expect(first.cacheStatus).toBe(`hotpath; fwd=uri-miss; detail=${detail}`);
    await settled(made);
    for (let i = 0; i < 5; i++) {
      expect(await made.get('/x', { cookie: `sid=${i}` })).toMatchObject({ xCache: 'MISS' });
      await settled(made);
    }
    expect(made.runs()).toBe(7);
    expect(made.cache.stats()).toMatchObject({ stores: 0, refreshes: 1 });
  });

  it.each<[string, (res: Response) => unknown, string]>([
    ['Set-Cookie', (res) => res.cookie('sid', '1').send('mine'), 'set-cookie'],
    ['Vary: Cookie', (res) => res.vary('Cookie').send('mine'), 'vary-cookie'],
  ])("refuses %s with profile: 'rfc9111' too", async (_what, answer, detail) => {
    const made = await make((_run, _req, res) => answer(res), {
      cache: {
        profile: 'rfc9111',
        routes: {
          '/:id': { ttl: 600, cookies: 'ignore' },
        },
      },
    });
    expect((await made.get('/x')).cacheStatus).toContain(`detail=${detail}`);
    await made.get('/x', { cookie: 'sid=ann' });
    await settled(made);
    expect(made.cache.stats().stores).toBe(0);
  });

  it.each(['safe', 'rfc9111'] as const)(
    'never stores the response to a request with a cookie, even a public one (%s)',
    async (profile) => {
      const handler: Handler = (run, req, res) =>
        isInternal(req)
          ? res.status(503).send('no')
          : res.set('Cache-Control', 'public, max-age=60').send(`run ${run} for ${req.headers.cookie}`);
      const made = await make(handler, {
        cache: { profile, routes: { '/:id': { ttl: 600, cookies: 'ignore' } } },
      });
      await made.get('/x', { cookie: 'sid=ann' });
      await settled(made);
      await made.get('/x', { cookie: 'sid=bob' });
      await made.get('/x', { cookie: 'sid=bob' }, { method: 'HEAD' });
      await settled(made);
      expect(made.cache.stats().stores).toBe(0);
      expect((await made.get('/x')).text).toContain('for undefined');
    },
  );

  it('does not let a HEAD with a cookie revalidate or replace the entry', async () => {
    const clock = stopClock();
    const made = await make((run, req, res) =>
      res.set('ETag', req.headers.cookie ? '"own"' : '"all"').send(`run ${run}`),
    );
    await made.get('/x');
    clock.pass(601_000);
    await made.get('/x', { cookie: 'sid=ann' }, { method: 'HEAD' });
    expect(made.cache.explain({ url: `${made.url}/x`, headers: { accept: '*/*' } }).entry).toMatchObject({
      etag: '"all"',
      age: 601,
    });
  });

  it('hides nothing from the handler', async () => {
    const seen: unknown[] = [];
    const made = await make((_run, req, res) => {
      if (req.headers.cookie) seen.push([req.headers.cookie, req.headers['if-none-match']]);
      res.set('ETag', '"1"').send('x');
    });
    const { status } = await made.get('/x', { cookie: 'sid=ann', 'if-none-match': '"1"' });
    expect([seen, status]).toEqual([[['sid=ann', '"1"']], 304]);
  });

  it('keeps the session of a client that misses', async () => {
    const sessions = session({ secret: 's', resave: false, saveUninitialized: false });
    const made = await cacheApp({
      express,
      cache: { routes: { '/page': { ttl: 600, cookies: 'ignore' } } },
      routes: (app, { count }) => {
        app.use(sessions);
        app.get('/login', (req, res) => {
          (req.session as { user?: string }).user = 'ann';
          res.send('in');
        });
        app.get('/me', (req, res) => res.send((req.session as { user?: string }).user ?? 'nobody'));
        app.get('/page', (_req, res) => res.send(`run ${count()}`));
      },
    });
    const [cookie = ''] = (await made.get('/login')).setCookie;
    const mine = { cookie: cookie.split(';')[0]! };
    const missed = await made.get('/page', mine);
    expect([missed.xCache, missed.setCookie]).toEqual(['MISS', []]);
    await settled(made);
    expect(await made.get('/page', mine)).toMatchObject({ xCache: 'HIT', setCookie: [] });
    expect((await made.get('/me', mine)).text).toBe('ann');
  });

  it('marks a key whose background fill a gate refuses, and causes no storm of handlers', async () => {
    let refused = 0;
    const made = await make(page, {
      gate: (req, res, next) => {
        if (!isInternal(req)) return next();
        refused++;
        res.status(403).send('no');
      },
    });
    await made.get('/x', { cookie: 'sid=0' });
    await settled(made);
    for (let i = 1; i < 6; i++) {
      const { cacheStatus } = await made.get('/x', { cookie: `sid=${i}` });
      expect(cacheStatus).toBe('hotpath; fwd=uri-miss; detail=no-anonymous-fill');
    }
    await settled(made);
    expect([refused, made.runs()]).toEqual([1, 6]);
    expect(made.cache.stats()).toMatchObject({
      refreshResults: { refused: 1 },
      refreshRefusals: { '403': 1 },
    });
    expect(made.faults.map(({ error }) => String(error))).toEqual([
      expect.stringContaining("cookies: 'ignore'"),
    ]);
    // A client without cookies still fills for all.
    await made.get('/x');
    expect(await made.get('/x', { cookie: 'sid=7' })).toMatchObject({ xCache: 'HIT' });
  });

  it('fills in the background at once again when a purge came during the fill before', async () => {
    let purges = 2;
    const made: CacheApp = await make(async (run, req, res) => {
      if (isInternal(req) && purges-- > 0) await made.cache.purge({ all: true });
      page(run, req, res);
    });
    for (let at = 0; at < 3; at++) {
      const { cacheStatus } = await made.get('/x', { cookie: 'sid=ann' });
      expect(cacheStatus).toBe('hotpath; fwd=uri-miss; detail=anonymous-fill');
      await settled(made);
    }
    expect(await made.get('/x', { cookie: 'sid=ann' })).toMatchObject({ xCache: 'HIT' });
    expect(made.cache.stats().refreshResults).toMatchObject({ failed: 2, stored: 1 });
  });

  it('drops a cookie of refreshHeaders, so that the fill is anonymous', async () => {
    const made = await make(page, {
      cache: {
        refreshHeaders: { cookie: 'internal=1', 'x-internal': 'yes' },
        routes: { '/:id': { ttl: 600, cookies: 'ignore' } },
      },
    });
    await made.get('/x', { cookie: 'sid=ann' });
    await settled(made);
    expect((await made.get('/x', { cookie: 'sid=ann' })).text).toMatch(/for nobody$/);
  });

  it('fills the variant of the client that missed', async () => {
    const made = await make((_run, req, res) =>
      res.vary('Accept-Language').send(`${req.headers['accept-language']}`),
    );
    for (const language of ['fr', 'de']) {
      const headers = { cookie: 'sid=ann', 'accept-language': language };
      await made.get('/x', headers);
      await settled(made);
      expect(await made.get('/x', headers)).toMatchObject({ xCache: 'HIT', text: language });
    }
  });

  it('neither serves nor fills for a request with another credential', async () => {
    const made = await make();
    await made.get('/x');
    const { cacheStatus, text } = await made.get('/x', { cookie: 'sid=ann', authorization: 'Bearer 1' });
    expect(cacheStatus).toContain('detail=authorization');
    expect(text).toMatch(/for sid=ann$/);
    await settled(made);
    expect(made.cache.stats().refreshes).toBe(0);
  });

  it('counts a cookie that a middleware before the cache has removed', async () => {
    const made = await cacheApp({
      express,
      before: (app) =>
        app.use((req, res, next) => {
          res.locals.cookie = req.headers.cookie;
          delete req.headers.cookie;
          next();
        }),
      cache: { routes: { '/x': { ttl: 600, cookies: 'ignore' } } },
      routes: (app) => app.get('/x', (_req, res) => res.send(`for ${res.locals.cookie}`)),
    });
    await made.get('/x', { cookie: 'sid=ann' });
    await settled(made);
    expect((await made.get('/x')).text).toBe('for undefined');
  });

  it('stores nothing where a middleware after the cache adds a cookie', async () => {
    const made = await make(page, {
      gate: (req, _res, next) => {
        req.headers.cookie ??= 'added=1';
        next();
      },
    });
    await made.get('/x');
    await made.get('/x', { cookie: 'sid=ann' });
    await settled(made);
    expect(made.cache.stats().stores).toBe(0);
  });

  it('serves the entry instead of an error, and lets the error pass where nothing is stored', async () => {
    const clock = stopClock();
    const made = await make(
      (run, _req, res) => (run > 1 ? res.status(500).send('error') : res.send('good')),
      {
        rule: { ttl: 10, staleIfError: 600 },
      },
    );
    await made.get('/x');
    clock.pass(11_000);
    expect(await made.get('/x', { cookie: 'a=1' })).toMatchObject({ xCache: 'STALE', text: 'good' });
    expect(await made.get('/y', { cookie: 'a=1' })).toMatchObject({ status: 500, xCache: 'MISS' });
  });

  it('does not start a second fill while a slow one runs', async () => {
    const held: (() => void)[] = [];
    const made = await make(
      (run, req, res) => (isInternal(req) ? held.push(() => res.send('all')) : res.send(`run ${run}`)),
      { cache: { waitTimeout: '20ms' as never, routes: { '/:id': { ttl: 600, cookies: 'ignore' } } } },
    );
    for (let i = 0; i < 4; i++) await made.get('/x', { cookie: `sid=${i}` });
    await waitFor(() => held.length > 0);
    await made.get('/x', { cookie: 'sid=5' });
    expect(held.length).toBe(1);
    held[0]!();
    await settled(made);
    expect(await made.get('/x', { cookie: 'sid=1' })).toMatchObject({ xCache: 'HIT', text: 'all' });
  });

  it('is explained: what a request with a cookie gets, and what the fill came to', async () => {
    const made = await make((_run, req, res) =>
      isInternal(req) ? res.cookie('sid', '1').send('x') : res.send('x'),
    );
    const wanted = { url: `${made.url}/x`, headers: { cookie: 'sid=1', accept: '*/*' } };
    expect(made.cache.explain(wanted)).toMatchObject({
      result: 'MISS',
      cacheStatus: 'hotpath; fwd=uri-miss; detail=anonymous-fill',
    });
    await made.get('/x', { cookie: 'sid=1' });
    await settled(made);
    expect(made.cache.explain(wanted)).toMatchObject({
      cacheStatus: 'hotpath; fwd=uri-miss; detail=no-anonymous-fill',
      noBackgroundRefresh: 'set-cookie',
    });
    await made.get('/x');
    expect(made.cache.explain(wanted).result).toBe('HIT');
  });

  it('warns once that requests with cookies bypass a rule with shared: true', async () => {
    const warned: string[] = [];
    vi.spyOn(process, 'emitWarning').mockImplementation((text) => void warned.push(String(text)));
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 600, shared: true } } },
      routes: (app) => app.get('/x', (_req, res) => res.send('x')),
    });
    await made.get('/x');
    for (let i = 0; i < 3; i++) await made.get('/x', { cookie: 'sid=1' });
    expect(warned).toEqual([expect.stringContaining("cookies: 'ignore'")]);
  });
});

const isInternal = (req: unknown) => (req as { hotpath?: object }).hotpath !== undefined;

it.each<[CacheRule, RegExp]>([
  [{ ttl: 60, cookies: 'ignore', vary: { cookies: ['a'] } }, /cookies: conflicts with `vary.cookies`/],
  [{ ttl: 60, cookies: 'ignore', vary: { headers: ['Cookie'] } }, /cookies: conflicts with `vary.headers/],
  [{ ttl: 60, cookies: 'ignore', partition: () => 'a' }, /cookies: conflicts with `partition`/],
  [{ ttl: 60, cookies: 'none' as never }, /cookies: expected 'ignore'/],
])('rejects %j', (rule, message) => {
  expect(() => responseCache({ routes: { '/x': rule } })).toThrow(message);
});
