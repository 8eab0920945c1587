import type { Express } from 'express';
import express5, { type Request, type Response } from 'express';
import type { CacheRule } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { type CacheApp, cacheApp, expectOnlyOwn } from '../../helpers/cache.js';
import { majors } from '../../helpers/http.js';

const CANARY = 'canary-of-the-victim';
const STATIC: Record<string, CacheRule> = {
  '/static/*path': { ttl: '1h', vary: { cookies: [] } },
  '/assets/*path': { ttl: '1h', vary: { cookies: [] } },
};

/** Sends content of the cookie's owner, without caching headers. */
const account = (made: CacheApp) => (req: Request, res: Response) => {
  made.count('account');
  res.send(`account of ${req.headers.cookie === 'sid=victim' ? CANARY : 'anonymous'}`);
};

/** The victim follows the attacker's link, then the attacker requests the same URL without the cookie. */
async function attack(made: CacheApp, path: string): Promise<void> {
  const target = path.replaceAll(' ', '%20');
  const ask = (cookie: string) => made.raw(`GET ${target} HTTP/1.1\n${cookie}Connection: close`);
  await ask('Cookie: sid=victim\n');
  for (const cookie of ['', 'Cookie: sid=attacker\n']) {
    const seen = await ask(cookie);
    expect(`${seen.head}\n${seen.text}`).not.toContain(CANARY);
  }
}

const SUFFIXES = ['/x.css', '/x.js', '/logo.png', '/a/b/x.css', '/robots.txt', '/favicon.ico', '/.css'];
const DELIMITERS = [
  ';x.css',
  '%3bx.css',
  '%23x.css',
  '#x.css',
  '%3fx.css',
  '?x.css',
  '%00.css',
  '%0a.css',
  '%09.css',
  '/..%2fstatic/x.css',
  '/%2e%2e/static/x.css',
  '%2f..%2fstatic%2fx.css',
  '\\x.css',
  '%5cx.css',
  '/..%5cstatic/x.css',
  '!x.css',
  ',x.css',
  '$x.css',
  '.css',
  '~x.css',
]; // prettier-ignore
const TRAVERSALS = [
  '/static/../account',
  '/static/..%2faccount',
  '/static/%2e%2e/account',
  '/static/%2e%2e%2faccount',
  '/static/..;/account',
  '/static/.%2e/account',
  '/static/x/../../account',
  '//account',
  '/static//account',
  '/static/..\\account',
  '/static/..%5caccount',
  '/STATIC/../account',
  '/static/../account?x.css',
  '/assets/../static/../account',
]; // prettier-ignore

