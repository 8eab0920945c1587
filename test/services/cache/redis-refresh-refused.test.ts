import type { RequestListener } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Request, Response } from 'express';
import { hotpath } from 'hotpath';
import { responseCache } from 'hotpath/cache';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ask } from '../../helpers/client.js';
import { listen, majors, waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';

const open: (() => Promise<void>)[] = [];
let server: RedisServer;
beforeEach(async () => {
  server = await RedisServer.start();
});
afterEach(async () => {
  for (const close of open.splice(0)) await close();
  await server.stop();
});

const isRefresh = (req: unknown) => (req as { hotpath?: { internal?: boolean } }).hotpath?.internal === true;

interface World {
  /** Responds to background refreshes instead of the handler. */
  gate?: ((res: Response) => unknown) | undefined;
  /** Responds to clients instead of the handler. */
  client?: ((res: Response) => unknown) | undefined;
}

describe.each(majors)('a refused refresh of an entry in Redis (%s)', (_, express) => {
  describe.each([
    ['at the front door', true],
    ['in Express', false],
  ])('%s', (_where, atDoor) => {
    async function instance(name: string, world: World) {
      const perf = hotpath({
        // Room for one entry: the next request evicts it, and Redis returns it later.
        cache: {
          redis: { url: server.url, readTimeout: 5, writeTimeout: 5 },
          memory: { maxEntries: 1 },
          noBackgroundRefresh: 0.05,
          onError: () => {},
        },
        routes: { '/*path': { cache: { ttl: '1h', staleWhileRevalidate: '1h', shared: true } } },
        metrics: false,
      });
      const app = express();
      let runs = 0;
      app.use(perf);
      app.use((req: Request, res: Response, next: () => void) => {
        const answer = isRefresh(req) ? world.gate : world.client;
        if (answer && req.path === '/x') answer(res);
        else next();
      });
      app.get(['/x', '/other'], (req: Request, res: Response) => {
        if (req.path === '/x') runs++;
        res.send(`${name} ${runs}`);
      });
      if (atDoor) perf.attach(app);
      const { port, close } = await listen(app as unknown as RequestListener);
      open.push(async () => {
        await close();
        await perf.close();
      });
      await waitFor(() => perf.cache.stats().redis?.log.shares === true);
      return {
        perf,
        runs: () => runs,
        answered: (operation: string) => perf.cache.stats().redis?.operations[operation]?.answered ?? 0,
        async get(path = '/x') {
          const got = await ask(port, { path, headers: { Host: 'shop.example' }, agent: false });
          return {
            status: got.status,
            text: got.body.toString(),
            xCache: new Headers(got.headers).get('x-cache'),
          };
        },
      };
    }

    /** `a` has stored the entry; it is stale by now, in Redis and in the memory of `b`. */
    async function two(world: World) {
      const a = await instance('a', {});
      const b = await instance('b', world);
      await a.get();
      await waitFor(() => a.answered('set') === 1);
      expect((await b.get()).text).toBe('a 1');
      await a.perf.cache.expire({ all: true });
      await waitFor(
        () => b.perf.cache.stats().redis?.log.records === a.perf.cache.stats().redis?.log.records,
      );
      expect(await b.get()).toMatchObject({ text: 'a 1', xCache: 'STALE' });
      await waitFor(() => {
        const { refused, ended } = b.perf.cache.stats().refreshResults;
        return refused + ended === 1;
      });
      return { a, b };
    }

    it('does not serve the entry stale again when Redis returns it after the pause [H11]', async () => {
      const { b } = await two({
        gate: (res) => res.status(403).end(),
        client: (res) => res.status(401).send('who?'),
      });
      for (let i = 0; i < 3; i++) {
        await b.get('/other');
        await delay(60);
        expect(await b.get()).toMatchObject({ status: 401, text: 'who?' });
      }
      expect(b.runs()).toBe(0);
      expect(b.perf.cache.stats().refreshResults.refused).toBe(1);
    });

    it("deletes the entry from Redis when a client's own request gets a 404 [H11]", async () => {
      const gone = (res: Response) => res.status(404).send('gone');
      const { b } = await two({ gate: gone, client: gone });
      expect((await b.get()).status).toBe(404);
      await waitFor(() => b.answered('delete') === 1);
      const c = await instance('c', {});
      expect(await c.get()).toMatchObject({ text: 'c 1', xCache: 'MISS' });
    });

    it('uses the entry that another instance has stored since [H11]', async () => {
      const { a, b } = await two({ gate: (res) => res.status(403).end() });
      await a.get();
      await waitFor(async () => (await a.get()).text === 'a 2');
      await waitFor(() => a.answered('set') === 2);
      expect(await b.get()).toMatchObject({ text: 'a 2', xCache: 'HIT' });
      expect(b.runs()).toBe(0);
    });
  });
});

describe.each(majors)('a stored response whose stale serving has ended (%s)', (_, express) => {
  it("comes from the handler where instances take turns, for a client's max-stale too [H11]", async () => {
    const cache = responseCache({
      redis: { url: server.url, readTimeout: 5, writeTimeout: 5 },
      requestDirectives: 'honor',
      routes: { '/x': { ttl: 10, staleWhileRevalidate: '1h', collapse: 'cluster' } },
      onError: () => {},
    });
    const app = express();
    let runs = 0;
    app.use(cache);
    app.use((req, res, next) => void (isRefresh(req) ? res.status(403).send('no') : next()));
    app.get('/x', (_req, res) => void res.send(`run ${++runs}`));
    const { port, close } = await listen(app as unknown as RequestListener);
    open.push(async () => {
      await close();
      await cache.close();
    });
    await waitFor(() => cache.stats().redis?.log.shares === true);
    const get = (headers = {}) => ask(port, { path: '/x', headers });
    await get();
    await cache.expire({ all: true });
    await get();
    await waitFor(() => cache.stats().refreshResults.refused === 1);
    expect(`${(await get({ 'Cache-Control': 'max-stale' })).body}`).toBe('run 2');
  });
});
