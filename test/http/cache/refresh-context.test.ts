import { AsyncLocalStorage } from 'node:async_hooks';
import type { Express, Request, Response } from 'express';
import { type CacheRule, type ResponseCache, responseCache } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { EncodeQueue } from '../../../src/cache/storage/encode-queue.js';
import { cacheApp } from '../../helpers/cache.js';
import { majors, waitFor } from '../../helpers/http.js';
import { following, paced, WHOLE } from '../../helpers/paced.js';

const ALICE = { authorization: 'alice' };

/** Sets the user of a request's context, as an authentication middleware does. */
const entering: Record<
  string,
  (users: AsyncLocalStorage<string>) => (req: Request, next: () => void) => void
> = {
  run: (users) => (req, next) => {
    const { authorization } = req.headers;
    if (authorization === undefined) next();
    else users.run(authorization, next);
  },
  enterWith: (users) => (req, next) => {
    const { authorization } = req.headers;
    if (authorization !== undefined) users.enterWith(authorization);
    next();
  },
};

describe.each(majors)('the async context of a background refresh (%s)', (_, express) => {
  describe.each(Object.keys(entering))('with %s', (how) => {
    async function appWith(rule: CacheRule, age?: string) {
      const users = new AsyncLocalStorage<string>();
      const enter = entering[how]!(users);
      const made = await cacheApp({
        express,
        routes: (app, { cache, count }) => {
          app.use((req, _res, next) => enter(req, next));
          app.get('/x', cache.route(rule), async (_req, res) => {
            const run = count();
            await undefined;
            if (run === 1 && age !== undefined) res.set('Age', age);
            res.set('Cache-Control', 'public').send(`run ${run} for ${users.getStore() ?? 'everyone'}`);
          });
        },
      });
      return made;
    }

    it.each<[string, CacheRule]>([
      ['stale-while-revalidate', { ttl: 100, staleWhileRevalidate: 60 }],
      ['stale-if-error', { ttl: 100, staleIfError: 60 }],
    ])('is not that of the client that triggered it by %s [H12]', async (_window, rule) => {
      const made = await appWith(rule);
      expect((await made.get('/x')).text).toBe('run 1 for everyone');
      await made.cache.expire({ all: true });
      await made.get('/x', ALICE);
      await waitFor(() => made.runs() === 2 && made.cache.stats().pending === 0);
      expect(await made.get('/x')).toMatchObject({ text: 'run 2 for everyone', xCache: 'HIT' });
    });

    it('is not that of the client that triggered it by an eager refresh [H12]', async () => {
      const made = await appWith({ ttl: 100, eagerRefresh: 0.5 }, '60');
      await made.get('/x');
      await made.get('/x', ALICE);
      await waitFor(() => made.runs() === 2 && made.cache.stats().pending === 0);
      expect(await made.get('/x')).toMatchObject({ text: 'run 2 for everyone', xCache: 'HIT' });
    });

    it('is neither that of an earlier refresh nor of the client that created the cache [H12]', async () => {
      const users = new AsyncLocalStorage<string>();
      let cache: ResponseCache | undefined;
      const made = await cacheApp({
        express,
        routes: (app: Express, { count }) => {
          const enter = entering[how]!(users);
          app.use((req, _res, next) => enter(req, next));
          const rule = { ttl: 100, staleWhileRevalidate: 60 };
          app.use((req, res, next) => {
            cache ??= responseCache({ routes: { '/x': rule } });
            cache(req, res, next);
          });
          app.get('/x', (_req: Request, res: Response) => {
            const user = users.getStore() ?? 'everyone';
            // It remains for later code that shares this context.
            users.enterWith('the refresh before');
            res.set('Cache-Control', 'public').send(`run ${count()} for ${user}`);
          });
        },
      });
      await made.get('/x', ALICE);
      for (const run of [2, 3]) {
        await cache!.expire({ all: true });
        await made.get('/x', ALICE);
        await waitFor(() => made.runs() === run && cache!.stats().pending === 0);
        expect((await made.get('/x')).text).toBe(`run ${run} for everyone`);
      }
      await cache!.close();
    });
  });

  it("is the waiting client's own when a refused refresh lets it continue [H12]", async () => {
    const users = new AsyncLocalStorage<string>();
    const made = await cacheApp({
      express,
      cache: {},
      routes: (app, { cache, count }) => {
        app.use((req, _res, next) => users.run(String(req.headers['x-user'] ?? 'none'), next));
        const rule = cache.route({ ttl: 100, staleIfError: 60, collapse: true });
        app.get('/x', rule, async (req, res) => {
          if ((req as { hotpath?: { internal?: boolean } }).hotpath?.internal) {
            await waitFor(() => made.requests() >= 11);
            return void res.status(403).end();
          }
          const run = count();
          if (run > 1) res.set('Cache-Control', 'private');
          res.send(String(users.getStore()));
        });
      },
    });
    await made.get('/x');
    await made.cache.expire({ all: true });
    const names = Array.from({ length: 10 }, (_none, i) => `user ${i}`);
    const texts = await Promise.all(
      names.map((name) => made.get('/x', { 'x-user': name }).then(({ text }) => text)),
    );
    expect(texts).toEqual(names);
  });
});

describe.each(majors)('the second run for the rest of a body (%s)', (_, express) => {
  it('is in the context of neither the leader that left nor its followers [H12, D06]', async () => {
    const users = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const made = await paced(express, {
      before: (app) =>
        app.use((req, _res, next) => {
          const id = req.headers['x-id'];
          if (id === undefined) next();
          else users.run(String(id), next);
        }),
      send: (res, pieces) => pieces.pipe(res),
      again: (res) => {
        seen.push(users.getStore());
        res.send(WHOLE);
      },
    });
    const { leader, followers } = await following(made, 3, { 'X-Id': 'alice' });
    leader.leave();
    await waitFor(() => followers.every(({ isWhole }) => isWhole));
    expect(seen).toEqual([undefined]);
  });
});

describe('the encode queue', () => {
  it('runs jobs outside the context of the client that created it [H12]', async () => {
    const users = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const queue = users.run('alice', () => new EncodeQueue(async () => void seen.push(users.getStore())));
    const job = { coding: 'gzip', effort: {} as never, upgrade: false };
    users.run('ben', () => queue.add({ ...job, key: 'a' }));
    await waitFor(() => seen.length === 1);
    expect(seen).toEqual([undefined]);
    queue.close();
  });
});
