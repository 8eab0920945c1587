import type { Express, NextFunction, Request, Response } from 'express';
import type { CacheRule, StandaloneCacheOptions } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { type CacheApp, cacheApp, type Handler } from '../../helpers/cache.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { majors, waitFor } from '../../helpers/http.js';

type Middleware = (req: Request, res: Response, next: NextFunction) => void;

/** A session from a query parameter, which no cache treats as a credential: `?as=ann`. */
const session: Middleware = (req, _res, next) => {
  const user = new URL(req.originalUrl, 'http://x').searchParams.get('as') ?? req.get('x-as');
  Object.assign(req, { session: user ? { user } : undefined });
  next();
};
const userOf = (req: Request) => (req as unknown as { session?: { user: string } }).session?.user;

describe.each(majors)('requests that change after the cache (%s)', (_name, express) => {
  const app = (
    behind: Middleware,
    handler: Handler,
    rule: CacheRule = {},
    cache: StandaloneCacheOptions = {},
    routes: (app: Express, made: CacheApp) => void = (inner, { count }) =>
      inner.get('/x', (req, res) => {
        count();
        return handler(req, res);
      }),
  ) =>
    cacheApp({
      express,
      cache: { routes: { '/x': { ttl: '1m', ...rule } }, ...cache },
      routes(inner, made) {
        inner.use(behind);
        routes(inner, made);
      },
    });

  /** A gateway that identifies clients by something that is no credential for the cache, here their address. */
  const gateway: Middleware = (req, _res, next) => {
    delete req.headers['x-user-id'];
    if (req.headers['x-real-ip'] === '10.0.0.1') req.headers['x-user-id'] = 'alice';
    next();
  };
  const mail: Handler = (req, res) =>
    res.vary('X-User-Id').send(`mail of ${req.headers['x-user-id'] ?? 'anonymous'}`);
  const alice = { 'x-real-ip': '10.0.0.1' };

  it.each<[string, CacheRule, StandaloneCacheOptions]>([
    ['a rule', {}, {}],
    ['a rule that names the header', { vary: { headers: ['x-user-id'] } }, {}],
    ['the standard only', {}, { profile: 'rfc9111' }],
  ])(
    'does not store a response made for a header that a gateway set, under %s [B21, A08]',
    async (_case, rule, cache) => {
      const made = await app(gateway, mail, rule, cache);
      const own = await made.get('/x', alice);
      expect(own).toMatchObject({ text: 'mail of alice' });
      expect(own.cacheStatus).toContain('detail=header-changed');
      expect((await made.get('/x', { 'x-user-id': 'alice' })).text).toBe('mail of anonymous');
      expect((await made.get('/x')).text).toBe('mail of anonymous');
      expect((await made.get('/x', alice)).text).not.toBe('mail of bob');
      expect((await made.get('/x', { 'x-user-id': 'alice' })).text).toBe('mail of anonymous');
    },
  );

  it.each<[string, Middleware]>([
    [
      'replaces the headers',
      (req, _res, next) => {
        Object.defineProperty(req, 'headers', { value: { ...req.headers, 'x-user-id': 'alice' } });
        next();
      },
    ],
    [
      'defines a getter',
      (req, _res, next) => {
        Object.defineProperty(req.headers, 'x-user-id', { get: () => 'alice', enumerable: true });
        next();
      },
    ],
    [
      'sets a list',
      (req, _res, next) => {
        req.headers['x-user-id'] = ['alice'];
        next();
      },
    ],
  ])('notices the change also when a middleware %s [B21]', async (_case, behind) => {
    const made = await app(behind, mail);
    await made.get('/x', { 'x-user-id': 'bob' });
    expect(made.cache.stats().entries).toBe(0);
  });

  it('builds the key from headers that a middleware set before the cache [B03]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: '1m', vary: { headers: ['x-tenant'] } } } },
      before: (outer) =>
        outer.use((req, _res, next) => {
          req.headers['x-tenant'] = req.hostname.split('.')[0]!;
          next();
        }),
      routes: (inner, { count }) =>
        inner.get('/x', (req, res) => void res.send(`${req.headers['x-tenant']} ${count()}`)),
    });
    const of = async (tenant: string) =>
      (await made.raw(`GET /x HTTP/1.1\nHost: ${tenant}.example\nConnection: close`)).text;
    expect([await of('a'), await of('b'), await of('a')]).toEqual(['a 1', 'b 2', 'a 1']);
  });

  it('uses the current headers when cache.route() is mounted after the gateway [B21]', async () => {
    const made = await app(gateway, mail, {}, {}, (inner, { cache, count }) =>
      inner.get('/y', cache.route({ ttl: '1m' }), (req, res) => {
        count();
        return mail(req, res);
      }),
    );
    for (let i = 0; i < 2; i++) {
      expect((await made.get('/y', alice)).text).toBe('mail of alice');
      expect((await made.get('/y', { 'x-user-id': 'alice' })).text).toBe('mail of anonymous');
    }
    expect(made.runs()).toBe(2);
  });

  it('stores a response after a header was deleted, as proxies delete Accept-Encoding [A08]', async () => {
    const made = await app(
      (req, _res, next) => {
        delete req.headers['accept-encoding'];
        next();
      },
      (_req, res) => res.vary('Accept-Encoding').send('x'),
    );
    await made.get('/x');
    expect((await made.get('/x')).xCache).toBe('HIT');
  });

  it("does not count hotpath's own changes of the request [B13]", async () => {
    const made = await app(
      (_req, _res, next) => next(),
      (_req, res) => res.vary('If-None-Match').vary('Surrogate-Capability').send('x'),
      { ignoreQuery: ['utm_*'] },
      { targets: ['surrogate-control'] },
    );
    const headers = { 'if-none-match': '"a"', 'surrogate-capability': 'edge="Surrogate/1.0"' };
    await made.get('/x?utm_a=1', headers);
    expect((await made.get('/x', headers)).xCache).toBe('HIT');
  });

  it.each(['rule', 'vary'])(
    'does not store a response after a change of a cookie in the key, by %s [A04]',
    async (by) => {
      const made = await app(
        (req, _res, next) => {
          req.headers.cookie = `theme=${req.headers['x-theme'] ?? 'light'}`;
          next();
        },
        (req, res) => (by === 'vary' ? res.vary('Cookie') : res).send(`${req.headers.cookie}`),
        { vary: { cookies: ['theme'] } },
      );
      await made.get('/x', { cookie: 'theme=light', 'x-theme': 'dark' });
      expect((await made.get('/x', { cookie: 'theme=light' })).text).toBe('theme=light');
      expect((await made.get('/x')).cacheStatus).toContain('detail=header-changed');
    },
  );

  it('treats a credential that a middleware sets later as a credential [A02]', async () => {
    const made = await app(
      (req, _res, next) => {
        if (req.headers['x-real-ip']) req.headers.authorization = `Bearer ${req.headers['x-real-ip']}`;
        next();
      },
      (req, res) => res.send(`for ${req.headers.authorization ?? 'anonymous'}`),
    );
    expect((await made.get('/x', alice)).cacheStatus).toContain('detail=authorization');
    expect((await made.get('/x')).text).toBe('for anonymous');
  });

  const partition: NonNullable<CacheRule['partition']> = ({ req }) => userOf(req as Request) ?? 'guest';
  const page: Handler = (req, res) => res.send(`page of ${userOf(req) ?? 'guest'}`);

  it('does not store a page whose partition is set after the cache [A04, B20]', async () => {
    const made = await app(session, page, { partition });
    const ann = await made.get('/x', { 'x-as': 'ann' });
    expect(ann.text).toBe('page of ann');
    expect(ann.cacheStatus).toBe('hotpath; fwd=uri-miss; detail=partition-changed');
    expect((await made.get('/x')).text).toBe('page of guest');
    expect((await made.get('/x', { 'x-as': 'bob' })).text).toBe('page of guest');
    expect(made.cache.stats().entries).toBe(1);
  });

  it('does not store it in cache.route() before the session either [A04]', async () => {
    const made = await app(
      (_req, _res, next) => next(),
      page,
      {},
      {},
      (inner, { cache }) => inner.get('/y', cache.route({ ttl: '1m', partition }), session, page),
    );
    expect((await made.get('/y', { 'x-as': 'ann' })).cacheStatus).toContain('detail=partition-changed');
    expect((await made.get('/y')).text).toBe('page of guest');
  });

  it.each(['before the headers', 'while the headers go', 'while the body goes'])(
    'serves no waiting request a page whose partition changes %s [H02]',
    async (when) => {
      const held: (() => void)[] = [];
      const made = await app(
        (_req, _res, next) => next(),
        (req, res) => {
          const user = req.get('x-as');
          const know = () => Object.assign(req, { session: user ? { user } : undefined });
          if (when === 'before the headers') know();
          const { writeHead } = res;
          if (when === 'while the headers go') {
            res.writeHead = function (this: Response, ...given: unknown[]) {
              const result = writeHead.apply(this, given as never);
              know();
              return result;
            } as never;
          }
          const text = `page of ${user ?? 'guest'}`;
          if (!user) return void res.send(text);
          held.push(() => {
            res.set('Content-Length', String(text.length)).write(text.slice(0, 4));
            setImmediate(() => {
              if (when === 'while the body goes') know();
              res.end(text.slice(4));
            });
          });
        },
        { partition },
      );
      const first = made.get('/x', { 'x-as': 'ann' });
      await waitFor(() => held.length === 1);
      const others = [made.get('/x'), made.get('/x')].map((got) => got.catch(() => undefined));
      await waitFor(() => made.requests() === 3);
      held[0]!();
      expect((await first).text).toBe('page of ann');
      // A request that followed the body is aborted, since the body turned out to belong to another user.
      for (const got of await Promise.all(others)) expect(got?.text ?? 'page of guest').toBe('page of guest');
      expect((await made.get('/x')).text).toBe('page of guest');
    },
  );

  it('does not store a page for which `when` no longer holds [A04]', async () => {
    const made = await app(session, page, { when: ({ req }) => userOf(req as Request) === undefined });
    expect((await made.get('/x', { 'x-as': 'ann' })).cacheStatus).toContain('detail=when-changed');
    expect((await made.get('/x')).text).toBe('page of guest');
  });

  it('calls the functions of a rule with the URL from before any router changed it [B18]', async () => {
    const made = await app(
      (_req, _res, next) => next(),
      page,
      {},
      {
        routes: {
          '/in/:name': {
            ttl: '1m',
            when: ({ req }) => (req as Request).path.startsWith('/in/'),
            partition: ({ req, params }) => `${(req as Request).path} ${params.name}`,
          },
        },
      },
      (inner, { count }) => {
        const router = express.Router();
        router.get('/:name', (req, res) => void res.send(`${req.path} ${count()}`));
        inner.use('/in', router);
      },
    );
    expect((await made.get('/in/a')).text).toBe('/a 1');
    expect((await made.get('/in/a')).text).toBe('/a 1');
  });

  it('warns once per rule, with the remedy and the remaining effect [K14]', async () => {
    const warnings: Error[] = [];
    const collect = (warning: Error) => {
      if ((warning as { code?: string }).code === 'HOTPATH_RULE_CHANGED') warnings.push(warning);
    };
    process.on('warning', collect);
    try {
      const made = await app(session, page, {}, { routes: { '/x': { ttl: '1m', partition } } });
      for (const user of ['ann', 'ben', 'ann']) await made.get(`/x?as=${user}`);
      await waitFor(() => warnings.length > 0);
      await made.get('/x?as=cid');
      await nextTurn();
    } finally {
      process.off('warning', collect);
    }
    expect(warnings).toHaveLength(1);
    expect(warnings[0]!.message).toContain(`routes["/x"].cache`);
    expect(warnings[0]!.message).toContain('perf.cache.route(');
    expect(warnings[0]!.message).toContain('still get the entries of the first value');
    expect(warnings[0]!.message).not.toMatch(/ann|ben/);
  });
});
