import { AsyncLocalStorage } from 'node:async_hooks';
import { createServer, type RequestListener } from 'node:http';
import { hotpath } from 'hotpath';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ask } from '../../helpers/client.js';
import { type Listening, listen, majors, waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';

const REQUESTS = 30;

let server: RedisServer;
const open: (() => Promise<void>)[] = [];
beforeEach(async () => {
  server = await RedisServer.start();
});
afterEach(async () => {
  server.resume();
  for (const close of open.splice(0)) await close();
  await server.stop();
});

describe.each(majors)('the AsyncLocalStorage of a request (%s)', (_, express) => {
  describe.each([
    ['at the front door', true],
    ['in Express', false],
  ])('%s', (_where, atDoor) => {
    /** Every response names the storage that its handler found. */
    async function start(readTimeout: number): Promise<Listening> {
      const storage = new AsyncLocalStorage<string>();
      const perf = hotpath({
        cache: { redis: { url: server.url, readTimeout, writeTimeout: 5 } },
        routes: { '/*path': { cache: { ttl: '1m', shared: true, collapse: false } } },
        metrics: false,
      });
      const app = express();
      app.use(perf);
      app.use((_req, res) => {
        res.set('Cache-Control', 'no-store').send(storage.getStore());
      });
      if (atDoor) perf.attach(app);
      const listening = await listen(
        createServer((req, res) => {
          storage.run(String(req.headers['x-id']), () => (app as RequestListener)(req, res));
        }),
      );
      open.push(async () => {
        await listening.close();
        await perf.close();
      });
      await waitFor(() => perf.cache.stats().redis?.log.shares === true);
      return listening;
    }

    const askAll = (port: number, pathOf: (id: number) => string) =>
      Promise.all(
        Array.from({ length: REQUESTS }, async (_none, id) => {
          const got = await ask(port, { path: pathOf(id), headers: { 'X-Id': String(id) }, agent: false });
          return got.body.toString();
        }),
      );
    const allIds = Array.from({ length: REQUESTS }, (_none, id) => String(id));

    it('is kept after a Redis miss', async () => {
      const { port } = await start(5);
      expect(await askAll(port, (id) => `/${id}`)).toEqual(allIds);
    });

    it('is kept when several requests wait for one Redis reply', async () => {
      const { port, server: http } = await start(5);
      let received = 0;
      http.on('request', () => received++);
      server.pause();
      const answers = askAll(port, () => '/same');
      await waitFor(() => received === REQUESTS);
      server.resume();
      expect(await answers).toEqual(allIds);
    });

    it('is kept after a deadline, which one timer watches for all', async () => {
      const { port } = await start(0.5);
      // From then on, no command has its own promise.
      await askAll(port, (id) => `/before-${id}`);
      server.pause();
      expect(await askAll(port, (id) => `/${id}`)).toEqual(allIds);
      expect(await askAll(port, () => '/same')).toEqual(allIds);
    });
  });
});
