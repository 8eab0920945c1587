import { setTimeout as delay } from 'node:timers/promises';
import type { Express, NextFunction, Request, Response } from 'express';
import { rateLimit } from 'express-rate-limit';
import type { CacheRule, StandaloneCacheOptions } from 'hotpath/cache';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { stopClock } from '../../helpers/clock.js';
import { majors, waitFor } from '../../helpers/http.js';

afterEach(() => vi.restoreAllMocks());

const isRefresh = (req: unknown) => (req as { hotpath?: { internal?: boolean } }).hotpath?.internal === true;
const settled = (made: CacheApp) => waitFor(() => made.cache.stats().pending === 0);

type Handler = (run: number, req: Request, res: Response) => unknown;

describe.each(majors)('a refused background refresh (%s)', (_major, express) => {
  const appWith = (
    handler: Handler,
    given: {
      rule?: CacheRule;
      cache?: StandaloneCacheOptions;
      gate?: (req: Request, res: Response, next: NextFunction) => void;
      before?: (app: Express) => void;
    } = {},
  ) =>
    cacheApp({
      express,
      before: given.before,
      cache: { routes: { '/:id': given.rule ?? { ttl: 10, staleWhileRevalidate: 1000 } }, ...given.cache },
      routes: (app, { count }) => {
        if (given.gate) app.use(given.gate);
        app.get('/:id', (req, res, next) => {
          Promise.resolve(handler(count(), req, res)).catch(next);
        });
      },
    });

  describe.each([
    ['a 404', (res: Response) => res.status(404).send('gone'), 'ended', true],
    ['a 410', (res: Response) => res.status(410).send('gone'), 'ended', true],
    ['a 451', (res: Response) => res.status(451).send('gone'), 'ended', false],
    ['a redirect', (res: Response) => res.redirect('/login'), 'ended', true],
    ['a permanent redirect', (res: Response) => res.redirect(301, '/new'), 'ended', false],
    ['private', (res: Response) => res.set('Cache-Control', 'private').send('mine'), 'ended', true],
    ['no-store', (res: Response) => res.set('Cache-Control', 'no-store').send('mine'), 'ended', true],
    ['a cookie', (res: Response) => res.cookie('sid', '1').send('mine'), 'ended', false],
    ['Vary: *', (res: Response) => res.vary('*').send('mine'), 'ended', true],
    [
      'a 304 with no-store',
      (res: Response) => res.status(304).set('Cache-Control', 'no-store').end(),
      'ended',
      true,
    ],
    [
      'a 304 with private',
      (res: Response) => res.status(304).set('Cache-Control', 'private').end(),
      'ended',
      true,
    ],
    ['a 304 with Vary: *', (res: Response) => res.status(304).set('Vary', '*').end(), 'ended', true],
    ['a body beyond maxEntryBytes', (res: Response) => res.send('x'.repeat(3000)), 'ended', false],
    ['a 401', (res: Response) => res.status(401).send('who?'), 'refused', false],
    ['a 403', (res: Response) => res.status(403).send('no'), 'refused', false],
    ['a 407', (res: Response) => res.status(407).send('no'), 'refused', false],
    ['a 429', (res: Response) => res.status(429).send('later'), 'refused', false],
    ['a 421', (res: Response) => res.status(421).send('elsewhere'), 'refused', false],
  ] as const)('%s', (_what, answer, result, drops) => {
    it("ends stale serving, and the next client's own request leads [H11]", async () => {
      const clock = stopClock();
      const made = await appWith(
        (run, _req, res) => (run === 1 ? res.set('ETag', '"1"').send('run 1') : answer(res)),
        { cache: { maxEntryBytes: 2000, routes: { '/:id': { ttl: 10, staleWhileRevalidate: 1000 } } } },
      );
      await made.get('/x');
      clock.pass(11_000);
      expect(await made.get('/x')).toMatchObject({ text: 'run 1', xCache: 'STALE' });
      await settled(made);
      expect(made.cache.stats().refreshResults).toMatchObject({ [result]: 1, failed: 0 });
      const { noBackgroundRefresh, hitForMiss, entry } = made.cache.explain({
        url: `${made.url}/x`,
        headers: { accept: '*/*' },
      });
      expect([typeof noBackgroundRefresh, hitForMiss, entry?.etag]).toEqual(['string', undefined, '"1"']);
      const own = await made.get('/x');
      expect(own.xCache).not.toBe('STALE');
      expect(made.runs()).toBe(3);
      expect(
        made.cache.explain({ url: `${made.url}/x`, headers: { accept: '*/*' } }).entry === undefined,
      ).toBe(drops);
    });

    it("lets the same client's own request follow at once within stale-if-error [H11]", async () => {
      const clock = stopClock();
      const made = await appWith((run, req, res) => (isRefresh(req) ? answer(res) : res.send(`run ${run}`)), {
        cache: { maxEntryBytes: 2000, routes: { '/:id': { ttl: 10, staleIfError: 1000 } } },
      });
      await made.get('/x');
      clock.pass(11_000);
      const all = await Promise.all(Array.from({ length: 20 }, () => made.get('/x')));
      expect(new Set(all.map(({ text }) => text))).toEqual(new Set(['run 3']));
      // The next time, no refresh is tried.
      clock.pass(11_000);
      expect((await made.get('/x')).text).toBe('run 4');
    });
  });

  it.each([204, 205, 206])('with a %i stores nothing in place of the response [A13]', async (status) => {
    const made = await appWith((run, req, res) =>
      isRefresh(req)
        ? res.status(status).set('Cache-Control', 'public, max-age=99').end()
        : res.end(`run ${run}`),
    );
    await made.get('/x');
    await made.cache.expire({ all: true });
    await made.get('/x');
    await settled(made);
    expect(made.cache.stats().refreshResults).toMatchObject({ stored: 0, ended: 1 });
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'run 3', xCache: 'MISS' });
  });

  it.each<[string, (res: Response) => unknown]>([
    ['a 500', (res) => res.status(500).send('error')],
    ['an aborted response', (res) => res.destroy()],
    [
      'a 404 whose body breaks off',
      (res) => res.status(404).write('go') && setImmediate(() => res.destroy()),
    ],
    [
      'a 404 that is shorter than it declares',
      (res) => res.status(404).set('Content-Length', '9').end('gone'),
    ],
    [
      'no-store in half a body',
      (res) => {
        res.set('Cache-Control', 'no-store').write('half');
        setImmediate(() => res.destroy());
      },
    ],
  ])('does not follow from %s: stale serving continues [H10, H11]', async (_what, fail) => {
    const clock = stopClock();
    const made = await appWith((run, _req, res) => (run === 2 ? fail(res) : res.send(`run ${run}`)));
    await made.get('/x');
    clock.pass(11_000);
    await made.get('/x');
    await settled(made);
    expect(made.cache.stats().refreshResults).toMatchObject({ failed: 1, ended: 0, refused: 0 });
    // For a second no other refresh is tried; then one is.
    const paused = await made.get('/x');
    expect(paused.text).toBe('run 1');
    expect(paused.cacheStatus).toMatch(/^hotpath; hit; ttl=-[12]; detail=refresh-backoff$/);
    expect(made.runs()).toBe(2);
    clock.pass(1001);
    expect((await made.get('/x')).text).toBe('run 1');
    await settled(made);
    expect((await made.get('/x')).text).toBe('run 3');
  });

  it('makes clients wait for a hung handler occasionally, not one after the other [H10]', async () => {
    const made = await appWith((run, _req, res) => (run === 1 ? res.send('run 1') : undefined), {
      rule: { ttl: '1h', staleIfError: '1h', timeout: 0.3 },
    });
    await made.get('/x');
    await made.cache.expire({ all: true });
    await made.get('/x');
    for (let i = 0; i < 10; i++) expect((await made.get('/x')).xCache).toBe('STALE');
    // Each client that waited would have run it.
    expect(made.runs()).toBeLessThanOrEqual(4);
  });

  it('doubles its pause from 2 to 60 minutes, whatever clients store in between [H11]', async () => {
    const clock = stopClock();
    let refusals = 0;
    const made = await appWith((run, _req, res) => res.send(`run ${run}`), {
      gate: (req, res, next) => {
        if (!isRefresh(req)) return next();
        refusals++;
        res.status(403).end();
      },
    });
    await made.get('/x');
    for (const [at, minutes] of [2, 4, 8, 16, 32, 60, 60].entries()) {
      clock.pass(11_000);
      expect((await made.get('/x')).xCache).toBe('STALE');
      await settled(made);
      expect(refusals).toBe(at + 1);
      // Replaced, fresh, stale again: within the pause nothing is served stale.
      for (let i = 0; i < 3; i++) {
        expect((await made.get('/x')).xCache).toBe('MISS');
        expect((await made.get('/x')).xCache).toBe('HIT');
        clock.pass(11_000);
      }
      expect((await made.get('/x')).xCache).toBe('MISS');
      clock.pass(minutes * 60_000 - 34_000);
      expect((await made.get('/x')).xCache).toBe('MISS');
      clock.pass(2000);
      expect(refusals).toBe(at + 1);
    }
  });

  it('never serves the ended response again, even after its pause [H11]', async () => {
    const clock = stopClock();
    const made = await appWith(
      (run, _req, res) => (run === 1 ? res.send('run 1') : res.status(404).send('gone')),
      { rule: { ttl: 10, staleWhileRevalidate: '365d' } },
    );
    await made.get('/x');
    clock.pass(11_000);
    await made.get('/x');
    await settled(made);
    clock.pass(30 * 86_400_000);
    expect(await made.get('/x')).toMatchObject({ status: 404 });
  });

  it('follows Retry-After of a 429 and of a 503, for an hour at most [H11]', async () => {
    for (const [status, seconds] of [
      [429, 1800],
      [503, 1800],
      [503, 100_000],
    ] as const) {
      const clock = stopClock();
      let refreshes = 0;
      const made = await appWith((run, _req, res) => res.send(`run ${run}`), {
        rule: { ttl: 10, staleWhileRevalidate: '1d' },
        gate: (req, res, next) => {
          if (!isRefresh(req)) return next();
          refreshes++;
          res.status(status).set('Retry-After', String(seconds)).end();
        },
      });
      await made.get('/x');
      clock.pass(11_000);
      await made.get('/x');
      await settled(made);
      clock.pass(Math.min(seconds, 3600) * 1000 - 1000);
      await made.get('/x');
      await settled(made);
      expect(refreshes, `${status}`).toBe(1);
      clock.pass(12_000);
      await made.get('/x');
      await settled(made);
      expect(refreshes, `${status}`).toBe(2);
      vi.restoreAllMocks();
    }
  });

  it.each([401, 403, 429])(
    'keeps stale serving on a %i with `refreshRefused: stale` [H11]',
    async (status) => {
      const clock = stopClock();
      const made = await appWith((run, _req, res) => res.send(`run ${run}`), {
        cache: { refreshRefused: 'stale', routes: { '/:id': { ttl: 10, staleIfError: 100 } } },
        gate: (req, res, next) => (isRefresh(req) ? void res.status(status).end() : next()),
      });
      await made.get('/x');
      for (let i = 0; i < 5; i++) {
        clock.pass(11_000);
        expect(await made.get('/x')).toMatchObject({ text: 'run 1', xCache: 'STALE' });
      }
    },
  );

  it.each([400, 401, 403, 406, 412, 413, 414, 415, 416, 417, 429, 431])(
    "leaves the entry to other clients when one client's own request gets a %i [A11, B21]",
    async (status) => {
      const clock = stopClock();
      let mayAnswer = () => true;
      const made = await appWith((run, _req, res) => res.send(`run ${run}`), {
        gate: async (req, res, next) => {
          if (isRefresh(req)) return void res.status(403).end();
          if (!req.headers['x-bad']) return next();
          await waitFor(() => mayAnswer());
          res.status(status).send('bad');
        },
      });
      await made.get('/x');
      clock.pass(11_000);
      await made.get('/x');
      await settled(made);
      const before = made.requests();
      mayAnswer = () => made.requests() === before + 10;
      const bad = made.get('/x', { 'x-bad': '1' });
      await waitFor(() => made.requests() === before + 1);
      const others = await Promise.all(Array.from({ length: 9 }, () => made.get('/x')));
      expect((await bad).text).toBe('bad');
      expect(others.map(({ text }) => text)).toEqual(Array(9).fill('run 2'));
      const { hitForMiss, entry } = made.cache.explain({
        url: `${made.url}/x`,
        headers: { accept: '*/*' },
      });
      expect([hitForMiss, entry?.use]).toEqual([undefined, 'fresh']);
    },
  );

  it("does not make the clients of a limiter wait for each other's rejections [H03, H11]", async () => {
    const clock = stopClock();
    let now = 0;
    let most = 0;
    let rejected = 0;
    let haveArrived = () => true;
    const made = await appWith((run, _req, res) => res.send(`run ${run}`), {
      // Nobody stops waiting for another reason than the one that is tested.
      cache: { waitTimeout: '1h', routes: { '/:id': { ttl: 10, staleWhileRevalidate: 1000 } } },
      gate: (req, res, next) => {
        if (!isRefresh(req) && !req.headers['x-bad']) return next();
        most = Math.max(most, ++now);
        const reject = async () => {
          await waitFor(() => haveArrived());
          // The second rejection takes longer than others wait behind rejections. Then all of them come at once.
          if (req.headers['x-bad'] && ++rejected === 2) clock.pass(1000);
          if (rejected > 2) await waitFor(() => most > 40);
          now--;
          res.status(429).end();
        };
        reject().catch(next);
      },
    });
    await made.get('/x');
    await made.cache.expire({ all: true });
    await made.get('/x');
    await settled(made);
    const before = made.requests();
    haveArrived = () => made.requests() === before + 50;
    const all = await Promise.all(Array.from({ length: 50 }, () => made.get('/x', { 'x-bad': '1' })));
    expect(new Set(all.map(({ status }) => status))).toEqual(new Set([429]));
    expect(most).toBeGreaterThan(40);
  });

  it('keeps a fresh response when the refresh was eager [H11]', async () => {
    const made = await appWith(
      (run, _req, res) => (run === 1 ? res.set('Age', '60').send('run 1') : res.status(404).send('gone')),
      { rule: { ttl: 100, eagerRefresh: 0.5, staleWhileRevalidate: 1000 } },
    );
    await made.get('/x');
    await made.get('/x');
    await waitFor(() => made.runs() === 2 && made.cache.stats().pending === 0);
    for (let i = 0; i < 5; i++) expect((await made.get('/x')).xCache).toBe('HIT');
    expect(made.runs()).toBe(2);
    await made.cache.expire({ all: true });
    expect((await made.get('/x')).status).toBe(404);
  });

  it('allows the stale response for a 5xx, and its revalidation with the handler [H11]', async () => {
    const made = await appWith(
      (_run, req, res) => {
        if (req.headers['x-fail']) res.status(503).send('down');
        else if (req.headers['if-none-match'] === '"1"') res.status(304).end();
        else res.set('ETag', '"1"').send('whole');
      },
      { gate: (req, res, next) => (isRefresh(req) ? void res.status(403).end() : next()) },
    );
    await made.get('/x');
    await made.cache.expire({ all: true });
    await made.get('/x');
    await settled(made);
    expect(await made.get('/x', { 'x-fail': '1' })).toMatchObject({
      status: 200,
      text: 'whole',
      xCache: 'STALE',
    });
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'whole', xCache: 'REVALIDATED' });
  });

  it('serves the stale response to all clients that wait for one failing handler [H11]', async () => {
    let isFailing = false;
    let now = 0;
    let most = 0;
    const made = await appWith(
      async (run, _req, res) => {
        most = Math.max(most, ++now);
        await delay(20);
        now--;
        if (isFailing) res.status(500).send('error');
        else res.send(`run ${run}`);
      },
      { gate: (req, res, next) => (isRefresh(req) ? void res.status(403).end() : next()) },
    );
    await made.get('/x');
    await made.cache.expire({ all: true });
    await made.get('/x');
    await settled(made);
    isFailing = true;
    const all = await Promise.all(Array.from({ length: 50 }, () => made.get('/x')));
    expect(new Set(all.map(({ text, xCache }) => `${text} ${xCache}`))).toEqual(new Set(['run 1 STALE']));
    expect(most).toBe(1);
  });

  it('prevents parallel handler runs when a client of a login page leads [H03, H11]', async () => {
    let now = 0;
    let most = 0;
    const made = await appWith(
      async (run, _req, res) => {
        most = Math.max(most, ++now);
        await delay(20);
        now--;
        res.send(`run ${run}`);
      },
      {
        cache: {
          routes: { '/:id': { ttl: 10, staleWhileRevalidate: 1000, vary: { cookies: [] } } },
        },
        gate: (req, res, next) => (req.headers.cookie ? next() : void res.redirect('/login')),
      },
    );
    const known = { cookie: 'sid=1' };
    await made.get('/x', known);
    await made.cache.expire({ all: true });
    await made.get('/x', known);
    await settled(made);
    // A client without a session comes first, and leads.
    const all = await Promise.all(
      Array.from({ length: 50 }, (_none, i) => made.get('/x', i === 0 ? {} : known)),
    );
    const texts = all.map(({ status, text }) => (status === 302 ? 'login' : text));
    expect(new Set(texts.slice(1))).toEqual(new Set(['run 2']));
    expect(['login', 'run 2']).toContain(texts[0]);
    expect(most).toBe(1);
  });

  it.each([302, 401, 429])(
    'lets one handler run at a time, though a gate refuses many clients with %i [H03, H11]',
    async (status) => {
      const clock = stopClock();
      let now = 0;
      let most = 0;
      let haveCome = () => true;
      const made = await appWith(
        async (run, _req, res) => {
          most = Math.max(most, ++now);
          await new Promise((resolve) => setTimeout(resolve, 20));
          now--;
          res.send(`run ${run}`);
        },
        {
          gate: async (req, res, next) => {
            await new Promise((resolve) => setTimeout(resolve, 2));
            await waitFor(() => haveCome());
            if (!isRefresh(req) && !req.headers['x-bad']) next();
            else if (status === 302) res.redirect('/login');
            else res.status(status).end();
          },
        },
      );
      await made.get('/x');
      clock.pass(11_000);
      await made.get('/x');
      await settled(made);
      for (let round = 2; round < 4; round++) {
        clock.pass(11_000);
        const before = made.requests();
        haveCome = () => made.requests() === before + 40;
        const all = await Promise.all(
          Array.from({ length: 40 }, (_none, i) => made.get('/x', i < 10 ? { 'x-bad': '1' } : {})),
        );
        expect(new Set(all.slice(10).map(({ text }) => text))).toEqual(new Set([`run ${round}`]));
        expect(most).toBe(1);
        haveCome = () => true;
      }
    },
  );

  it('keeps collapsing clients, though one with credentials gets its own response [B21, H03]', async () => {
    const clock = stopClock();
    let now = 0;
    let most = 0;
    const made = await appWith(async (run, req, res) => {
      if (isRefresh(req)) return res.status(403).end();
      if (req.headers.authorization) {
        await waitFor(() => made.requests() >= 42);
        return res.set('Cache-Control', 'private').send('alice');
      }
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 20));
      now--;
      return res.set('Cache-Control', 'public, max-age=10').send(`run ${run}`);
    });
    await made.get('/x');
    clock.pass(11_000);
    await made.get('/x');
    await settled(made);
    clock.pass(11_000);
    const own = made.get('/x', { authorization: 'Bearer alice' });
    await waitFor(() => made.requests() === 3);
    const all = await Promise.all(Array.from({ length: 40 }, () => made.get('/x')));
    expect((await own).text).toBe('alice');
    expect(new Set(all.map(({ text }) => text)).size).toBe(1);
    expect(all[0]!.text).toMatch(/^run/);
    expect(most).toBe(1);
  });

  it.each([403, 200])(
    'is noticed by a page longer than an entry, before the cache (%i) [H11]',
    async (status) => {
      const made = await appWith((run, _req, res) => res.send(`run ${run}`), {
        cache: { maxEntryBytes: 1000, routes: { '/:id': { ttl: 10, staleWhileRevalidate: 1000 } } },
        before: (app) =>
          void app.use((req, res, next) => {
            if (isRefresh(req)) res.status(status).send('prove that you are human '.repeat(100));
            else next();
          }),
      });
      await made.get('/x');
      await made.cache.expire({ all: true });
      await made.get('/x');
      await settled(made);
      expect(made.cache.stats().refreshResults).toMatchObject({ refused: 1, failed: 0 });
      expect(await made.get('/x')).toMatchObject({ text: 'run 2', xCache: 'MISS' });
    },
  );

  it('lets the response stand in where one client’s handler hangs, within stale-if-error [H10]', async () => {
    const clock = stopClock();
    let isHanging = false;
    const made = await appWith(
      (run, req, res) => {
        if (isRefresh(req)) res.status(403).end();
        else if (!isHanging) res.send(`run ${run}`);
      },
      { rule: { ttl: 10, staleIfError: 1000, timeout: 0.05 } },
    );
    await made.get('/x');
    clock.pass(11_000);
    expect((await made.get('/x')).text).toBe('run 3');
    clock.pass(11_000);
    isHanging = true;
    const leave = new AbortController();
    const leader = made.get('/x', {}, { signal: leave.signal }).catch(() => 'left');
    await waitFor(() => made.runs() === 4);
    const all = await Promise.all(Array.from({ length: 10 }, () => made.get('/x')));
    expect(new Set(all.map(({ text, xCache }) => [text, xCache].join()))).toEqual(new Set(['run 3,STALE']));
    expect(await made.get('/x')).toMatchObject({ xCache: 'STALE' });
    expect(made.runs()).toBe(4);
    leave.abort();
    await leader;
  });

  it('takes precedence over a client that accepts stale responses [H11]', async () => {
    const made = await appWith(
      (run, _req, res) => (run === 1 ? res.send('run 1') : res.status(404).send('gone')),
      {
        cache: {
          requestDirectives: 'honor',
          routes: { '/:id': { ttl: 10, staleWhileRevalidate: 1000 } },
        },
      },
    );
    await made.get('/x');
    await made.cache.expire({ all: true });
    const patient = { 'cache-control': 'max-stale' };
    expect((await made.get('/x', patient)).text).toBe('run 1');
    await made.get('/x');
    await settled(made);
    expect((await made.get('/x', patient)).status).toBe(404);
  });

  it('is reported once per route, with the remedies [H11]', async () => {
    const made = await appWith((run, _req, res) => res.send(`run ${run}`), {
      gate: (req, res, next) => (isRefresh(req) ? void res.status(403).end() : next()),
    });
    for (const path of ['/a', '/b', '/c']) {
      await made.get(path);
      await made.cache.expire({ all: true });
      await made.get(path);
      await settled(made);
    }
    expect(made.faults.map(({ where, error }) => [where, String(error)])).toEqual([
      ['refresh', expect.stringMatching(/\/:id \(403\).*req\.hotpath\.internal.*cache\.refreshHeaders/)],
    ]);
    expect(made.cache.stats()).toMatchObject({
      refreshRefusals: { 403: 3 },
      refreshResults: { stored: 0, failed: 0, ended: 0, refused: 3, dropped: 0 },
    });
  });

  it('does not come from a rate limiter by address during many requests [H12]', async () => {
    const made = await appWith((run, _req, res) => res.send(`run ${run}`), {
      before: (app) => void app.use(rateLimit({ windowMs: 60_000, limit: 60 })),
    });
    await made.get('/x');
    for (let run = 2; run < 20; run++) {
      await made.cache.expire({ all: true });
      await made.get('/x');
      await settled(made);
      expect((await made.get('/x')).text).toBe(`run ${run}`);
    }
  });
});
