import { setTimeout as delay } from 'node:timers/promises';
import type { NextFunction, Request, Response } from 'express';
import { type CacheRule, responseCache } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { answerFrom, type CacheApp, cacheApp, expectOnlyOwn } from '../../helpers/cache.js';
import { gate } from '../../helpers/gate.js';
import { listen, majors, raw, waitFor } from '../../helpers/http.js';

const users = ['alice', 'bob', 'carol', 'dave', 'erin'];
const canaries = users.map((user) => `canary-of-${user}`);
const bearer = (user: string) => ({ Authorization: `Bearer ${user}` });

type Authenticated = Request & { user?: { id: string } };

function authenticate(req: Authenticated, res: Response, next: NextFunction): void {
  const [, id] = /^Bearer (\w+)$/.exec(req.headers.authorization ?? '') ?? [];
  if (!id) return void res.status(401).send('who are you?');
  req.user = { id };
  next();
}

const own: CacheRule = { ttl: 60, partition: ({ req }) => (req as unknown as Authenticated).user?.id };

describe.each(majors)('cache.route() (%s)', (_, express) => {
  /** `/me` of the authenticated user, cached after the authentication. */
  function shop(rule: CacheRule = own, cache = {}): Promise<CacheApp> {
    return cacheApp({
      express,
      cache,
      routes: (app, made) =>
        app.get('/me', authenticate, made.cache.route(rule), async (req: Authenticated, res: Response) => {
          made.count(req.user!.id);
          await delay(5);
          res.send(`canary-of-${req.user!.id}`);
        }),
    });
  }

  it('serves a stored entry only after authentication [A03]', async () => {
    const made = await shop();
    for (let i = 0; i < 2; i++) await made.get('/me', bearer('alice'));
    expect(made.runs('alice')).toBe(1);
    const anonymous = await made.get('/me');
    expect(anonymous.status).toBe(401);
    expectOnlyOwn(anonymous, undefined, canaries);
    expect((await made.get('/me', bearer('alice'))).text).toBe('canary-of-alice');
    expect(made.runs()).toBe(1);
  });

  it('looks up and stores a request once when mounted on the app and on a router [C03]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/again': { ttl: 60 } } },
      routes: (app, { cache, count }) => {
        const router = express.Router();
        router.get('/again', (_req, res) => void res.send(`run ${count()}`));
        app.use(cache);
        app.use(cache, router);
      },
    });
    expect((await made.get('/again')).text).toBe('run 1');
    expect((await made.get('/again')).text).toBe('run 1');
    expect(made.cache.stats()).toMatchObject({ hits: 1, misses: 1, memory: { hits: 1, misses: 1 } });
  });

  it('serves each of many concurrent users only their own response [A02, I-CANARY]', async () => {
    const made = await shop();
    const requests = Array.from({ length: 400 }, async (_none, i) => {
      const user = users[(i * 7) % users.length]!;
      const answer = await made.get('/me', bearer(user));
      expect(answer.text).toBe(`canary-of-${user}`);
      expectOnlyOwn(answer, `canary-of-${user}`, canaries);
    });
    await Promise.all(requests);
    for (const user of users) expect(made.runs(user)).toBe(1);
    expect(made.cache.stats()).toMatchObject({ entries: 5, pending: 0 });
  });

  it("marks a user's response as private for downstream caches [A02]", async () => {
    const made = await shop();
    for (const expected of ['MISS', 'HIT']) {
      const { headers, xCache } = await made.get('/me', bearer('alice'));
      expect(xCache).toBe(expected);
      expect(headers.get('cache-control')).toMatch(/\bprivate\b/);
    }
  });

  it.each<[string, CacheRule['partition']]>([
    ['is empty', () => ''],
    ['is undefined', () => undefined],
    ['is null', () => null],
    ['is NaN', () => Number.NaN],
    ['is an object', () => ({}) as never],
    ['is far too long', () => 'x'.repeat(2000)],
    [
      'throws',
      () => {
        throw new Error('of the hook');
      },
    ],
    ['is a promise', () => Promise.resolve('alice') as never],
    ['rejects', () => Promise.reject(new Error('of the hook')) as never],
  ])('bypasses the cache and stores nothing for a partition that %s [K04]', async (name, partition) => {
    const made = await shop({ ttl: 60, partition });
    for (const user of ['alice', 'bob', 'alice']) {
      const answer = await made.get('/me', bearer(user));
      expect(answer.text).toBe(`canary-of-${user}`);
      expect(answer.cacheStatus).toBe('hotpath; fwd=bypass; detail=no-partition');
    }
    expect(made.runs()).toBe(3);
    expect(made.cache.stats().entries).toBe(0);
    const isFault = /throws|promise|rejects/.test(name);
    expect(made.faults).toHaveLength(isFault ? 3 : 0);
  });

  it('keeps the partitions 1 and "1" apart [A02]', async () => {
    const made = await cacheApp({
      express,
      routes: (app, { cache, count }) =>
        app.get(
          '/x',
          cache.route({ ttl: 60, partition: ({ req }) => (req.headers['x-kind'] === 'number' ? 1 : '1') }),
          (_req, res) => void res.send(`run ${count()}`),
        ),
    });
    const texts = [];
    for (const kind of ['number', 'text', 'number', 'text'])
      texts.push((await made.get('/x', { 'x-kind': kind })).text);
    expect(texts).toEqual(['run 1', 'run 2', 'run 1', 'run 2']);
  });

  it('never shares entries between two routes on one path, even in equal partitions [A02]', async () => {
    const made = await cacheApp({
      express,
      routes: (app, { cache, count }) => {
        const byId: CacheRule = { ttl: 60, partition: ({ req }) => String(req.headers['x-id']) };
        const as = (role: string) => (req: Request, _res: Response, next: (to?: 'route') => void) =>
          req.headers['x-role'] === role ? next() : next('route');
        for (const role of ['customer', 'clerk'])
          app.get('/orders', as(role), cache.route(byId), (_req: Request, res: Response) => {
            res.send(`canary-of-${role} ${count(role)}`);
          });
      },
    });
    for (let i = 0; i < 2; i++)
      for (const role of ['customer', 'clerk'])
        expect((await made.get('/orders', { 'X-Role': role, 'X-Id': '1' })).text).toBe(`canary-of-${role} 1`);
  });

  it('never serves entries of a route from the global middleware [A03]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60 } } },
      routes: (app, { cache, count }) => {
        app.use((req, res, next) => (req.query.deny ? void res.status(403).send('no') : next()));
        app.get('/x', cache.route({ ttl: 60 }), (_req, res) => res.send(`run ${count()}`));
      },
    });
    for (let i = 0; i < 3; i++) expect((await made.get('/x')).text).toBe('run 1');
    expect(made.cache.stats().entries).toBe(1);
    // If the global middleware served it, a middleware between them would not run.
    expect((await made.get('/x?deny=1')).status).toBe(403);
    await made.cache.purge({ all: true });
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('fills once, with one Cache-Status, when both caches could fill [D22]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60, vary: { query: ['a'] } } } },
      routes: (app, { cache, count }) =>
        app.get('/x', cache.route({ ttl: 60 }), async (req, res) => {
          count();
          await delay(20);
          res.send(`${JSON.stringify(req.query)} of ${req.originalUrl}`);
        }),
    });
    const answers = await Promise.all(Array.from({ length: 50 }, () => made.get('/x?a=1&b=2')));
    // The route's own rule applies: every parameter matters, so the handler sees them all.
    for (const { text, cacheStatus } of answers) {
      expect(text).toBe('{"a":"1","b":"2"} of /x?a=1&b=2');
      expect(cacheStatus).not.toContain(',');
    }
    expect(made.runs()).toBe(1);
    expect(made.cache.stats()).toMatchObject({ stores: 1, entries: 1, pending: 0 });
  });

  it('handles conditional requests on hit and fill in either cache [D12]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60 } } },
      routes: (app, { cache, count }) =>
        app.get('/x', cache.route({ ttl: 60 }), (req, res) => {
          count();
          expect(req.headers['if-none-match']).toBeUndefined();
          res.set('ETag', '"one"').send('body');
        }),
    });
    const ask = () => made.raw('GET /x HTTP/1.1\nIf-None-Match: "one"\nConnection: close');
    expect(await ask()).toMatchObject({ status: 304, text: '' });
    expect(await ask()).toMatchObject({ status: 304, text: '' });
    expect((await made.get('/x')).text).toBe('body');
    expect(made.runs()).toBe(1);
  });

  it('purges the entries of every partition by tag or url [H07]', async () => {
    const made = await shop({
      ...own,
      tags: ({ req }) => [`user:${(req as unknown as Authenticated).user!.id}`],
    });
    const all = () => Promise.all(['alice', 'bob'].map((user) => made.get('/me', bearer(user))));
    await all();
    await made.cache.purge({ tag: 'user:alice' });
    await all();
    expect([made.runs('alice'), made.runs('bob')]).toEqual([2, 1]);
    await made.cache.purge({ url: '/me' });
    await all();
    expect([made.runs('alice'), made.runs('bob')]).toEqual([3, 2]);
  });

  it('caches only GET of a route for all methods [A15]', async () => {
    const made = await cacheApp({
      express,
      routes: (app, { cache, count }) =>
        app.all('/x', cache.route({ ttl: 60 }), (req, res) => res.send(`${req.method} ${count()}`)),
    });
    expect((await made.get('/x', {}, { method: 'POST' })).text).toBe('POST 1');
    expect((await made.get('/x')).text).toBe('GET 2');
    expect((await made.get('/x')).text).toBe('GET 2');
    expect((await made.get('/x', {}, { method: 'DELETE' })).text).toBe('DELETE 3');
    // The DELETE has invalidated the entry (A16) and stored nothing in its place.
    expect((await made.get('/x')).text).toBe('GET 4');
    expect((await made.get('/x')).text).toBe('GET 4');
  });

  it('invalidates after a write when only cache.route() is mounted [A16]', async () => {
    const cache = responseCache({});
    const app = express();
    let runs = 0;
    app.all(
      '/x',
      cache.route({ ttl: 60, ignoreQuery: ['n'] }),
      (_req, res) => void res.send(`run ${++runs}`),
    );
    const { port, close } = await listen(app);
    try {
      const ask = async (method: string, path: string) => (await answerFrom(port, { path, method })).text;
      expect([await ask('GET', '/x?n=1'), await ask('GET', '/x?n=2')]).toEqual(['run 1', 'run 1']);
      await ask('PATCH', '/x?n=3');
      expect(await ask('GET', '/x?n=1')).toBe('run 3');
      expect(cache.stats().invalidations).toBe(1);
    } finally {
      await Promise.all([close(), cache.close()]);
    }
  });

  it('invalidates once for a write that passes several cache middlewares [A16]', async () => {
    const made = await cacheApp({
      express,
      routes: (app, { cache }) =>
        app.all('/x', cache, cache.route({ ttl: 60 }), (_req, res) => void res.send('done')),
    });
    await made.get('/x', {}, { method: 'POST' });
    expect(made.cache.stats().invalidations).toBe(1);
  });

  it('rejects an invalid rule when the route is created [K06]', async () => {
    const made = await shop();
    expect(() => made.cache.route({ ttl: '5 min' as never })).toThrow(/ttl/);
  });

  it('closes repeatedly; requests in flight complete, later ones bypass the cache [K02]', async () => {
    const { opened, open } = gate();
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60 } } },
      routes: (app, { cache, count }) => {
        const handler = async (_req: Request, res: Response) => {
          const n = count();
          if (n === 1) await opened;
          res.send(`run ${n}`);
        };
        app.get('/x', handler);
        app.get('/y', cache.route({ ttl: 60 }), cache.purgeAfter({ all: true }), handler);
      },
    });
    const inFlight = [made.get('/x'), made.get('/x')];
    await waitFor(() => made.cache.stats().pending === 1);
    await Promise.all([made.cache.close(), made.cache.close()]);
    await made.cache.close();
    open();
    for (const { status } of await Promise.all(inFlight)) expect(status).toBe(200);
    for (const path of ['/x', '/x', '/y', '/y']) {
      const answer = await raw(made.port, `GET ${path} HTTP/1.1\nHost: x\nConnection: close\n\n`);
      expect(answer.text).toBe(`run ${made.runs()}`);
      expect(answer.header('x-cache')).toBeUndefined();
    }
    expect(made.cache.stats()).toMatchObject({ entries: 0, bytes: 0, pending: 0 });
  });
});
