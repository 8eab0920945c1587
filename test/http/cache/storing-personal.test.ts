import session from 'express-session';
import type { CacheRule } from 'hotpath/cache';
import onHeaders from 'on-headers';
import { describe, expect, it } from 'vitest';
import { cacheApp, expectOnlyOwn } from '../../helpers/cache.js';
import { majors } from '../../helpers/http.js';

const RULE: Record<string, CacheRule> = { '/*path': { ttl: '1m' } };
const COOKIES_DECLARED: Record<string, CacheRule> = { '/*path': { ttl: '1m', vary: { cookies: [] } } };

describe.each(majors)('personal responses (%s)', (_name, express) => {
  it.each([
    ['without a rule', {}],
    ['with a rule', RULE],
    ['with a rule that declares cookies irrelevant', COOKIES_DECLARED],
  ])('never stores or repeats a response with Set-Cookie, %s [A01]', async (_case, routes) => {
    const made = await cacheApp({
      express,
      cache: { routes },
      routes: (app) =>
        app.get('/login', (_req, res) => {
          res.set('Cache-Control', 'public, max-age=60').cookie('sid', `secret${made.count()}`).send('in');
        }),
    });
    const answers = [await made.get('/login'), await made.get('/login'), await made.get('/login')];
    expect(made.runs()).toBe(3);
    expect(new Set(answers.map((answer) => answer.setCookie[0])).size).toBe(3);
    expect(made.cache.stats()).toMatchObject({ stores: 0, entries: 0 });
  });

  it.each(['Clear-Site-Data', 'X-Auth-Token'])(
    'does not store a response with %s, set by the handler or in writeHead [A01, A21]',
    async (name) => {
      for (const late of [false, true]) {
        const made = await cacheApp({
          express,
          cache: { routes: RULE },
          routes: (app) =>
            app.get('/x', (_req, res) => {
              const set = () => void res.set(name, `"secret${made.count()}"`);
              late ? onHeaders(res, set) : set();
              res.set('Cache-Control', 'public, max-age=60').send('x');
            }),
        });
        const first = await made.get('/x');
        if (!late) expect(first.cacheStatus).toContain(`detail=${name.toLowerCase()}`);
        expect((await made.get('/x')).headers.get(name)).toBe('"secret2"');
        expect(made.cache.stats().entries).toBe(0);
      }
    },
  );

  it.each([
    ['nothing', undefined, false],
    ['a lifetime', 'max-age=60', false],
    ['public', 'public, max-age=60', true],
    ['must-revalidate', 'max-age=60, must-revalidate', true],
  ])(
    'shares explicitly public responses only, for Authorization with %s [A02]',
    async (_case, cacheControl, shared) => {
      const canaries = ['canary-a', 'canary-b'];
      const made = await cacheApp({
        express,
        cache: { routes: RULE },
        routes: (app) =>
          app.get('/me', (req, res) => {
            made.count();
            if (cacheControl) res.set('Cache-Control', cacheControl);
            res.send(shared ? 'for all' : `for ${req.get('authorization') ?? 'anonymous'}`);
          }),
      });
      const a = await made.get('/me', { authorization: 'canary-a' });
      const b = await made.get('/me', { authorization: 'canary-b' });
      const anonymous = await made.get('/me');
      expectOnlyOwn(a, 'canary-a', canaries);
      expectOnlyOwn(b, 'canary-b', canaries);
      expectOnlyOwn(anonymous, undefined, canaries);
      if (!shared) {
        expect(made.runs()).toBe(3);
        expect(a.cacheStatus).toMatch(/detail=/);
        // The anonymous response is not for authenticated clients either.
        const again = await made.get('/me', { authorization: 'canary-a' });
        expect(again.text).toBe('for canary-a');
      } else expect(made.runs()).toBeLessThan(3);
    },
  );

  it.each([
    ['authorization', 'Authorization'],
    ['x-own-key', 'X-Own-Key'],
  ])('never serves a client without the %s that a later check requires [A03]', async (name, header) => {
    const made = await cacheApp({
      express,
      cache: {
        routes: RULE,
        credentials: ['authorization', 'cookie', 'x-api-key', 'proxy-authorization', 'X-Own-Key'],
      },
      routes: (app) => {
        app.use((req, res, next) => (req.get(header) === 'right' ? next() : res.status(401).send('no')));
        app.get('/data', (_req, res) => res.send(`secret ${made.count()}`));
      },
    });
    expect((await made.get('/data', { [name]: 'right' })).text).toBe('secret 1');
    expect(await made.get('/data')).toMatchObject({ status: 401, text: 'no' });
    expect(await made.get('/data', { [name]: 'wrong' })).toMatchObject({ status: 401, text: 'no' });
    expect((await made.get('/data', { [name]: 'right' })).text).toBe('secret 2');
    expect(made.cache.stats().entries).toBe(0);
  });

  it.each([
    ['without a rule', {}],
    ['with a rule', RULE],
  ])('does not share a page that differs by cookie, %s [A04]', async (_case, routes) => {
    const made = await cacheApp({
      express,
      cache: { routes },
      routes: (app) =>
        app.get('/dash', (req, res) => {
          made.count();
          res.send(`dash of ${req.headers.cookie ?? 'anonymous'}`);
        }),
    });
    for (const cookie of ['s=A', 's=B', 's=A']) {
      expect(await made.get('/dash', { cookie })).toMatchObject({
        text: `dash of ${cookie}`,
        xCache: 'BYPASS',
      });
    }
    expect((await made.get('/dash')).text).toBe('dash of anonymous');
    expect((await made.get('/dash', { cookie: 's=B' })).text).toBe('dash of s=B');
  });

  it('separates the values of a cookie in the rule and ignores other cookies [A04]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/page': { ttl: '1m', vary: { cookies: ['lang'] } } } },
      routes: (app) =>
        app.get('/page', (req, res) => {
          made.count();
          res.send(/lang=(\w+)/.exec(req.headers.cookie ?? '')?.[1] ?? 'none');
        }),
    });
    for (const [cookie, text] of [
      ['lang=en; sid=1', 'en'],
      ['lang=fr; sid=1', 'fr'],
      ['sid=2; lang=en', 'en'],
      ['sid=3', 'none'],
      ['', 'none'],
    ]) {
      const answer = await made.get('/page', cookie ? { cookie } : {});
      expect(answer.text).toBe(text);
      expect(answer.headers.get('vary')).toBe('Cookie');
    }
    expect(made.runs()).toBe(3);
  });

  it('distinguishes a repeated cookie from a single one [A04]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/page': { ttl: '1m', vary: { cookies: ['lang'] } } } },
      routes: (app) =>
        // An app whose parser takes the last value.
        app.get('/page', (req, res) =>
          res.send([...(req.headers.cookie ?? '').matchAll(/lang=(\w+)/g)].at(-1)?.[1]),
        ),
    });
    expect((await made.get('/page', { cookie: 'lang=en; lang=evil' })).text).toBe('evil');
    expect((await made.get('/page', { cookie: 'lang=en' })).text).toBe('en');
  });

  it.each(['authorization, Accept', 'COOKIE'])(
    'does not store a response with Vary: %s, even without credentials [A06]',
    async (vary) => {
      const made = await cacheApp({
        express,
        cache: { routes: RULE },
        routes: (app) =>
          app.get('/me', (req, res) => {
            res.set({ Vary: vary, 'Cache-Control': 'public, max-age=60' });
            res.send(
              `run ${made.count()} for ${req.get('authorization') ?? req.get('cookie') ?? 'anonymous'}`,
            );
          }),
      });
      expect((await made.get('/me', { authorization: 'canary-a' })).text).toBe('run 1 for canary-a');
      expect((await made.get('/me', { cookie: 'canary-b' })).text).toBe('run 2 for canary-b');
      expect((await made.get('/me')).text).toBe('run 3 for anonymous');
      expect((await made.get('/me')).text).toBe('run 4 for anonymous');
    },
  );

  describe.each(['before', 'after'] as const)('with the other middleware mounted %s the cache', (place) => {
    const mount = (use: (app: ReturnType<typeof express>) => void) => ({
      outer: place === 'before' ? use : undefined,
      inner: place === 'after' ? use : undefined,
    });

    it.each([
      ['Set-Cookie', 'sid=secret'],
      ['Cache-Control', 'private'],
      ['Vary', 'X-Secret'],
    ])('does not store a response when %s: %s is added in writeHead [A21]', async (name, value) => {
      const { outer, inner } = mount((app) =>
        app.use((_req, res, next) => {
          onHeaders(res, () => res.setHeader(name, value));
          next();
        }),
      );
      const made = await cacheApp({
        express,
        cache: { routes: RULE },
        before: outer,
        routes: (app) => {
          inner?.(app);
          app.get('/page', (req, res) => {
            made.count();
            res.set('Cache-Control', 'public, max-age=60').send(`for ${req.get('x-secret')}`);
          });
        },
      });
      expect((await made.get('/page', { 'x-secret': '1' })).text).toBe('for 1');
      const second = await made.get('/page', { 'x-secret': '2' });
      expect(second.text).toBe('for 2');
      expect(second.headers.get(name)).toBe(value);
      expect(made.runs()).toBe(2);
    });

    it('does not store a response under the status from before writeHead [A21]', async () => {
      const { outer, inner } = mount((app) =>
        app.use((req, res, next) => {
          onHeaders(res, () => {
            if (req.headers['x-blocked']) res.statusCode = 403;
          });
          next();
        }),
      );
      const made = await cacheApp({
        express,
        cache: { routes: RULE },
        before: outer,
        routes: (app) => {
          inner?.(app);
          app.get('/page', (_req, res) => res.send(`run ${made.count()}`));
        },
      });
      expect((await made.get('/page', { 'x-blocked': '1' })).status).toBe(403);
      expect(await made.get('/page')).toMatchObject({ status: 200, text: 'run 2' });
    });

    it('keeps express-session cookies separate per client, and stores none [A21]', async () => {
      const { outer, inner } = mount((app) =>
        app.use(session({ secret: 'x', resave: false, saveUninitialized: true })),
      );
      const made = await cacheApp({
        express,
        cache: { routes: RULE },
        before: outer,
        routes: (app) => {
          inner?.(app);
          app.get('/page', (_req, res) => {
            made.count();
            res.set('Cache-Control', 'public, max-age=60').send('page');
          });
        },
      });
      const cookies = new Set<string | undefined>();
      for (let i = 0; i < 3; i++) cookies.add((await made.get('/page')).setCookie[0]);
      expect(cookies.size).toBe(3);
      expect(cookies.has(undefined)).toBe(false);
      expect(made.cache.stats().entries).toBe(0);
      expect(made.runs()).toBe(3);
    });
  });

  it('notices a cookie that a patched writeHead passes directly to Node [A21]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: RULE, statusHeader: false },
      before: (app) => {
        app.disable('x-powered-by');
        app.use((_req, res, next) => {
          const writeHead = res.writeHead.bind(res) as (...args: unknown[]) => typeof res;
          res.writeHead = ((status: number) =>
            writeHead(status, { 'Set-Cookie': 'sid=1' })) as typeof res.writeHead;
          next();
        });
      },
      routes: (app) =>
        app.get('/page', (_req, res) => {
          made.count();
          // In pieces, since the length of a single piece would be declared.
          res.write('pa');
          res.end('ge');
        }),
    });
    for (let run = 1; run <= 2; run++) {
      expect((await made.get('/page')).setCookie).toEqual(['sid=1']);
      expect(made.runs()).toBe(run);
    }
    expect(made.cache.stats().entries).toBe(0);
  });
});
