import type { Express, Request, Response } from 'express';
import type { CacheRule } from 'hotpath/cache';
import { responseCache } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { majors } from '../../helpers/http.js';

const RULE: Record<string, CacheRule> = { '/*path': { ttl: '1m' } };

/** The information that a handler has about the target of a request. */
const place = (req: Request) =>
  `${req.protocol}://${req.hostname}|${req.originalUrl}|${JSON.stringify(req.query)}`;

describe.each(majors)('the key (%s)', (_name, express) => {
  const app = (
    handler: (req: Request, res: Response) => unknown,
    rule: CacheRule = {},
    before?: (app: Express) => void,
  ) =>
    cacheApp({
      express,
      cache: { routes: { '/*path': { ttl: '1m', ...rule } } },
      before,
      routes: (inner, made) =>
        inner.use((req, res) => {
          made.count();
          handler(req, res);
        }),
    });
  const ask = async (made: CacheApp, target: string, ...headers: string[]) =>
    (await made.raw([`GET ${target} HTTP/1.1`, ...headers, 'Connection: close'].join('\n'))).text;

  it('never serves the page of one host for another [B01]', async () => {
    const made = await app((req, res) => res.send(`host ${req.headers.host}`));
    expect(await ask(made, '/x', 'Host: evil.example')).toBe('host evil.example');
    expect(await ask(made, '/x', 'Host: good.example')).toBe('host good.example');
    expect(await ask(made, '/x', 'Host: good.example:81')).toBe('host good.example:81');
    expect(await ask(made, '/x', 'Host: evil.example')).toBe('host evil.example');
    expect(made.runs()).toBe(3);
  });

  const POISONS = [
    'X-Forwarded-Host: evil.example',
    'X-Forwarded-Host: evil.example, good.example',
    'X-Forwarded-Proto: https',
    'X-Forwarded-Proto: https, http',
    'Forwarded: host=evil.example;proto=https',
  ];
  it.each<[string, unknown]>([
    ['true', true],
    ['false', false],
    ["'10.0.0.1'", '10.0.0.1'],
    ["'loopback'", 'loopback'],
    ['1', 1],
    ['2', 2],
  ])('uses the host and scheme that the app sees, with `trust proxy` %s [B02]', async (_case, trust) => {
    const made = await app(
      (req, res) => res.send(place(req)),
      {},
      (outer) => outer.set('trust proxy', trust),
    );
    // The response of the same app without a cache.
    const plain = await cacheApp({
      express,
      before: (outer) => outer.set('trust proxy', trust),
      routes: (inner) => inner.use((req, res) => void res.send(place(req))),
    });
    for (const poison of [...POISONS, 'X-Nothing: 1', ...POISONS, 'X-Nothing: 1']) {
      expect(await ask(made, '/x', 'Host: good.example', poison)).toBe(
        await ask(plain, '/x', 'Host: good.example', poison),
      );
    }
    // The headers of an untrusted proxy create no second entry.
    if (trust === false || trust === '10.0.0.1') expect(made.runs()).toBe(1);
  });

  it('separates the values of headers that the rule or the response names [B03]', async () => {
    const names = [
      'x-forwarded-scheme',
      'x-forwarded-port',
      'x-original-url',
      'x-rewrite-url',
      'x-host',
      'origin',
      'accept-language',
      'x-custom',
    ];
    for (const name of names) {
      for (const by of ['rule', 'response']) {
        const made = await app(
          (req, res) => (by === 'response' ? res.vary(name) : res).send(`${req.headers[name]}`),
          by === 'rule' ? { vary: { headers: [name] } } : {},
        );
        expect(await ask(made, '/x', `${name}: evil`)).toBe('evil');
        expect(await ask(made, '/x')).toBe('undefined');
        expect(await ask(made, '/x', `${name}: evil`)).toBe('evil');
        expect(made.runs()).toBe(2);
      }
    }
  });

  it.each([
    ['a length', 'Content-Length: 6', 'a=evil'],
    ['chunks', 'Transfer-Encoding: chunked', '6\r\na=evil\r\n0\r\n\r\n'],
  ])(
    'neither stores nor serves from the store for a GET with a body, sent with %s [B04]',
    async (_case, header, body) => {
      const made = await app(
        (req, res) => res.send(`a ${(req.body as { a?: string } | undefined)?.a ?? req.query.a}`),
        {},
        (outer) => outer.use(express.urlencoded({ extended: true })),
      );
      const fat = async () =>
        (
          await made.raw(
            `GET /x?a=1 HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\n${header}\nConnection: close`,
            body,
          )
        ).text;
      expect(await fat()).toBe('a evil');
      expect((await made.get('/x?a=1')).text).toBe('a 1');
      expect(await fat()).toBe('a evil');
      expect((await made.get('/x?a=1')).text).toBe('a 1');
      expect(made.runs()).toBe(3);
    },
  );

  it('does not store the response to a GET whose body a parser read and hid [B04]', async () => {
    const made = await app(
      (req, res) => res.send(`a ${(req.body as { a?: string } | undefined)?.a ?? req.query.a}`),
      {},
      (outer) => {
        outer.use(express.urlencoded({ extended: true }), (req, _res, next) => {
          delete req.headers['content-length'];
          next();
        });
      },
    );
    const form = 'Content-Type: application/x-www-form-urlencoded\nContent-Length: 6\nConnection: close';
    const fat = await made.raw(`GET /x?a=1 HTTP/1.1\n${form}`, 'a=evil');
    expect([fat.text, fat.header('cache-status')]).toEqual(['a evil', 'hotpath; fwd=uri-miss; detail=body']);
    expect((await made.get('/x?a=1')).text).toBe('a 1');
  });

  const QUERIES = [
    '',
    '?',
    '?a=1',
    '?a=1;b=2',
    '?a=1&b=2',
    '?b=2&a=1',
    '?a=1&a=2',
    '?a=2&a=1',
    '?a[]=1',
    '?a%5B%5D=1',
    '?a%26b=1',
    '?a&b=1',
    '?__proto__[x]=1',
    '?a=%00',
    '?=1',
    '?&&a=1',
    '?a=1&',
    '?A=1',
    '?a=%31',
    '?a=+1',
    '?a=%201',
    '?a=%C0',
    '?a=%C1',
    '?a=%',
    '?a=%zz',
    '?a=e%CC%81',
    '?a=%C3%A9',
    '?a=%ED%A0%80',
    '?a[b]=1',
    '?a.b=1',
    '?a=1?b=2',
    '?a[0]=1',
    '?a=1,2',
  ]; // prettier-ignore
  it.each(['simple', 'extended'])(
    'never shares an entry between two queries, with the %s parser [B05, B08]',
    async (parser) => {
      const made = await app(
        (req, res) => res.send(place(req)),
        {},
        (outer) => outer.set('query parser', parser),
      );
      const first = new Map<string, string>();
      for (const query of QUERIES) first.set(query, await ask(made, `/x${query}`));
      expect(made.runs()).toBe(QUERIES.length);
      for (const query of [...QUERIES].reverse()) {
        expect(await ask(made, `/x${query}`)).toBe(first.get(query));
        expect(first.get(query)).toContain(`|/x${query}|`);
      }
      expect(made.runs()).toBe(QUERIES.length);
    },
  );

  it.each(['/x/%C0', '/x/%C1', '/x/%', '/x/%zz', '/x/e%CC%81', '/x/%C3%A9', '/x/%ED%A0%80'])(
    'stores the path %s as a separate entry, without an error [B08]',
    async (path) => {
      const made = await app((req, res) => res.send(req.originalUrl));
      await ask(made, '/x/%C2');
      const answer = Buffer.from(await ask(made, path)).toString();
      expect(answer).not.toBe('/x/%C2');
      expect(made.runs()).toBe(2);
      expect(made.faults).toEqual([]);
    },
  );

  const PATHS = [
    '/profile',
    '/PROFILE',
    '/profile/',
    '//profile',
    '/./profile',
    '/%70rofile',
    '/profile;x.css',
    '/profile%2f',
    '/profile%2fx',
    '/x/../profile',
    '/profile%20',
    '/profile.',
    '/profile%00',
    '/profile#x',
    '/profile?',
    '/\\profile',
  ]; // prettier-ignore
  it.each([
    ['by default', false],
    ['with case-sensitive and strict routing', true],
  ])('serves each spelling of a path what Express serves for it, %s [B09]', async (_case, strict) => {
    const build = (outer: Express, made?: CacheApp) => {
      outer.get('/profile', (req, res) => void res.send(`profile ${made?.count()} ${req.originalUrl}`));
      outer.get('/:other', (req, res) => void res.send(`other ${made?.count()} ${req.originalUrl}`));
      outer.use((req, res) => void res.status(404).send(`none ${req.originalUrl}`));
    };
    const configure = (outer: Express) => {
      if (strict) outer.enable('strict routing').enable('case sensitive routing');
    };
    const made = await cacheApp({ express, cache: { routes: RULE }, before: configure, routes: build });
    const plain = await cacheApp({ express, before: configure, routes: (outer) => build(outer) });
    for (const path of [...PATHS, ...PATHS]) {
      const [kind, , ...rest] = (await ask(made, path)).split(' ');
      const [wanted, , ...seen] = (await ask(plain, path)).split(' ');
      expect([path, kind, ...rest]).toEqual([path, wanted, ...seen]);
    }
  });

  it('stores no absolute target, and serves it from no other entry [B10]', async () => {
    const made = await app((req, res) => res.send(`see ${req.originalUrl}`));
    for (let i = 0; i < 50; i++) {
      const target = `http://evil${i}.example/x`;
      expect(await ask(made, target, 'Host: good.example')).toBe(`see ${target}`);
    }
    expect(made.cache.stats().entries).toBe(0);
    expect(await ask(made, '/x', 'Host: good.example')).toBe('see /x');
    expect(await ask(made, 'http://evil.example/x', 'Host: good.example')).toBe('see http://evil.example/x');
    expect(await ask(made, '/x', 'Host: good.example')).toBe('see /x');
  });

  it.each(['#x', '%23x', '\u00a0', '\u00a0x'])(
    'matches a target with %j as the same path that Express sees [B10]',
    async (end) => {
      const seen: string[] = [];
      const made = await cacheApp({
        express,
        cache: { routes: { '/:page': { ttl: '1m' } } },
        routes: (outer) =>
          outer.use((req, res) => {
            seen.push(req.path);
            res.send(req.path);
          }),
      });
      const bytes = Buffer.from(`GET /page${end} HTTP/1.1`, 'latin1').toString('latin1');
      const first = await made.raw(`${bytes}\nConnection: close`).catch(() => undefined);
      // Node may reject such a target itself.
      if (first?.status === 200 && seen[0] !== `/page${end}`) expect(made.cache.stats().entries).toBe(0);
      expect((await made.get('/page')).text).toBe('/page');
    },
  );

  it('uses the Host line that the app sees when there are two [B11]', async () => {
    const made = await app((req, res) => res.send(`host ${req.headers.host}`));
    const both = await made.raw('GET /x HTTP/1.1\nHost: good.example\nHost: evil.example\nConnection: close');
    if (both.status === 200) expect(both.text).toBe('host good.example');
    else expect(both.status).toBe(400);
    expect(await ask(made, '/x', 'Host: evil.example')).toBe('host evil.example');
    expect(await ask(made, '/x', 'Host: good.example')).toBe('host good.example');
  });

  it('keeps the order of parameters in the key [B12]', async () => {
    const made = await app((req, res) => res.send(JSON.stringify(req.query)), { ignoreQuery: ['x'] });
    expect((await made.get('/x?a=1&x=1&a=2')).text).toBe('{"a":["1","2"]}');
    expect((await made.get('/x?a=2&a=1')).text).toBe('{"a":["2","1"]}');
    expect((await made.get('/x?x=2&a=1&a=2')).text).toBe('{"a":["1","2"]}');
    expect(made.runs()).toBe(2);
  });

  const IGNORING: [string, CacheRule][] = [
    ['ignoreQuery', { ignoreQuery: ['utm_*', 'fbclid'] }],
    ['vary.query', { vary: { query: ['q'] } }],
  ];
  it.each(IGNORING)('hides from the handler what %s leaves out of the key [B13]', async (_case, rule) => {
    const see = (req: Request) =>
      [req.originalUrl, req.url, JSON.stringify(req.query), new URL(req.originalUrl, 'http://x').search].join(
        ' ',
      );
    const made = await app((req, res) => res.send(see(req)), rule);
    const clean = '/x?q=1 /x?q=1 {"q":"1"} ?q=1';
    for (const query of [
      '?q=1&utm_source=evil',
      '?utm_source=evil&q=1',
      '?q=1&utm%5Fsource=evil',
      '?q=1&fbclid=evil',
      '?q=1&utm_source[]=evil',
      '?q=1',
    ]) {
      expect((await made.get(`/x${query}`)).text).toBe(clean);
    }
    expect(made.runs()).toBe(1);
  });

  it.each(IGNORING)(
    'shows the handler the same for bypassed and cached requests, with %s [B13]',
    async (_case, rule) => {
      const made = await app((req, res) => res.send(req.originalUrl), rule);
      expect((await made.get('/x?q=1&utm_a=evil', { cookie: 'a=1' })).text).toBe('/x?q=1');
      expect((await made.get('/x?q=1&utm_a=evil')).text).toBe('/x?q=1');
    },
  );

  it('restores ignored parameters for the log, and keeps changes of req.url [B13]', async () => {
    const logged: string[] = [];
    const made = await app(
      (req, res) => res.send(`${req.url} ${JSON.stringify(req.query)}`),
      { ignoreQuery: ['utm_*'] },
      (outer) => {
        outer.use((req, res, next) => {
          res.on('finish', () => logged.push(req.originalUrl));
          req.url += '&tenant=t1';
          // Express 4 has parsed the query by now; middlewares that rewrite it do so too.
          if (Object.hasOwn(req, 'query')) req.query = { ...req.query, tenant: 't1' };
          next();
        });
      },
    );
    expect((await made.get('/x?q=1&utm_a=1')).text).toBe('/x?q=1&tenant=t1 {"q":"1","tenant":"t1"}');
    expect(logged).toEqual(['/x?q=1&utm_a=1']);
  });

  it('keeps separate entries for each place where a router is mounted [B18]', async () => {
    const made = await cacheApp({
      express,
      routes: (outer, { count }) => {
        const cache = responseCache({ routes: RULE });
        const router = express.Router();
        router.use(cache);
        router.get('/items', (req, res) => void res.send(`${req.baseUrl} ${count()}`));
        outer.use('/a', router);
        outer.use('/b', router);
      },
    });
    for (const [path, text] of [
      ['/a', '/a 1'],
      ['/b', '/b 2'],
      ['/a', '/a 1'],
      ['/b', '/b 2'],
    ]) {
      expect((await made.get(`${path}/items`)).text).toBe(text);
    }
  });

  it('keeps a separate entry for a URL rewritten before the cache [B18]', async () => {
    const made = await app(
      (req, res) => res.send(`page ${req.url}`),
      {},
      (outer) =>
        outer.use((req, _res, next) => {
          if (req.headers['x-beta']) req.url = `/beta${req.url}`;
          next();
        }),
    );
    expect((await made.get('/x', { 'x-beta': '1' })).text).toBe('page /beta/x');
    expect((await made.get('/x')).text).toBe('page /x');
    expect((await made.get('/x', { 'x-beta': '1' })).text).toBe('page /beta/x');
    expect(made.runs()).toBe(2);
  });

  it('never shares entries between two handlers with cache.route() on one path [B18]', async () => {
    const made = await cacheApp({
      express,
      routes: (outer, { cache, count }) => {
        const onlyAdmins = (req: Request, _res: Response, next: (to?: 'route') => void) =>
          req.get('x-role') === 'admin' ? next() : next('route');
        outer.get(
          '/x',
          onlyAdmins,
          cache.route({ ttl: '1m' }),
          (_req, res) => void res.send(`secret ${count()}`),
        );
        outer.get('/x', cache.route({ ttl: '1m' }), (_req, res) => void res.send(`public ${count()}`));
      },
    });
    expect((await made.get('/x', { 'x-role': 'admin' })).text).toBe('secret 1');
    expect((await made.get('/x')).text).toBe('public 2');
    expect((await made.get('/x', { 'x-role': 'admin' })).text).toBe('secret 1');
    expect((await made.get('/x')).text).toBe('public 2');
  });

  it('is not poisoned by a sub-app that trusts proxies when the app does not [B18]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: RULE },
      before: (outer) => outer.set('trust proxy', false),
      routes: (outer, { count }) => {
        const inner = express();
        inner.set('trust proxy', true);
        inner.get('/x', (req, res) => {
          count();
          res.send(`${req.protocol}://${req.hostname}`);
        });
        outer.use('/sub', inner);
      },
    });
    expect(await ask(made, '/sub/x', 'Host: good.example', 'X-Forwarded-Host: evil.example')).toBe(
      'http://evil.example',
    );
    expect(await ask(made, '/sub/x', 'Host: good.example', 'X-Forwarded-Proto: https')).toBe(
      'https://good.example',
    );
    expect(await ask(made, '/sub/x', 'Host: good.example')).toBe('http://good.example');
  });

  it('keeps entries and purges of two caches apart [B19]', async () => {
    const one = await app((_req, res) => res.send('one'));
    const two = await app((_req, res) => res.send('two'));
    for (const made of [one, two, one, two]) {
      expect(await ask(made, '/x', 'Host: same.example')).toBe(made === one ? 'one' : 'two');
    }
    await one.cache.purge({ all: true });
    await ask(one, '/x', 'Host: same.example');
    await ask(two, '/x', 'Host: same.example');
    expect([one.runs(), two.runs()]).toEqual([2, 1]);
  });

  // Every request header that hotpath reads, and those that control other caches.
  const CONTROLS: Record<string, string> = {
    'Cache-Control': 'no-cache, no-store, max-age=0',
    Pragma: 'no-cache',
    'If-None-Match': '"x"',
    'If-Modified-Since': 'Sun, 06 Nov 1994 08:49:37 GMT',
    Range: 'bytes=5-2',
    'If-Range': '"x"',
    'X-Forwarded-Host': 'evil.example',
    'X-Forwarded-Proto': 'https',
    'X-Forwarded-For': '10.0.0.1',
    Forwarded: 'host=evil.example',
    'X-Request-Id': 'x',
    'X-Cache': 'BYPASS',
    'X-Apicache-Bypass': '1',
    'X-Apicache-Force-Fetch': '1',
    'Cache-Status': 'x',
    'Surrogate-Control': 'no-store',
    'CDN-Cache-Control': 'no-store',
    'X-Nextjs-Data': '1',
    'X-Middleware-Prefetch': '1',
    Purpose: 'prefetch',
    'X-Purge': '1',
    'X-Cache-Purge': '1',
    'X-HTTP-Method-Override': 'PURGE',
    Vary: '*',
    Age: '9999',
    Date: 'Sun, 06 Nov 1994 08:49:37 GMT',
    Expires: '0',
    'Accept-Encoding': 'br',
    Accept: 'x/y',
    'Accept-Language': 'xx',
    'User-Agent': 'x',
    Referer: 'http://evil.example',
    TE: 'trailers',
    Trailer: 'X-A',
    'Content-Length': '0',
    'Max-Forwards': '0',
    Via: '1.1 x',
    Warning: '110',
    'Content-Type': 'x/y',
    'X-Original-URL': '/evil',
  }; // prettier-ignore
  it.each(Object.entries(CONTROLS))(
    'changes neither response nor entry for a request with %s: %s [B21]',
    async (name, value) => {
      const made = await app((_req, res) => res.send(`run ${made.count('shown')}`));
      const clean = await made.get('/x');
      const sent = async () => ask(made, '/x', `${name}: ${value}`);
      expect(await sent()).toBe(clean.text);
      expect((await made.get('/x')).text).toBe(clean.text);
      // A fill with this header is served to all other clients.
      await made.cache.purge({ all: true });
      expect(await sent()).toBe('run 2');
      expect((await made.get('/x')).text).toBe('run 2');
    },
  );

  it('serves Range: bytes=0-0 its part, and changes no entry [B21]', async () => {
    const made = await app((_req, res) => res.send(`run ${made.count('shown')}`));
    const clean = await made.get('/x');
    expect(await made.get('/x', { range: 'bytes=0-0' })).toMatchObject({ status: 206, text: 'r' });
    expect((await made.get('/x')).text).toBe(clean.text);
    await made.cache.purge({ all: true });
    await made.get('/x', { range: 'bytes=0-0' });
    expect((await made.get('/x')).text).toMatch(/^run \d$/);
  });

  it.each(['PURGE', 'BAN', 'REFRESH', 'FLUSH'])('purges nothing for the method %s [B21]', async (method) => {
    const made = await app((req, res) =>
      req.method === 'GET' ? res.send(`run ${made.count('shown')}`) : res.status(404).end(),
    );
    await made.get('/x');
    await made.raw(`${method} /x HTTP/1.1\nConnection: close`);
    expect((await made.get('/x')).text).toBe('run 1');
  });

  // These make a request personal, or exclude stored responses; its handler runs, and nothing else happens.
  it.each([
    ['Cookie', 'a=1'],
    ['Authorization', 'x'],
    ['X-Api-Key', 'x'],
    ['Proxy-Authorization', 'x'],
    ['If-Match', '*'],
    ['If-Unmodified-Since', 'Sun, 06 Nov 2044 08:49:37 GMT'],
    ['Upgrade', 'x'],
  ])('runs the handler for %s: %s and leaves the entry unchanged [B21]', async (name, value) => {
    const made = await app((_req, res) => res.send(`run ${made.count('shown')}`));
    const clean = await made.get('/x');
    await ask(made, '/x', `${name}: ${value}`);
    expect(made.runs('shown')).toBe(2);
    expect((await made.get('/x')).text).toBe(clean.text);
    expect(made.runs('shown')).toBe(2);
  });
});