describe.each(majors)('web cache deception (%s)', (_name, express) => {
  const wildcard = express === express5 ? '/account/*splat' : '/account/*';
  const build = (app: Express, made: CacheApp) => {
    app.get('/static/:file', (_req, res) => void res.type('css').send(`static ${made.count('static')}`));
    app.get(['/account', wildcard], account(made));
    app.get('/account:rest', account(made));
    app.get('/users/:id', account(made));
  };

  it.each(SUFFIXES)(
    'does not store a dynamic route because of the static-looking suffix %s [C01]',
    async (suffix) => {
      const made = await cacheApp({ express, cache: { routes: STATIC }, routes: build });
      await attack(made, `/account${suffix}`);
      await attack(made, `/users/1${suffix}`);
      expect(made.runs('account')).toBeGreaterThanOrEqual(3);
      expect(made.cache.stats().entries).toBe(0);
    },
  );

  it.each(SUFFIXES)(
    'does not store it under a route rule without cookies either: %s [C01]',
    async (suffix) => {
      const routes: Record<string, CacheRule> = {
        '/account{/*path}': { ttl: '1h' },
        '/users/:id{/*path}': { ttl: '1h' },
      };
      const made = await cacheApp({ express, cache: { routes }, routes: build });
      await attack(made, `/account${suffix}`);
      await attack(made, `/users/1${suffix}`);
    },
  );

  it.each([...DELIMITERS.map((end) => `/account${end}`), ...DELIMITERS.map((end) => `/users/1${end}`)])(
    'does not store a dynamic route because of a delimiter, raw or encoded: %s [C02]',
    async (path) => {
      const made = await cacheApp({ express, cache: { routes: STATIC }, routes: build });
      await attack(made, path);
      expect(made.cache.stats().entries).toBe(0);
    },
  );

  it.each(TRAVERSALS)(
    'does not store a dynamic route for a path that leaves the static folder: %s [C02]',
    async (path) => {
      const made = await cacheApp({ express, cache: { routes: STATIC }, routes: build });
      await attack(made, path);
    },
  );

  it.each(TRAVERSALS)(
    'applies a rule to the route that responds when a later middleware resolves %s [C03]',
    async (path) => {
      const made = await cacheApp({
        express,
        cache: { routes: STATIC },
        routes: (app, inner) => {
          app.use((req, _res, next) => {
            // As a rewriting middleware, or a router that resolves dots, does.
            const resolved = new URL(
              decodeURIComponent(req.url).replaceAll('\\', '/').replace(/^\/+/, '/'),
              'http://x',
            );
            req.url = resolved.pathname + resolved.search;
            next();
          });
          build(app, inner);
        },
      });
      await attack(made, path);
      expect(made.cache.stats().entries).toBe(0);
    },
  );

  it('stores the routes that the rule was written for [C03]', async () => {
    const made = await cacheApp({ express, cache: { routes: STATIC }, routes: build });
    await made.get('/static/x.css', { cookie: 'sid=victim' });
    expect((await made.get('/static/x.css')).text).toBe('static 1');
    expect((await made.get('/STATIC/x.css')).text).toBe('static 2');
    expect((await made.get('/STATIC/x.css')).text).toBe('static 2');
    expect(made.runs()).toBe(2);
  });

  it.each([
    ['the route itself', (app: Express, handler: never) => app.get('/api/items', handler)],
    ['a parameter in place of a segment', (app: Express, handler: never) => app.get('/api/:what', handler)],
    [
      'a mounted router',
      (app: Express, handler: never) => app.use('/api', express.Router().get('/items', handler)),
    ],
    ['a mounted handler', (app: Express, handler: never) => app.use('/api', handler)],
    ['a list of paths', (app: Express, handler: never) => app.get(['/api/things', '/api/items'], handler)],
    ['a regular expression', (app: Express, handler: never) => app.get(/^\/api\/items$/, handler)],
    ['a handler for all requests', (app: Express, handler: never) => app.use(handler)],
  ])('applies a rule to %s [C03]', async (_case, mount) => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/api/items': { ttl: '1m' } } },
      routes: (app, { count }) =>
        mount(app, ((_req: Request, res: Response) => res.send(`run ${count()}`)) as never),
    });
    await made.get('/api/items');
    expect((await made.get('/api/items')).text).toBe('run 1');
  });

  it.each(['/api/products/export', '/api/products/export/'])(
    'does not apply a parameter rule to a route that spells it out: %s [C03]',
    async (path) => {
      const made = await cacheApp({
        express,
        cache: { routes: { '/api/products/:id': { ttl: '1m' } } },
        routes: (app, { count }) => {
          app.get('/api/products/export', (_req, res) => void res.send(`export ${count()}`));
          app.get('/api/products/:id', (_req, res) => void res.send(`product ${count()}`));
        },
      });
      await made.get(path);
      expect((await made.get(path)).text).toBe('export 2');
      await made.get('/api/products/7');
      expect((await made.get('/api/products/7')).text).toBe('product 3');
    },
  );

  /** The second response, and the reason why the first was not stored. */
  async function twice(
    build: (app: Express, handler: (name: string) => (req: Request, res: Response) => void) => void,
    rules: Record<string, CacheRule>,
    path: string,
    before?: (app: Express) => void,
  ) {
    const made = await cacheApp({
      express,
      cache: { routes: rules },
      before,
      routes: (app, { count }) =>
        build(app, (name) => (_req, res) => void res.send(`${name} ${count(name)}`)),
    });
    const first = await made.get(path);
    return { text: (await made.get(path)).text, status: first.cacheStatus };
  }
  const minute = (...paths: string[]): Record<string, CacheRule> =>
    Object.fromEntries(paths.map((path) => [path, { ttl: '1m' }]));
  const optional = express === express5 ? '/docs{/:page}' : '/docs/:page?';
  const rest = express === express5 ? '/x/*rest' : '/x/*';
  const strict = (app: Express) => void app.enable('strict routing');
  const sensitive = (app: Express) => void app.enable('case sensitive routing');

  it.each<[string, string, string, Parameters<typeof twice>[0], ((app: Express) => void)?]>([
    [
      'an optional part that is spelled out',
      '/docs{/:page}',
      '/docs/mine',
      (app, handler) => {
        app.get('/docs/mine', handler('mine'));
        app.get(optional, handler('page'));
      },
    ],
    [
      'a part of a segment that is spelled out',
      '/files/:name.:ext',
      '/files/a.json',
      (app, handler) => {
        app.get('/files/:name.json', handler('json'));
      },
    ],
    [
      'a parameter with a text before it',
      '/p/:id',
      '/p/sale-1',
      (app, handler) => {
        app.get('/p/sale-:id', handler('sale'));
      },
    ],
    [
      'a handler that is mounted above',
      '/x/:id/y',
      '/x/1/y',
      (app, handler) => app.use('/x', handler('gate')),
    ],
    [
      'a handler that is mounted within',
      '/x/:id/y',
      '/x/1/y',
      (app, handler) => app.use('/x/:id', handler('gate')),
    ],
    [
      'a sub-app that is mounted above',
      '/x/:id/y',
      '/x/1/y',
      (app, handler) => {
        app.use('/x', express().use(handler('gate')));
      },
    ],
    [
      'a middleware of a mounted router',
      '/x/:id/y',
      '/x/1/y',
      (app, handler) => {
        app.use('/x', express.Router().use(handler('gate')).get('/:id/y', handler('y')));
      },
    ],
    ['a route for all paths below', '/x/:id/y', '/x/1/y', (app, handler) => app.all(rest, handler('gate'))],
    [
      'a route that begins with a wildcard',
      '/x/:id/y',
      '/x/1/y',
      (app, handler) => app.get(express === express5 ? '/*rest/y' : '/*/y', handler('gate')),
    ],
    [
      'a handler that is mounted after a route',
      '/x/:id',
      '/x/1',
      (app, handler) => {
        app.get('/x/:id', (_req, _res, next) => next());
        app.use('/x', handler('gate'));
      },
    ],
    ['a regular expression', '/x/:id', '/x/mine', (app, handler) => app.get(/^\/x\/mine$/, handler('mine'))],
    [
      'another case in a case-sensitive app',
      '/Report',
      '/report',
      (app, handler) => {
        app.get('/report', handler('other'));
      },
      sensitive,
    ],
    [
      'another case that matches a parameter',
      '/Report',
      '/report',
      (app, handler) => {
        app.get('/:page', handler('other'));
      },
      sensitive,
    ],
    [
      'another case in a case-sensitive router',
      '/in/Report',
      '/in/report',
      (app, handler) => {
        const router = express.Router({ caseSensitive: true });
        router.get('/Report', handler('report'));
        router.get('/report', handler('other'));
        app.use('/in', router);
      },
    ],
    [
      'a trailing slash in a strict app',
      '/list',
      '/list/',
      (app, handler) => {
        app.get('/list', handler('list'));
        app.get('/list/', handler('other'));
      },
      strict,
    ],
    [
      'a trailing slash at the root of the app',
      '/list',
      '/list/',
      (app, handler) => {
        app.use(handler('other'));
      },
      strict,
    ],
    [
      'a missing slash that the rule has',
      '/list/',
      '/list',
      (app, handler) => {
        app.get('/list', handler('other'));
      },
      strict,
    ],
    [
      'a trailing slash in a strict router',
      '/in/list',
      '/in/list/',
      (app, handler) => {
        const router = express.Router({ strict: true });
        router.get('/list', handler('list'));
        router.get('/list/', handler('other'));
        app.use('/in', router);
      },
    ],
  ])(
    'does not store the response of a route that matches a rule but is %s [C03]',
    async (_case, rule, path, build, before) => {
      const got = await twice(build, minute(rule), path, before);
      expect(got.text).toMatch(/ 2$/);
      expect(got.status).toContain('detail=route');
    },
  );

  it.each<[string, string, string, Parameters<typeof twice>[0], ((app: Express) => void)?]>([
    [
      'the optional part left out',
      '/docs{/:page}',
      '/docs',
      (app, handler) => app.get(optional, handler('page')),
    ],
    [
      'the optional part taken',
      '/docs{/:page}',
      '/docs/a',
      (app, handler) => app.get(optional, handler('page')),
    ],
    [
      'one of two routes for its two forms',
      '/docs{/:page}',
      '/docs/a',
      (app, handler) => {
        app.get('/docs', handler('all'));
        app.get('/docs/:name', handler('one'));
      },
    ],
    [
      'a mount with a part-segment parameter',
      '/v:version/items',
      '/v1/items',
      (app, handler) => {
        app.use('/v:version', express.Router().get('/items', handler('items')));
      },
    ],
    [
      'a mount with a parameter',
      '/:tenant/items/:id',
      '/acme/items/7',
      (app, handler) => {
        app.use('/:tenant', express.Router().get('/items/:id', handler('items')));
      },
    ],
    [
      'the root of a mounted router',
      '/list/',
      '/list',
      (app, handler) => {
        app.use('/list', express.Router().get('/', handler('list')));
      },
    ],
    [
      'a mounted handler under a wildcard rule',
      '/x/*path',
      '/x/1/y',
      (app, handler) => app.use('/x', handler('x')),
    ],
    [
      'a route under a wildcard rule',
      '/x/*path',
      '/x/mine',
      (app, handler) => app.get('/x/mine', handler('x')),
    ],
    [
      'a handler mounted where the rule ends',
      '/x/:id',
      '/x/1',
      (app, handler) => app.use('/x/:id', handler('x')),
    ],
    ['the whole app', '/x/:id/y', '/x/1/y', (app, handler) => app.use(handler('app'))],
    [
      'the exact spelling in a strict, case-sensitive app',
      '/List/',
      '/List/',
      (app, handler) => {
        app.get('/List/', handler('list'));
      },
      (app) => {
        strict(app);
        sensitive(app);
      },
    ],
    [
      'another case of the URL in a case-insensitive app',
      '/list',
      '/LIST',
      (app, handler) => {
        app.get('/list', handler('list'));
      },
    ],
  ])('stores the route that a rule was written for: %s [C03]', async (_case, rule, path, build, before) => {
    expect((await twice(build, minute(rule), path, before)).text).toMatch(/ 1$/);
  });

  it('stores with cache.route() where a rule does not apply, as detail=route advises [C03]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: minute('/x/:id/y') },
      routes: (app, { cache, count }) =>
        app.use('/x', cache.route({ ttl: '1m' }), (_req, res) => void res.send(`run ${count()}`)),
    });
    await made.get('/x/1/y');
    expect((await made.get('/x/1/y')).text).toBe('run 1');
  });

  it.each(['text/html', 'application/json', 'text/css'])(
    'ignores the content type (%s): stores nothing without a rule or Cache-Control [C04]',
    async (type) => {
      const made = await cacheApp({
        express,
        cache: { routes: STATIC },
        routes: (app, inner) => {
          app.use((_req, res, next) => {
            res.type(type);
            next();
          });
          build(app, inner);
        },
      });
      await attack(made, '/account/x.css');
      // Anonymous requests only: still nothing is stored.
      await made.get('/account/y.css');
      const runs = made.runs('account');
      expectOnlyOwn(await made.get('/account/y.css'), undefined, [CANARY]);
      expect(made.runs('account')).toBe(runs + 1);
      expect(made.cache.stats().entries).toBe(0);
    },
  );
});
