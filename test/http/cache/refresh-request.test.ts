import { isIPv6 } from 'node:net';
import type { Express, Request, Response } from 'express';
import { ipKeyGenerator } from 'express-rate-limit';
import type { CacheRule, StandaloneCacheOptions } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { majors, waitFor } from '../../helpers/http.js';

const isRefresh = (req: unknown) => (req as { hotpath?: { internal?: boolean } }).hotpath?.internal === true;
const STALE: CacheRule = { ttl: '1h', staleWhileRevalidate: '1h' };

describe.each(majors)('the request of a background refresh (%s)', (_, express) => {
  const settled = (made: CacheApp, refreshes = 1) =>
    waitFor(() => made.cache.stats().refreshes >= refreshes && made.cache.stats().pending === 0);

  /** Stores a response and makes it stale; then the next client triggers a refresh. */
  async function refreshed(
    made: CacheApp,
    path: string,
    first: Record<string, string> = {},
    second: Record<string, string> = first,
  ) {
    const stored = await made.get(path, first);
    await made.cache.expire({ all: true });
    const trigger = await made.get(path, second);
    await settled(made);
    return { stored, trigger };
  }

  const appWith = (
    handler: (run: number, req: Request, res: Response) => unknown,
    {
      rule = STALE,
      cache = {},
      before,
      after,
    }: {
      rule?: CacheRule;
      cache?: StandaloneCacheOptions;
      before?: (app: Express) => void;
      after?: (app: Express) => void;
    } = {},
  ) =>
    cacheApp({
      express,
      cache: { routes: { '/*path': rule }, ...cache },
      before,
      routes: (app, { count }) => {
        after?.(app);
        app.get(/.*/, (req, res) => void handler(count(), req, res));
      },
    });

  it('is not handled under another URL than that of its entry [H12, B18]', async () => {
    const made = await appWith((run, req, res) => res.send(`${req.url} run ${run}`), {
      before: (app) => {
        app.use((req, _res, next) => {
          req.url = (req.headers['user-agent'] === 'phone' ? '/mobile' : '/desktop') + req.url;
          next();
        });
      },
    });
    const phone = { 'user-agent': 'phone' };
    const { stored, trigger } = await refreshed(made, '/x', phone);
    expect([stored.text, trigger.text]).toEqual(['/mobile/x run 1', '/mobile/x run 1']);
    expect(made.runs()).toBe(1);
    expect(made.cache.stats().refreshRefusals).toEqual({ url: 1 });
    expect((await made.get('/x', phone)).text).toBe('/mobile/x run 2');
  });

  it('is rewritten like its entry when that does not depend on the client [B18]', async () => {
    const made = await appWith((run, req, res) => res.send(`${req.url} run ${run}`), {
      before: (app) => {
        app.use((req, _res, next) => {
          req.url = `/tenant${req.url}`;
          next();
        });
      },
    });
    await refreshed(made, '/x?a=1');
    expect(await made.get('/x?a=1')).toMatchObject({ text: '/tenant/x?a=1 run 2', xCache: 'HIT' });
  });

  it('is sent only if `when` allows it for the refresh itself [H12]', async () => {
    const made = await appWith((run, _req, res) => res.send(`run ${run}`), {
      rule: { ...STALE, when: ({ req }) => req.headers['x-app'] === 'shop' },
    });
    const shop = { 'x-app': 'shop' };
    await refreshed(made, '/x', shop);
    expect(made.runs()).toBe(1);
    expect(made.cache.stats().refreshRefusals).toEqual({ when: 1 });
    expect(await made.get('/x', shop)).toMatchObject({ text: 'run 2', xCache: 'MISS' });
  });

  it('has no private address, so `when` treats it as it treats the internet [H12]', async () => {
    const isPrivate = (ip = '') => /^(?:10\.|192\.168\.|127\.|f[cd]|::1$|::ffff:127)/.test(ip);
    const made = await appWith(
      (run, req, res) => res.send(`${isPrivate(req.ip) ? 'internal' : 'public'} page, run ${run}`),
      {
        rule: { ...STALE, when: ({ req }) => !isPrivate(req.ip) },
        before: (app) => void app.set('trust proxy', true),
      },
    );
    await refreshed(made, '/x', { 'x-forwarded-for': '8.8.8.8' });
    const { text } = await made.get('/x', { 'x-forwarded-for': '9.9.9.9' });
    expect(text).toBe('public page, run 2');
  });

  it('has a documentation address of another /56 network each time [H12]', async () => {
    const addresses: string[] = [];
    const made = await appWith((run, req, res) => {
      if (isRefresh(req)) addresses.push(req.ip ?? '');
      res.send(`run ${run}`);
    });
    for (let i = 0; i < 10; i++) await refreshed(made, `/${i}`).then(() => settled(made, i + 1));
    expect(addresses.length).toBe(10);
    for (const address of addresses) {
      expect(isIPv6(address)).toBe(true);
      expect(address).toMatch(/^2001:db8:/);
    }
    expect(new Set(addresses.map((address) => ipKeyGenerator(address))).size).toBe(10);
  });

  it.each([
    ['a cookie', { cookie: 'city=Köln; sid=1' }, { vary: { cookies: ['city'] } }],
    ['a repeated cookie', { cookie: 'city=Köln; city=Bonn' }, { vary: { cookies: ['city'] } }],
    ['a header', { 'x-city': 'Köln' }, { vary: { headers: ['x-city'] } }],
    ['a header in Vary', { 'x-city': 'Zürich' }, {}],
  ])('has the same bytes of %s that the key covers [H12]', async (_what, headers, rule) => {
    const seen: string[] = [];
    const made = await appWith(
      (run, req, res) => {
        const { cookie = '', 'x-city': city = '' } = req.headers;
        seen.push(Buffer.from(cookie.replace(/; sid=1/, '') + city, 'latin1').toString('latin1'));
        res.vary('X-City').send(`run ${run}`);
      },
      { rule: { ...STALE, ...rule } },
    );
    const own = { ...headers } as Record<string, string>;
    // As a browser sends it: UTF-8 bytes, which Node reads as Latin-1.
    for (const name of Object.keys(own)) own[name] = Buffer.from(own[name]!, 'utf8').toString('latin1');
    await refreshed(made, '/x', own);
    expect(await made.get('/x', own)).toMatchObject({ text: 'run 2', xCache: 'HIT' });
    expect(seen[1]).toBe(seen[0]);
  });

  it('carries no client header that the app itself does not trust [H12]', async () => {
    const seen: unknown[] = [];
    const made = await appWith((run, req, res) => {
      const { 'x-forwarded-proto': proto, 'x-forwarded-host': host } = req.headers;
      if (isRefresh(req)) seen.push(proto, host);
      res.send(`run ${run}`);
    });
    await refreshed(made, '/x', {}, { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'evil.example' });
    expect(seen).toEqual([undefined, undefined]);
  });

  it('sees the forwarded host of its entry, with or without a trusted address [H12]', async () => {
    for (const trust of [true, 'loopback'] as const) {
      const made = await appWith((run, req, res) => res.send(`${req.hostname} run ${run}`), {
        before: (app) => void app.set('trust proxy', trust),
      });
      const forwarded = { 'x-forwarded-host': 'shop.example', 'x-forwarded-for': '8.8.8.8' };
      await refreshed(made, '/x', forwarded);
      expect(await made.get('/x', forwarded)).toMatchObject({ text: 'shop.example run 2', xCache: 'HIT' });
    }
  });

  it.each([true, 'loopback'])('sees the first of several forwarded hosts (trust %s) [H12]', async (trust) => {
    const forwarded = { 'x-forwarded-host': 'a.example, b.example', 'x-forwarded-proto': 'https' };
    const made = await appWith((run, req, res) => res.send(`${req.protocol}://${req.hostname} run ${run}`), {
      before: (app) => void app.set('trust proxy', trust),
    });
    await refreshed(made, '/x', forwarded);
    expect(await made.get('/x', forwarded)).toMatchObject({ text: 'https://a.example run 2', xCache: 'HIT' });
  });

  it('does not refresh a variant that depends on more than it carries [H12]', async () => {
    const made = await appWith((run, _req, res) => res.vary('Cookie').send(`run ${run}`), {
      rule: { ...STALE, vary: { cookies: ['lang'] } },
    });
    const own = { cookie: 'lang=de; sid=1' };
    await refreshed(made, '/x', own);
    expect(made.cache.stats().refreshRefusals).toEqual({ vary: 1 });
    expect(await made.get('/x', own)).toMatchObject({ text: 'run 2', xCache: 'MISS' });
    expect(made.runs()).toBe(2);
  });

  it.each([
    [
      'without a route',
      (app: Express, page: (req: Request, res: Response, next: () => void) => void) => app.use(page),
    ],
    [
      'of another route',
      (app: Express, page: (req: Request, res: Response, next: () => void) => void) =>
        app.get('/{*any}', page),
    ],
  ] as const)('does not store a page %s that a gate sends with status 200 [H12]', async (_what, mount) => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/*path': STALE } },
      routes: (app, { count }) => {
        const page = (req: Request, res: Response, next: () => void) => {
          if (isRefresh(req)) res.send('prove that you are human');
          else next();
        };
        if (_.endsWith('4') && _what !== 'without a route') app.get('*', page);
        else mount(app, page);
        app.get('/x', (_req, res) => void res.send(`run ${count()}`));
      },
    });
    const { trigger } = await refreshed(made, '/x');
    expect(trigger.text).toBe('run 1');
    expect(made.cache.stats().refreshRefusals).toEqual({ route: 1 });
    expect(await made.get('/x')).toMatchObject({ text: 'run 2', xCache: 'MISS' });
  });

  it('carries `cache.refreshHeaders`, so a gate accepts it [H12]', async () => {
    const made = await appWith((run, _req, res) => res.send(`run ${run}`), {
      cache: { routes: { '/*path': STALE }, refreshHeaders: { 'X-Origin-Verify': 'secret' } },
      after: (app) => {
        app.use((req, res, next) => {
          if (req.headers['x-origin-verify'] === 'secret') next();
          else res.status(403).send('not by the CDN');
        });
      },
    });
    await refreshed(made, '/x', { 'x-origin-verify': 'secret' });
    expect(await made.get('/x', { 'x-origin-verify': 'secret' })).toMatchObject({
      text: 'run 2',
      xCache: 'HIT',
    });
  });

  it.each([
    ['stores a response that declares itself shared', 'public, max-age=3600', 'run 2', 'HIT'],
    ['does not store one that may be for its credential', 'max-age=3600', 'run 3', 'MISS'],
  ])('with its own credential %s [H12]', async (_what, cacheControl, text, xCache) => {
    const shared = 'public, max-age=3600, stale-while-revalidate=3600';
    const made = await appWith(
      (run, req, res) => {
        res.set('Cache-Control', isRefresh(req) ? cacheControl : shared).send(`run ${run}`);
      },
      { cache: { routes: { '/*path': STALE }, refreshHeaders: { authorization: 'Basic c3Rh' } } },
    );
    await refreshed(made, '/x');
    expect(await made.get('/x')).toMatchObject({ text, xCache });
  });
});
