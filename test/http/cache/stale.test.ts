import { isIPv6 } from 'node:net';
import type { Express, Request, Response } from 'express';
import { rateLimit } from 'express-rate-limit';
import session from 'express-session';
import helmet from 'helmet';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { gate } from '../../helpers/gate.js';
import { majors, waitFor } from '../../helpers/http.js';

describe.each(majors)('stale responses (%s)', (_name, express) => {
  /** A route with one stored response, which `expire` has made stale. */
  async function stale(
    rule: object,
    handler: (run: number, req: Request, res: Response) => unknown,
    before?: (app: Express) => void,
    after?: (app: Express) => void,
  ) {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: '1h', ...rule } } },
      before,
      routes: (app, { count }) => {
        after?.(app);
        app.get('/x', (req, res, next) => {
          Promise.resolve(handler(count(), req, res)).catch(next);
        });
        app.use((_error: unknown, _req: Request, res: Response, _next: () => void) => {
          res.status(500).send('error');
        });
      },
    });
    expect((await made.get('/x')).text).toBe('run 1');
    await made.cache.expire({ all: true });
    return made;
  }
  const answer = (run: number, _req: Request, res: Response) => res.send(`run ${run}`);

  it('serves a stale response while one refresh runs, which replaces it [H10]', async () => {
    const stop = gate();
    const made = await stale({ staleWhileRevalidate: '1h' }, async (run, _req, res) => {
      if (run === 2) await stop.opened;
      res.send(`run ${run}`);
    });
    const answers = await Promise.all(Array.from({ length: 20 }, () => made.get('/x')));
    expect(new Set(answers.map(({ text, xCache }) => `${text} ${xCache}`))).toEqual(new Set(['run 1 STALE']));
    expect(made.runs()).toBe(2);
    stop.open();
    await waitFor(async () => (await made.get('/x')).text === 'run 2');
    expect((await made.get('/x')).xCache).toBe('HIT');
    expect(made.runs()).toBe(2);
  });

  it('runs the handler without a stale-while-revalidate window [H11]', async () => {
    const made = await stale({}, answer);
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('serves nothing stale with must-revalidate, despite the rule [H11]', async () => {
    const made = await stale({ staleWhileRevalidate: '1h', staleIfError: '1h' }, (run, _req, res) =>
      res.set('Cache-Control', 'public, max-age=60, must-revalidate').send(`run ${run}`),
    );
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it.each<[string, (res: Response) => unknown]>([
    ['a 500', (res) => res.status(500).send('error')],
    ['a 503', (res) => res.status(503).send('error')],
    [
      'a throw',
      () => {
        throw new Error('of the handler');
      },
    ],
  ])('serves a stale response instead of %s, and then refreshes [H11]', async (_what, fail) => {
    const made = await stale({ staleIfError: '1h' }, (run, _req, res) =>
      run === 2 ? fail(res) : res.send(`run ${run}`),
    );
    const first = await made.get('/x');
    expect([first.status, first.text, first.xCache]).toEqual([200, 'run 1', 'STALE']);
    // After a pause, the next refresh is tried.
    await waitFor(async () => (await made.get('/x')).text === 'run 3');
  });

  it('sends a 404 of the handler, which is no error to hide [H11]', async () => {
    const made = await stale({ staleIfError: '1h' }, (run, _req, res) =>
      run > 1 ? res.status(404).send('gone') : res.send(`run ${run}`),
    );
    expect(await made.get('/x')).toMatchObject({ status: 404, text: 'gone' });
  });

  it('cancels a refresh that hangs at its timeout; the next request tries again [H10]', async () => {
    const made = await stale({ staleIfError: '1h', timeout: 0.1 }, (run, _req, res) =>
      run === 2 ? undefined : res.send(`run ${run}`),
    );
    expect(await made.get('/x')).toMatchObject({ text: 'run 1', xCache: 'STALE' });
    // A later run, in which even an immediate response takes longer than the timeout.
    await waitFor(async () => (await made.get('/x')).text !== 'run 1');
    expect(made.runs()).toBeGreaterThanOrEqual(3);
  });

  it('serves the stale response after the soft timeout while the refresh continues [H10]', async () => {
    const stop = gate();
    const made = await stale(
      { staleIfError: '1h', softTimeout: 0.05, timeout: 60 },
      async (run, _req, res) => {
        if (run === 2) await stop.opened;
        res.send(`run ${run}`);
      },
    );
    expect(await made.get('/x')).toMatchObject({ text: 'run 1', xCache: 'STALE' });
    stop.open();
    await waitFor(async () => (await made.get('/x')).xCache === 'HIT');
    expect(made.runs()).toBe(2);
  });

  it('keeps process and stale response when a refresh fails [H09]', async () => {
    const made = await stale({ staleWhileRevalidate: '1h' }, (run, _req, res) => {
      if (run === 2) return res.destroy(new Error('of the handler'));
      return res.send(`run ${run}`);
    });
    expect((await made.get('/x')).text).toBe('run 1');
    await waitFor(async () => (await made.get('/x')).text === 'run 3');
  });

  it('refreshes without client credentials, with only the headers in the key [H12]', async () => {
    const seen: Request['headers'][] = [];
    const made = await stale(
      { staleWhileRevalidate: '1h', vary: { headers: ['x-tenant'], cookies: ['lang'] } },
      (run, req, res) => {
        seen.push({ ...req.headers });
        res.set('Cache-Control', 'public, max-age=600').send(`run ${run}`);
      },
    );
    const client = { 'x-tenant': 't1', cookie: 'lang=de; sid=secret', 'x-other': '1' };
    await made.get('/x', client);
    await made.cache.expire({ all: true });
    seen.length = 0;
    await made.get('/x', { ...client, authorization: 'Bearer secret' });
    await waitFor(() => seen.length > 0);
    const { host, ...headers } = seen[0] ?? {};
    expect(host).toBe(`127.0.0.1:${made.port}`);
    // The only other one is its own condition, which lets the handler validate the stored response.
    expect(headers).toEqual({ 'x-tenant': 't1', cookie: 'lang=de', 'if-none-match': expect.any(String) });
  });

  it('uses a new private IPv6 address for each background refresh [H12]', async () => {
    const addresses: string[] = [];
    const made = await stale({ staleWhileRevalidate: '1h' }, (run, req, res) => {
      addresses.push(req.ip ?? '');
      res.send(`run ${run}`);
    });
    for (const run of [2, 3]) {
      await made.get('/x');
      await waitFor(async () => (await made.get('/x')).text === `run ${run}`);
      await made.cache.expire({ all: true });
    }
    const [client = '', ...others] = addresses;
    expect(isIPv6(others[0] ?? '') && isIPv6(others[1] ?? '')).toBe(true);
    expect(new Set([client, ...others]).size).toBe(3);
  });

  it('refreshes a partitioned response only by a request of its own client [H12]', async () => {
    const made = await cacheApp({
      express,
      cache: {},
      routes: (app, { cache, count }) => {
        const rule = {
          ttl: '1h',
          staleWhileRevalidate: '1h',
          partition: ({ req }: never) => (req as Request).headers['x-user'],
        };
        app.get('/x', cache.route(rule as never), (req, res) => {
          res.send(`run ${count()} for ${req.headers['x-user']}`);
        });
      },
    });
    await made.get('/x', { 'x-user': 'a' });
    await made.cache.expire({ all: true });
    expect((await made.get('/x', { 'x-user': 'a' })).text).toBe('run 2 for a');
  });

  it("refreshes a response of cache.route() through the app's own middlewares", async () => {
    const made = await cacheApp({
      express,
      cache: {},
      routes: (app, { cache, count }) => {
        app.get('/x', cache.route({ ttl: '1h', staleWhileRevalidate: '1h' }), (_req, res) => {
          res.send(`run ${count()}`);
        });
      },
    });
    await made.get('/x');
    await made.cache.expire({ all: true });
    expect(await made.get('/x')).toMatchObject({ text: 'run 1', xCache: 'STALE' });
    await waitFor(async () => (await made.get('/x')).text === 'run 2');
    expect((await made.get('/x')).xCache).toBe('HIT');
  });

  it('refreshes behind helmet, sessions, a rate limit, allowed hosts and an HTTPS redirect', async () => {
    const made = await stale(
      { staleWhileRevalidate: '1h' },
      answer,
      (app) => {
        app.set('trust proxy', 'loopback');
      },
      (app) => {
        app.use(helmet());
        app.use(session({ secret: 's', resave: false, saveUninitialized: false }));
        app.use(rateLimit({ windowMs: 60_000, limit: 12 }));
        app.use((req, res, next) => {
          if (!/^127\.0\.0\.1:\d+$/.test(req.headers.host ?? '')) res.status(421).end();
          else if (!req.secure && req.headers['x-forwarded-proto'] === 'http')
            res.redirect(301, 'https://x/');
          else next();
        });
      },
    );
    for (let round = 2; round < 30; round++) {
      await made.get('/x');
      await waitFor(async () => (await made.get('/x')).text === `run ${round}`);
      await made.cache.expire({ all: true });
    }
  });

  it('refreshes a stale response by a 304 of the handler, without a second body', async () => {
    let sent = 0;
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: '1h' } } },
      routes: (app, { count }) =>
        app.get('/x', (req, res) => {
          count();
          res.set('ETag', '"v1"').set('X-Made', String(count('made')));
          if (req.headers['if-none-match'] === '"v1"') return void res.status(304).end();
          sent++;
          res.send('the body');
        }),
    });
    await made.get('/x');
    await made.cache.expire({ all: true });
    const revalidated = await made.get('/x');
    expect(revalidated).toMatchObject({ status: 200, text: 'the body', xCache: 'REVALIDATED' });
    expect(revalidated.cacheStatus).toBe('hotpath; fwd=stale; fwd-status=304; stored; ttl=3600');
    expect(revalidated.headers.get('x-made')).toBe('2');
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'the body', xCache: 'HIT' });
    expect([made.runs('handler'), sent]).toEqual([2, 1]);
    // The client's own condition is evaluated as well.
    await made.cache.expire({ all: true });
    expect(await made.get('/x', { 'if-none-match': '"v1"' })).toMatchObject({ status: 304, text: '' });
  });

  it('delays no refresh after one during which the response has expired once more', async () => {
    const settled = () => waitFor(() => made.cache.stats().pending === 0);
    const made = await stale({ staleWhileRevalidate: '1h' }, async (run, _req, res) => {
      if (run === 2 || run === 3) await made.cache.expire({ all: true });
      res.send(`run ${run}`);
    });
    for (let at = 0; at < 3; at++) {
      const { text, cacheStatus } = await made.get('/x');
      expect([text, cacheStatus]).toEqual(['run 1', expect.not.stringContaining('refresh-backoff')]);
      await settled();
    }
    expect(await made.get('/x')).toMatchObject({ text: 'run 4', xCache: 'HIT' });
  });

  it('takes a response that expires while a client waits for its refresh for no error', async () => {
    const made = await stale({ staleIfError: '1h' }, async (run, _req, res) => {
      if (run === 2 || run === 3) await made.cache.expire({ all: true });
      res.send(`run ${run}`);
    });
    expect(await made.get('/x')).toMatchObject({ xCache: 'MISS', text: 'run 4' });
    expect(await made.get('/x')).toMatchObject({ xCache: 'HIT', text: 'run 4' });
  });

  it('never uses a purged response again, neither stale nor for an error', async () => {
    const made = await stale({ staleWhileRevalidate: '1h', staleIfError: '1h' }, (run, _req, res) =>
      run === 1 ? res.send('run 1') : res.status(500).send('error'),
    );
    await made.cache.purge({ all: true });
    expect(await made.get('/x')).toMatchObject({ status: 500, text: 'error' });
  });
});
